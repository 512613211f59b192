//! A small country: a state, two merchants, a few people in families, and what terminals ask.

use authoriser::{
    claims::{BodyHash, body_hash, key_of},
    command::{Caller, Change, Refusal, What},
    reply::Reply,
    service::Handle,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, Mode, PointsWanted, Request},
    id::{
        AuthorisationId, HouseholdId, IdempotencyKey, ItemId, MeansToken, RecipientId, TerminalId,
    },
    limit::{Measure, Per, Period},
    merchant::Category,
    refund::ReturnedLine,
};
use ingest::{
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{self, Event},
};
use serde_json::{Value, json};

use crate::random::Dice;

/// The terminals, each with its merchant.
pub const TERMINALS: [(&str, &str); 5] =
    [("T1", "shop"), ("T2", "shop"), ("T3", "shop"), ("K1", "kiosk"), ("K2", "kiosk")];
/// People, from 1 on.
const PEOPLE: u128 = 5;

/// A limit as the registry below has it, for whoever adds up by other means.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Of which instruction.
    pub instruction: &'static str,
    /// Across whom.
    pub per: Per,
    /// In what time.
    pub period: Period,
    /// What is counted.
    pub measure: Measure,
    /// The most.
    pub most: i64,
}

const fn limit(
    instruction: &'static str,
    per: Per,
    period: Period,
    measure: Measure,
    most: i64,
) -> Limit {
    Limit { instruction, per, period, measure, most }
}

/// Every limit.
pub const LIMITS: [Limit; 3] = [
    limit("milk", Per::Recipient, Period::Day, Measure::Units, 4),
    limit("home", Per::Household, Period::Day, Measure::AmountCents, 250),
    limit("home", Per::Instruction, Period::Month, Measure::AmountCents, 3_000),
];

fn limits(of: &str) -> Value {
    let of = LIMITS.iter().filter(|limit| limit.instruction == of);
    let json = |limit: &Limit| {
        json!({"per": limit.per.code(), "period": limit.period.code(),
            "measure": limit.measure.code(), "max": limit.most})
    };
    of.map(json).collect()
}

fn instruction(id: &str, benefit: &str, priority: u32, more: &Value) -> Value {
    let mut all = json!({"id": id, "benefit": benefit, "label": both(id), "version": 1,
        "valid": {"from": "2024-01-01", "to": "2026-12-31"}, "priority": priority,
        "recipients": {"everyone": true}, "funding": {"grantor_bp": 10_000},
        "limits": limits(id), "on_limit": "clip"});
    let (Some(all_of), Some(more)) = (all.as_object_mut(), more.as_object()) else { return all };
    all_of.extend(more.clone());
    all
}

/// A name in both languages.
fn both(name: &str) -> Value {
    json!({"lv": name, "en": name})
}

fn registry() -> Vec<(&'static str, Vec<Value>)> {
    let terminal = |(id, merchant): &(&str, &str)| {
        let place = if *merchant == "shop" { "P1" } else { "P2" };
        json!({"id": id, "place": place, "kind": "till"})
    };
    let contract = |id: &str, merchant: &str| {
        json!({"id": id, "grantor": "state", "merchant": merchant, "from": "2024-01-01",
            "to": null, "settlement": "monthly", "vat_bp": 2_100, "offline_excess": "grantor"})
    };
    let merchant = |id: &str, number: &str, iban: &str| {
        json!({"id": id, "name": both(id), "reg_no": number, "iban": iban,
            "vat_no": format!("LV{number}")})
    };
    vec![
        (
            "grantors",
            vec![
                json!({"id": "state", "name": both("State"), "kind": "state",
                "iban": "LV57TREL0000002180451", "reg_no": "90000000001"}),
                json!({"id": "shop", "name": both("Shop"), "kind": "merchant",
                "iban": "LV65HABA0000055100001", "reg_no": "40003000001"}),
            ],
        ),
        (
            "merchants",
            vec![
                merchant("shop", "40003000001", "LV65HABA0000055100001"),
                merchant("kiosk", "40003000002", "LV38HABA0000055100002"),
            ],
        ),
        (
            "places",
            vec![
                json!({"id": "P1", "merchant": "shop", "territory": "LV0001000", "name": both("Shop")}),
                json!({"id": "P2", "merchant": "kiosk", "territory": "LV0001000", "name": both("Kiosk")}),
            ],
        ),
        ("terminals", TERMINALS.iter().map(terminal).collect()),
        ("contracts", vec![contract("C1", "shop"), contract("C2", "kiosk")]),
        ("groups", vec![json!({"id": "family", "name": both("Family"), "members": []})]),
        (
            "benefits",
            vec![
                json!({"id": "B-state", "grantor": "state", "name": both("Benefit"), "legal_basis": "law",
                "kind": "discount"}),
                json!({"id": "B-shop", "grantor": "shop", "name": both("Club"), "legal_basis": "terms",
                "kind": "loyalty"}),
            ],
        ),
        (
            "instructions",
            vec![
                instruction(
                    "milk",
                    "B-state",
                    10,
                    &json!({
                "recipients": {"any": ["family"]},
                "content": {"any": [{"category": "food.milk"}]},
                "effect": {"amount_off_cents": 100, "per": "unit"}}),
                ),
                instruction(
                    "home",
                    "B-state",
                    20,
                    &json!({
                "recipients": {"any": ["family"]}, "effect": {"percent_off_bp": 3_333},
                "funding": {"grantor_bp": 5_000}, "on_refund": "reevaluate"}),
                ),
                instruction(
                    "spend",
                    "B-shop",
                    25,
                    &json!({
                "effect": {"spend_points": {"max_bp": 5_000, "point_value_cents": 1}}}),
                ),
                instruction(
                    "club",
                    "B-shop",
                    30,
                    &json!({
                "effect": {"earn_points": {"per_cents": 50, "points": 3}}}),
                ),
            ],
        ),
    ]
}

/// What the streams hold before anybody asks anything, in the order in which it is told.
///
/// # Panics
/// Where the registry above is not one that the platform takes.
#[must_use]
pub fn founding(now: DateTime<Utc>) -> Vec<(Topic, Record)> {
    let mut told = Vec::new();
    let mut tell = |topic: Topic, event: Event| {
        let number = told.len() as u64;
        let record = Record {
            id: outside_id(topic.name(), &number.to_string()),
            key: "founding".into(),
            source: "founding".into(),
            sequence: number,
            event_time: now,
            recorded_at: now,
            event,
        };
        told.push((topic, record));
    };
    for (kind, entries) in registry() {
        for entry in entries {
            let id = entry["id"].as_str().expect("every entry has an id");
            let version = entry["version"].as_u64();
            let id = version.map_or(id.to_owned(), |version| format!("{id}/{version}"));
            let (kind, document) = (kind.into(), entry.to_string());
            let changed = v1::RegistryChanged { kind, id, document, changed_by: String::new() };
            tell(Topic::RegistryChanges, Event::RegistryChanged(changed));
        }
    }
    for person in 1..=PEOPLE {
        let person_id = RecipientId::from_u128(person).to_string();
        let means = v1::MeansChanged {
            token: MeansToken::from_u128(person).to_string(),
            issuer_id: "riga-card".into(),
            kind: "card_uid".into(),
            person: Some(person_id.clone()),
            valid_from: "2024-01-01".into(),
            ..v1::MeansChanged::default()
        };
        tell(Topic::MeansChanges, Event::MeansChanged(means));
        let household = if person == PEOPLE { person } else { 100 + person.div_ceil(2) };
        let family =
            v1::GroupDays { group_id: "family".into(), from: "2024-01-01".into(), until: None };
        let entitled = v1::EntitlementEvaluated {
            person: person_id,
            household: HouseholdId::from_u128(household).to_string(),
            known_from: 0,
            alive: true,
            groups: vec![family],
            ..v1::EntitlementEvaluated::default()
        };
        tell(Topic::Entitlements, Event::EntitlementEvaluated(entitled));
    }
    told
}

/// A request of a terminal's, which asks the same as often as it takes.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub terminal: &'static str,
    /// Under which of its keys.
    pub key: String,
    /// For what.
    pub what: Asked,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A basket of milk; offline ones are uploaded.
    Decide {
        /// When it was bought.
        at: DateTime<Utc>,
        /// By whom.
        person: Option<u128>,
        /// How.
        mode: Mode,
        /// How many units.
        units: i64,
        /// Points to spend.
        points: i64,
    },
    /// A change of what another key did.
    Change(AuthorisationId, What),
    /// The undoing of a key.
    Reverse(String),
}

impl Ask {
    /// What its body says.
    #[must_use]
    pub fn said(&self) -> String {
        match &self.what {
            Asked::Decide { at, person, mode, units, points } => {
                format!("decide {at} {person:?} {} {units} {points}", mode.code())
            }
            Asked::Change(id, what) => format!("change {id} {what:?}"),
            Asked::Reverse(undone) => format!("reverse {undone}"),
        }
    }

    /// The hash of its body.
    #[must_use]
    pub fn body(&self) -> BodyHash {
        body_hash(&outside_id("body", &self.said()).as_u128().to_be_bytes())
    }

    /// The authorisation that it makes, if it makes one.
    #[must_use]
    pub fn id(&self) -> AuthorisationId {
        AuthorisationId::from_u128(key_of(self.terminal, &self.key).as_u128())
    }

    /// The basket.
    ///
    /// # Panics
    /// Where a name above is none.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        let Asked::Decide { at, person, mode, units, points } = &self.what else { return None };
        let line = |number: u32, item: &str, category: &str, units: i64, cents: i64| Line {
            number,
            item: ItemId::new(item).expect("an item"),
            category: Category::parse(category),
            quantity: Quantity::from_thousandths(units * 1_000),
            unit_price: Amount::from_cents(cents),
            attributes: std::collections::BTreeMap::new(),
        };
        let lines =
            vec![line(1, "milk", "food.milk", *units, 150), line(2, "nails", "tools", 1, 199)];
        Some(Request {
            terminal: TerminalId::new(self.terminal).expect("a terminal"),
            key: IdempotencyKey::new(&self.key).expect("a key"),
            occurred_at: *at,
            means: person.map(MeansToken::from_u128),
            mode: *mode,
            lines: Lines::new(lines).expect("lines"),
            receipt: None,
            spend_points: PointsWanted::UpTo(*points),
            applied: None,
        })
    }

    /// The basket as an offline terminal uploads it.
    #[must_use]
    pub fn upload(&self, now: DateTime<Utc>) -> Option<Record> {
        let request = self.request()?;
        let line = |line: &Line| v1::BasketLine {
            line: line.number,
            item: line.item.to_string(),
            category: line.category.as_ref().map_or("", Category::as_str).to_owned(),
            quantity_thousandths: line.quantity.thousandths(),
            unit_price_cents: line.unit_price.cents(),
            ..v1::BasketLine::default()
        };
        let event = v1::TransactionUploaded {
            terminal_id: self.terminal.to_owned(),
            idempotency_key: self.key.clone(),
            occurred_at: request.occurred_at.timestamp_micros(),
            means_token: request.means.map(|token| token.to_string()),
            lines: request.lines.iter().map(line).collect(),
            spend_points: match request.spend_points {
                PointsWanted::UpTo(points) => points,
                PointsWanted::Max => -1,
            },
            body_hash: self.body().to_vec(),
            ..v1::TransactionUploaded::default()
        };
        Some(Record {
            id: key_of(self.terminal, &self.key),
            key: self.terminal.to_owned(),
            source: self.terminal.to_owned(),
            sequence: 0,
            event_time: request.occurred_at,
            recorded_at: now,
            event: Event::TransactionUploaded(event),
        })
    }

    /// Asks the authoriser.
    ///
    /// # Errors
    /// Why it refuses.
    ///
    /// # Panics
    /// Where a name above is none.
    pub async fn ask(&self, handle: &Handle) -> Result<Reply, Refusal> {
        let key = |text: &str| IdempotencyKey::new(text).expect("a key");
        let terminal = TerminalId::new(self.terminal).expect("a terminal");
        let caller = Caller { terminal, key: key(&self.key), body: self.body() };
        match (&self.what, self.request()) {
            (Asked::Change(id, what), _) => {
                handle.change(Change { caller, id: *id, what: what.clone() }).await
            }
            (Asked::Reverse(undone), _) => handle.reverse(caller, key(undone)).await,
            (_, Some(request)) => handle.authorise(request, self.body()).await,
            (_, None) => Err(Refusal::NotFound),
        }
    }
}

/// The next request of a terminal, after all those that were asked before.
#[must_use]
pub fn next(
    dice: &Dice,
    terminal: &'static str,
    number: u64,
    asked: &[Ask],
    now: DateTime<Utc>,
) -> Ask {
    let key = format!("k{number}");
    let own: Vec<&Ask> = asked.iter().filter(|ask| ask.terminal == terminal).collect();
    let decided: Vec<&Ask> =
        asked.iter().filter(|ask| matches!(ask.what, Asked::Decide { .. })).collect();
    match dice.below(12) {
        0 => match dice.of_all(&own) {
            Some(again) => (*again).clone(),
            None => decide(dice, terminal, key, now),
        },
        1 => match dice.of_all(&own) {
            // A key used for something else.
            Some(used) => decide(dice, terminal, used.key.clone(), now),
            None => decide(dice, terminal, key, now),
        },
        2..=5 => match dice.of_all(&decided) {
            Some(of) => {
                let what = match dice.below(4) {
                    0 => What::Capture { receipt: None },
                    1 => What::Void,
                    _ => back(dice),
                };
                Ask { terminal, key, what: Asked::Change(of.id(), what) }
            }
            None => decide(dice, terminal, key, now),
        },
        6 => {
            let undone = match dice.of_all(&own) {
                Some(of) if !dice.once_in(4) => of.key.clone(),
                _ => format!("k{}", number + dice.below(9)),
            };
            Ask { terminal, key, what: Asked::Reverse(undone) }
        }
        _ => decide(dice, terminal, key, now),
    }
}

fn back(dice: &Dice) -> What {
    let thousandths = i64::try_from(dice.below(2_500)).unwrap_or(0);
    let quantity = Quantity::from_thousandths(thousandths);
    What::Refund(vec![ReturnedLine { number: 1, quantity }])
}

fn decide(dice: &Dice, terminal: &'static str, key: String, now: DateTime<Utc>) -> Ask {
    let small = |bound: u64| i64::try_from(dice.below(bound)).unwrap_or(0);
    let mode = [Mode::Reserve, Mode::Reserve, Mode::Sale, Mode::Sale, Mode::Sale, Mode::Offline];
    let mode = *dice.of_all(&mode).unwrap_or(&Mode::Sale);
    // A terminal's clock is a little off, and an upload comes later than what it tells of.
    let late = if mode == Mode::Offline { 40_000 } else { 20 };
    let what = Asked::Decide {
        at: now - TimeDelta::seconds(small(late)),
        person: Some(u128::from(dice.below(6))).filter(|person| (1..=PEOPLE).contains(person)),
        mode,
        units: small(4) + 1,
        points: small(3) * 20,
    };
    Ask { terminal, key, what }
}
