//! Random histories against a simple sequential model: duplicates, keys used twice, crashes before
//! and after every append, a lost index, clock steps over month ends and daylight saving.
//!
//! A failing run names its seed; `AVIS_TEST_SEED=<seed>` runs that one alone.

use std::collections::{BTreeMap, HashMap};

use authoriser::{
    command::{Caller, Change, Refusal, What},
    history::History,
    reply::Reply,
    rules::{self, Counters, Input, Refunded, RuleSet, Sale},
    service::{Handle, Running},
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    authorisation::Status,
    basket::{Mode, PointsWanted, Request},
    decision::Decision,
    id::{AuthorisationId, GroupId, HouseholdId, RecipientId},
    identification_means::MeansStatus,
    limit::{CounterKey, Holder},
    recipient::Recipient,
    refund::ReturnedLine,
};
use ingest::{log::model::Fault, wire::v1::Event};
use serde_json::{Value, json};

use crate::{
    book::Book,
    world::{Engine, World, back, basket, body, change, key, milk, terminal},
};

/// What is asked, as often as it takes.
#[derive(Clone, Debug)]
enum Ask {
    Decide {
        key: String,
        at: DateTime<Utc>,
        person: Option<u128>,
        mode: Mode,
        units: i64,
        points: i64,
    },
    Change {
        key: String,
        id: AuthorisationId,
        what: What,
    },
    Reverse {
        key: String,
        undone: String,
    },
}

/// What a key did, as the model has it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    status: Status,
    /// Given and left to pay.
    benefit: i64,
    payable: i64,
    earned: i64,
    /// Of the last refund: what came back, in payable and in benefits.
    refunded: Option<(i64, i64)>,
}

#[derive(Clone, Debug)]
struct Life {
    status: Status,
    request: Request,
    recipient: Option<Recipient>,
    decision: Decision,
    refunded: Refunded,
    expires_at: DateTime<Utc>,
}

/// A terminal's view in a page: one thing after the other, everything in plain maps.
struct Model {
    rules: RuleSet,
    book: Book,
    lives: BTreeMap<String, Life>,
    /// What each key was used for, and what it did; a blocked one did nothing.
    keys: HashMap<String, (String, Option<Told>)>,
    of_key: HashMap<String, String>,
}

fn id_of(key: &str) -> AuthorisationId {
    AuthorisationId::from_u128(authoriser::claims::key_of("T1", key).as_u128())
}

fn person(number: u128) -> Recipient {
    Recipient {
        id: RecipientId::from_u128(number),
        household: HouseholdId::from_u128(if number <= 2 { 100 } else { number }),
        groups: vec![GroupId::new("family").expect("a group")],
    }
}

impl Model {
    fn answer(&mut self, ask: &Ask, now: DateTime<Utc>) -> Result<Option<Told>, Refusal> {
        self.end_due(now);
        let (key, said) = (ask.key().to_owned(), ask.said());
        if matches!(ask, Ask::Reverse { key, undone } if key == undone) {
            return Err(Refusal::KeyReused);
        }
        if let Some((before, told)) = self.keys.get(&key) {
            if told.is_none() && before == "blocked" {
                return Err(Refusal::KeyReversed);
            }
            return if *before == said { Ok(told.clone()) } else { Err(Refusal::KeyReused) };
        }
        let told = match ask {
            Ask::Decide { .. } => self.decide(ask, now),
            Ask::Change { id, what, .. } => {
                let of = self.lives.keys().find(|key| id_of(key) == *id).cloned();
                let of = of.ok_or(Refusal::NotFound)?;
                let told = self.change(&of, what)?;
                self.of_key.insert(key.clone(), of);
                told
            }
            Ask::Reverse { undone, .. } => {
                let Some(told) = self.reverse(&key, undone)? else { return Ok(None) };
                if !self.of_key.contains_key(&key) {
                    // Nothing was left to undo, nothing is recorded: the key stays free.
                    return Ok(Some(told));
                }
                told
            }
        };
        self.keys.insert(key, (said, Some(told.clone())));
        Ok(Some(told))
    }

    fn decide(&mut self, ask: &Ask, now: DateTime<Utc>) -> Told {
        let Ask::Decide { key, person: of, mode, .. } = ask else { unreachable!("a basket") };
        let request = ask.request().expect("a basket");
        let recipient = of.map(person);
        let terminal = self.rules.terminal(&request.terminal).expect("a terminal");
        let status = if recipient.is_some() { MeansStatus::Valid } else { MeansStatus::None };
        let input = Input {
            terminal,
            lines: &request.lines,
            instant: request.occurred_at,
            recipient: recipient.as_ref(),
            means_status: status,
            declined: None,
            points: request.spend_points,
        };
        let decision = rules::evaluate(&self.rules, &input, &self.book);
        self.book.apply(recipient.as_ref(), &decision.counters, &decision.points);
        let life = Life {
            status: if *mode == Mode::Reserve { Status::Reserved } else { Status::Captured },
            recipient: recipient.clone(),
            refunded: Refunded::default(),
            expires_at: now + TimeDelta::minutes(15),
            request,
            decision,
        };
        self.of_key.insert(key.clone(), key.clone());
        self.lives.insert(key.clone(), life);
        self.told(key, None)
    }

    fn told(&self, key: &str, refunded: Option<(i64, i64)>) -> Told {
        let life = &self.lives[key];
        Told {
            status: life.status,
            benefit: life.decision.benefit().cents(),
            payable: life.decision.payable().cents(),
            earned: life.decision.points_earned(),
            refunded,
        }
    }

    fn change(&mut self, of: &str, what: &What) -> Result<Told, Refusal> {
        let status = self.lives[of].status;
        match (what, status) {
            (What::Capture { .. }, Status::Reserved) => {
                self.end(of, Status::Captured);
                Ok(self.told(of, None))
            }
            (What::Void, Status::Reserved) => {
                self.give_back(of, Status::Voided);
                Ok(self.told(of, None))
            }
            (What::Refund(lines), Status::Captured | Status::PartiallyRefunded) => {
                let refunded = self.refund(of, lines)?;
                Ok(self.told(of, Some(refunded)))
            }
            _ => Err(Refusal::State { status }),
        }
    }

    fn reverse(&mut self, key: &str, undone: &str) -> Result<Option<Told>, Refusal> {
        match self.keys.get(undone) {
            Some((said, None)) if said == "blocked" => return Err(Refusal::KeyReversed),
            Some((_, None)) => return Err(Refusal::NotReversible { what: "reversal" }),
            _ => {}
        }
        let Some(of) = self.of_key.get(undone).cloned() else {
            self.keys.insert(undone.to_owned(), ("blocked".into(), None));
            self.keys.insert(key.to_owned(), (format!("reverse {undone}"), None));
            return Ok(None);
        };
        let did = &self.keys[undone].0;
        if did.starts_with("void") || did.starts_with("reverse") && self.is_void(undone) {
            return Err(Refusal::NotReversible { what: "void" });
        }
        if did.starts_with("refund") || did.starts_with("reverse") {
            return Err(Refusal::NotReversible { what: "refund" });
        }
        let told = match self.lives[&of].status {
            Status::Reserved => {
                self.give_back(&of, Status::Voided);
                self.told(&of, None)
            }
            Status::Captured | Status::PartiallyRefunded => {
                let life = &self.lives[&of];
                let line = &life.request.lines[0];
                let back = life.refunded.returned().get(&1).copied().unwrap_or(0);
                let rest = line.quantity.thousandths() - back;
                let quantity = domain::amount::Quantity::from_thousandths(rest);
                let refunded = self.refund(&of, &[ReturnedLine { number: 1, quantity }])?;
                self.told(&of, Some(refunded))
            }
            _ => return Ok(Some(self.told(&of, None))),
        };
        self.of_key.insert(key.to_owned(), of);
        Ok(Some(told))
    }

    fn is_void(&self, key: &str) -> bool {
        self.keys[key].1.as_ref().is_some_and(|told| told.status == Status::Voided)
    }

    fn refund(&mut self, of: &str, lines: &[ReturnedLine]) -> Result<(i64, i64), Refusal> {
        let life = self.lives.get_mut(of).expect("a life");
        let input = Input {
            terminal: self.rules.terminal(&life.request.terminal).expect("a terminal"),
            lines: &life.request.lines,
            instant: life.request.occurred_at,
            recipient: life.recipient.as_ref(),
            means_status: MeansStatus::Valid,
            declined: None,
            points: life.request.spend_points,
        };
        let sale = Sale { input, decision: &life.decision };
        let refund = rules::refund(&self.rules, &sale, &mut life.refunded, lines)
            .map_err(Refusal::Refund)?;
        life.status = if refund.whole { Status::Refunded } else { Status::PartiallyRefunded };
        let recipient = life.recipient.clone();
        self.book.apply(recipient.as_ref(), &refund.counters, &refund.points);
        let benefit = refund.benefits.iter().map(|back| back.amount.cents()).sum();
        Ok((refund.refunded.cents(), benefit))
    }

    fn end(&mut self, of: &str, status: Status) {
        self.lives.get_mut(of).expect("a life").status = status;
    }

    fn give_back(&mut self, of: &str, status: Status) {
        self.end(of, status);
        let life = self.lives[of].clone();
        let mut counters = life.decision.counters;
        counters.iter_mut().for_each(|moved| moved.change = -moved.change);
        let mut points = life.decision.points;
        points.iter_mut().for_each(|moved| moved.change = -moved.change);
        self.book.apply(life.recipient.as_ref(), &counters, &points);
    }

    fn end_due(&mut self, now: DateTime<Utc>) {
        let due = self
            .lives
            .iter()
            .filter(|(_, life)| life.status == Status::Reserved && life.expires_at <= now);
        let due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.give_back(&key, Status::Expired);
        }
    }
}

impl Ask {
    fn key(&self) -> &str {
        match self {
            Self::Decide { key, .. } | Self::Change { key, .. } | Self::Reverse { key, .. } => key,
        }
    }

    /// What the body says.
    fn said(&self) -> String {
        match self {
            Self::Decide { at, person, mode, units, points, .. } => {
                format!("decide {at} {person:?} {mode:?} {units} {points}")
            }
            Self::Change { id, what, .. } => {
                let word = match what {
                    What::Capture { .. } => "capture",
                    What::Void => "void",
                    _ => "refund",
                };
                format!("{word} {id} {what:?}")
            }
            Self::Reverse { undone, .. } => format!("reverse {undone}"),
        }
    }

    fn request(&self) -> Option<Request> {
        let Self::Decide { key, at, person, mode, units, points } = self else { return None };
        let mut request = basket(*at, key, *person, *mode, *units);
        request.spend_points = PointsWanted::UpTo(*points);
        Some(request)
    }

    async fn ask(&self, handle: &Handle) -> Result<Reply, Refusal> {
        let body = body(&self.said());
        match self {
            Self::Decide { .. } => handle.authorise(self.request().expect("a basket"), body).await,
            Self::Change { key, id, what } => {
                let Change { caller, .. } = change(key, "T2", *id, what.clone());
                // The shop's other terminal asks with the first one's keys: they are one here.
                let caller = Caller { terminal: terminal("T1"), body, ..caller };
                handle.change(Change { caller, id: *id, what: what.clone() }).await
            }
            Self::Reverse { key: own, undone } => {
                let caller = Caller { terminal: terminal("T1"), key: key(own), body };
                handle.reverse(caller, key(undone)).await
            }
        }
    }
}

/// What an answer says, in the model's words.
fn read(history: &History) -> Told {
    let last = history.changes.last().filter(|change| change.transition == "refund");
    let refunded = last.map(|change| {
        let payable: i64 = change.lines.iter().map(|line| -line.payable_cents).sum();
        let benefits = change.lines.iter().flat_map(|line| &line.benefits);
        (payable, benefits.map(|benefit| -benefit.amount_cents).sum())
    });
    Told {
        status: history.status(),
        benefit: history.decided.benefit_cents,
        payable: history.decided.payable_cents,
        earned: history.decided.points_earned,
        refunded,
    }
}

/// A small generator whose numbers follow from the seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let below = all.len() as u64;
        (below > 0).then(|| &all[usize::try_from(self.next(below)).expect("a place")])
    }
}

fn instructions() -> Value {
    let household = json!({"id": "home", "benefit": "B-state", "label": "Home", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 20,
        "recipients": {"any": ["family"]}, "effect": {"percent_off_bp": 3333},
        "funding": {"grantor_bp": 5000}, "on_refund": "reevaluate",
        "limits": [{"per": "household", "period": "day", "measure": "amount_cents", "max": 250},
                   {"per": "instruction", "period": "year", "measure": "amount_cents", "max": 2500}]});
    let points = json!({"id": "club", "benefit": "B-shop", "label": "Club", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 30,
        "recipients": {"everyone": true}, "effect": {"earn_points": {"per_cents": 50, "points": 3}},
        "funding": {"grantor_bp": 10000}});
    let spend = json!({"id": "spend", "benefit": "B-shop", "label": "Spend", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 25,
        "recipients": {"everyone": true}, "funding": {"grantor_bp": 10000},
        "effect": {"spend_points": {"max_bp": 5000, "point_value_cents": 1}}});
    json!([milk(), household, points, spend])
}

/// One history.
async fn run(engine: &Engine, seed: u64, steps: u32) {
    let mut random = Random(seed);
    // Some hours before daylight saving begins, and two days before a month ends.
    let start: DateTime<Utc> = "2025-03-29T20:00:00Z".parse().expect("an instant");
    let world = World::over(engine.clone(), start, instructions()).await;
    let mut model = Model {
        rules: world.rules().await,
        book: Book::default(),
        lives: BTreeMap::new(),
        keys: HashMap::new(),
        of_key: HashMap::new(),
    };
    let (mut handle, mut running) = world.start().await;
    let mut asked: Vec<Ask> = Vec::new();
    for step in 0..steps {
        if random.next(64) == 0 {
            // A cache that is lost is built again from the stream, and nobody notices.
            world.engine.flush();
        }
        if random.next(8) == 0 {
            world.pass(TimeDelta::seconds(i64::try_from(random.next(40_000)).expect("seconds")));
        }
        let ask = next(&mut random, step, &asked, &world);
        let (appends, fault) = (u32::try_from(random.next(2)).expect("few"), fault(&mut random));
        if let Some(fault) = fault {
            world.log.die_at(appends, fault);
        }
        let expected = model.answer(&ask, ingest::clock::Clock::now(&*world.clock));
        let mut found = patiently(&ask, &handle).await;
        if world.log.is_dead() {
            let loses_index = random.next(4) == 0;
            (handle, running) = restart(&world, handle, running, loses_index).await;
            found = patiently(&ask, &handle).await;
        }
        world.log.revive();
        compare(seed, step, &ask, found, expected);
        asked.push(ask);
    }
    // What is due is ended on both sides before the books are compared.
    let last = Ask::Reverse { key: "last".into(), undone: "never-used".into() };
    let _ = model.answer(&last, ingest::clock::Clock::now(&*world.clock));
    let _ = last.ask(&handle).await;
    running.stop().await.expect("stopped");
    balance(seed, &world, &model).await;
}

/// Asks until the cache is there: as a terminal that is told 503.
async fn patiently(ask: &Ask, handle: &Handle) -> Result<Reply, Refusal> {
    loop {
        match ask.ask(handle).await {
            Err(Refusal::Away) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            answer => return answer,
        }
    }
}

fn fault(random: &mut Random) -> Option<Fault> {
    match random.next(16) {
        0 => Some(Fault::Before),
        1 => Some(Fault::After),
        _ => None,
    }
}

async fn restart(
    world: &World,
    handle: Handle,
    running: Running,
    loses_index: bool,
) -> (Handle, Running) {
    // What had died says so.
    let _ = running.stop().await;
    drop(handle);
    world.log.revive();
    if loses_index {
        world.lose_index();
    }
    world.start().await
}

fn next(random: &mut Random, step: u32, asked: &[Ask], world: &World) -> Ask {
    let fresh = format!("k{step}");
    let decided: Vec<&Ask> = asked.iter().filter(|ask| matches!(ask, Ask::Decide { .. })).collect();
    match random.next(10) {
        0 => match random.of(asked) {
            Some(again) => again.clone(),
            None => decide(random, fresh, world),
        },
        1 => match random.of(asked) {
            Some(used) => decide(random, used.key().to_owned(), world),
            None => decide(random, fresh, world),
        },
        2..=5 => match random.of(&decided) {
            Some(ask) => {
                let what = match random.next(4) {
                    0 => What::Capture { receipt: None },
                    1 => What::Void,
                    _ => back(i64::try_from(random.next(2_500)).expect("thousandths")),
                };
                Ask::Change { key: fresh, id: id_of(ask.key()), what }
            }
            None => decide(random, fresh, world),
        },
        6 => match random.of(asked) {
            Some(ask) if random.next(5) > 0 => {
                Ask::Reverse { key: fresh, undone: ask.key().to_owned() }
            }
            _ => Ask::Reverse {
                key: fresh,
                undone: format!("k{}", u64::from(step) + random.next(9)),
            },
        },
        _ => decide(random, fresh, world),
    }
}

fn decide(random: &mut Random, key: String, world: &World) -> Ask {
    Ask::Decide {
        key,
        at: ingest::clock::Clock::now(&*world.clock),
        person: Some(u128::from(random.next(5))).filter(|number| *number > 0),
        mode: if random.next(2) == 0 { Mode::Reserve } else { Mode::Sale },
        units: i64::try_from(random.next(4)).expect("few") + 1,
        points: i64::try_from(random.next(3) * 20).expect("few"),
    }
}

fn compare(
    seed: u64,
    step: u32,
    ask: &Ask,
    found: Result<Reply, Refusal>,
    expected: Result<Option<Told>, Refusal>,
) {
    let found = found.map(|reply| match reply {
        Reply::Authorisation(history) => Some(read(&history)),
        Reply::Blocked(_) => None,
    });
    let strip = |told: Result<Option<Told>, Refusal>| match ask {
        // With nothing left to undo, the answer shows the last refund, whoever made it.
        Ask::Reverse { .. } => told.map(|told| told.map(|told| Told { refunded: None, ..told })),
        _ => told,
    };
    assert_eq!(
        strip(found),
        strip(expected),
        "seed {seed}, step {step}: {ask:?}; run it alone with AVIS_TEST_SEED={seed}"
    );
}

/// The stream's own sums are the model's, and no limit is ever exceeded.
async fn balance(seed: u64, world: &World, model: &Model) {
    let mut sums: HashMap<CounterKey, i64> = HashMap::new();
    let most = |key: &CounterKey| match (key.instruction.as_str(), key.holder) {
        ("milk", _) => 4,
        (_, Holder::Instruction) => 2_500,
        _ => 250,
    };
    for record in world.records().await {
        let movements = match &record.event {
            Event::AuthorisationDecided(event) => authoriser::publish::movements_of(event),
            Event::AuthorisationChanged(event) => authoriser::publish::movements_of_change(event),
            _ => continue,
        };
        for moved in movements.expect("a record of ours").counters {
            let sum = sums.entry(moved.key.clone()).or_default();
            *sum += moved.change;
            // Partitions are read one after the other, so a budget's prefixes mean nothing.
            let whole = moved.key.holder == Holder::Instruction;
            assert!(whole || *sum <= most(&moved.key), "seed {seed}: {:?} is {sum}", moved.key);
        }
    }
    for (key, sum) in &sums {
        assert_eq!(*sum, model.book.used(key), "seed {seed}: {key:?}");
        assert!((0..=most(key)).contains(sum), "seed {seed}: {key:?} is {sum}");
    }
}

/// The seeds to run: one that was asked for, or so many.
fn seeds(count: u32) -> Vec<u64> {
    let one = std::env::var("AVIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    match one {
        Some(seed) => vec![seed],
        None => (0..u64::from(count * crate::scale())).collect(),
    }
}

async fn histories(engine: Engine, count: u32) {
    let seeds = seeds(count);
    println!("{} histories of 250 steps over {engine:?}", seeds.len());
    for seed in seeds {
        run(&engine, seed, 250).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_the_models_embedded() {
    histories(Engine::Embedded, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_the_models_over_redis() {
    histories(Engine::redis(), 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_the_models_over_a_cluster() {
    histories(Engine::cluster(), 4).await;
}
