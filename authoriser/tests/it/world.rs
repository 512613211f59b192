//! A small country in a model log: a shop with two terminals, a kiosk, some people, some
//! instructions; and an authoriser over it that can die and start again.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::{
    authorise::{Authoriser, Parts, Settings},
    cache::redis::RedisSettings,
    claims::{BodyHash, Claims},
    command::{Caller, Change, Refusal, What},
    fence::Fence,
    history::History,
    index::Index,
    metrics::Metrics,
    reply::Reply,
    rules::RuleSet,
    service::{self, Bounds, Handle, Running},
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, Mode, PointsWanted, Request},
    id::{
        AuthorisationId, HouseholdId, IdempotencyKey, ItemId, MeansToken, RecipientId, TerminalId,
    },
    merchant::Category,
    refund::ReturnedLine,
};
use ingest::{
    clock::{Clock, ManualClock},
    dead_letter::Reason,
    log::{
        Log,
        model::{Fault, ModelLog},
    },
    record::{Record, outside_id},
    register::registry::RegistryView,
    topic::Topic,
    vault::Vault,
    wire::v1::{self, Event},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    random::Random,
    redis::{
        self,
        server::{Cluster, Server},
    },
};

/// The shop's terminals: T1, T2, ….
pub const TILLS: u32 = 100;

/// A noon in the world's summer.
pub fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

/// The streams, the keys and the clock outlive every authoriser.
#[derive(Debug)]
pub struct World {
    pub log: Arc<ModelLog>,
    pub clock: Arc<ManualClock>,
    pub vault: Vault,
    pub engine: Engine,
    folder: TempDir,
}

/// Where counters are kept.
#[derive(Clone, Debug)]
pub enum Engine {
    Embedded,
    Redis(Arc<Server>),
    Cluster(Arc<Cluster>),
}

impl Engine {
    /// A Redis of its own, with its append-only file.
    pub fn redis() -> Self {
        Self::Redis(Arc::new(Server::start(redis::kept())))
    }

    /// A cluster of its own, three primaries and three replicas.
    pub fn cluster() -> Self {
        Self::Cluster(Arc::new(Cluster::start()))
    }

    /// Forgets everything, as a Redis made anew for another stream has.
    pub fn flush(&self) {
        match self {
            Self::Embedded => {}
            Self::Redis(server) => drop(server.ask(&["FLUSHALL"])),
            Self::Cluster(cluster) => {
                for node in &cluster.nodes {
                    // Replicas refuse; they follow their primaries.
                    let _ = node.try_ask(&["FLUSHALL"]);
                }
            }
        }
    }
}

impl World {
    /// A world with these instructions, beside the common registry.
    pub async fn with(instructions: Value) -> Self {
        Self::at(noon(), instructions).await
    }

    /// A world whose clock stands at an instant.
    pub async fn at(now: DateTime<Utc>, instructions: Value) -> Self {
        Self::over(Engine::Embedded, now, instructions).await
    }

    /// A world whose counters are kept by an engine, which may have served another world before.
    pub async fn over(engine: Engine, now: DateTime<Utc>, instructions: Value) -> Self {
        engine.flush();
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            log: Arc::new(ModelLog::default()),
            clock: Arc::new(ManualClock::at(now)),
            vault: Vault::open(&folder.path().join("keys")).expect("a vault"),
            engine,
            folder,
        };
        world.register("grantors", &json!([
            {"id": "state", "name": "State", "kind": "state", "iban": "LV57TREL0000002180451", "reg_no": "90000000001"},
            {"id": "shop", "name": "Shop", "kind": "merchant", "iban": "LV65HABA0000055100001", "reg_no": "40003000001"},
        ])).await;
        world.register("merchants", &json!([
            {"id": "shop", "name": "Shop", "reg_no": "40003000001", "iban": "LV65HABA0000055100001", "vat_no": "LV40003000001"},
            {"id": "kiosk", "name": "Kiosk", "reg_no": "40003000002", "iban": "LV38HABA0000055100002", "vat_no": "LV40003000002"},
        ])).await;
        world
            .register(
                "places",
                &json!([
                    {"id": "P1", "merchant": "shop", "territory": "LV0001000", "name": "Shop"},
                    {"id": "P2", "merchant": "kiosk", "territory": "LV0001000", "name": "Kiosk"},
                ]),
            )
            .await;
        let tills =
            (1..=TILLS).map(|n| json!({"id": format!("T{n}"), "place": "P1", "kind": "till"}));
        world.register("terminals", &tills.collect()).await;
        let kiosk = json!([{"id": "K1", "place": "P2", "kind": "till"}]);
        world.register("terminals", &kiosk).await;
        world.register("contracts", &json!([
            {"id": "C1", "grantor": "state", "merchant": "shop", "from": "2025-01-01", "to": null,
             "settlement": "monthly", "vat_bp": 2100, "offline_excess": "grantor"},
        ])).await;
        world.register("groups", &json!([{"id": "family", "name": "Family", "members": []}])).await;
        world.register("benefits", &json!([
            {"id": "B-state", "grantor": "state", "name": "Benefit", "legal_basis": "law", "kind": "discount"},
            {"id": "B-shop", "grantor": "shop", "name": "Club", "legal_basis": "terms", "kind": "loyalty"},
        ])).await;
        world.instruct(&instructions).await;
        for person in 1..=4 {
            world.enrol(person).await;
        }
        world
    }

    /// Puts instructions into the registry.
    pub async fn instruct(&self, instructions: &Value) {
        self.register("instructions", instructions).await;
    }

    /// Each entry must be one that the registry takes: what is wrong is told, not left out.
    async fn register(&self, kind: &str, entries: &Value) {
        let decoded = ingest::register::registry::decode_all(&json!({ kind: entries }));
        let other = Reason::UnknownReference;
        let of_form = decoded.faults.iter().filter(|fault| fault.reason != other);
        let of_form: Vec<_> = of_form.collect();
        assert!(of_form.is_empty(), "{of_form:?}");
        for entry in entries.as_array().expect("a list") {
            let id = entry["id"].as_str().expect("an id");
            let id = match entry["version"].as_u64() {
                Some(version) => format!("{id}/{version}"),
                None => id.to_owned(),
            };
            let (kind, document) = (kind.into(), entry.to_string());
            let changed = v1::RegistryChanged { kind, id, document, changed_by: String::new() };
            self.tell(Topic::RegistryChanges, Event::RegistryChanged(changed)).await;
        }
    }

    /// A person with a card; 1 and 2 are of one household, the others alone.
    pub async fn enrol(&self, person: u128) {
        let means = v1::MeansChanged {
            token: MeansToken::from_u128(person).to_string(),
            issuer_id: "riga-card".into(),
            kind: "card_uid".into(),
            person: Some(RecipientId::from_u128(person).to_string()),
            valid_from: "2025-01-01".into(),
            ..v1::MeansChanged::default()
        };
        self.tell(Topic::MeansChanges, Event::MeansChanged(means)).await;
        let household = if person <= 2 { 100 } else { person };
        self.entitle(person, household, DateTime::UNIX_EPOCH, true).await;
    }

    /// From now on a person lives in a household.
    pub async fn moves(&self, person: u128, household: u128) {
        self.entitle(person, household, self.clock.now(), true).await;
    }

    /// From now on a person of a household is dead.
    pub async fn dies(&self, person: u128, household: u128) {
        self.entitle(person, household, self.clock.now(), false).await;
    }

    async fn entitle(&self, person: u128, household: u128, from: DateTime<Utc>, alive: bool) {
        let entitled = v1::EntitlementEvaluated {
            person: RecipientId::from_u128(person).to_string(),
            household: HouseholdId::from_u128(household).to_string(),
            known_from: from.timestamp_micros(),
            alive,
            groups: vec![v1::GroupDays {
                group_id: "family".into(),
                from: "2025-01-01".into(),
                until: None,
            }],
            ..v1::EntitlementEvaluated::default()
        };
        self.tell(Topic::Entitlements, Event::EntitlementEvaluated(entitled)).await;
    }

    /// Puts a card that is nobody's on the family's list now, or takes it off.
    pub async fn list(&self, card: u128, removed: bool) {
        let token = MeansToken::from_u128(card).to_string();
        let means = v1::MeansChanged {
            token: token.clone(),
            issuer_id: "riga-card".into(),
            kind: "card_uid".into(),
            valid_from: "2025-01-01".into(),
            ..v1::MeansChanged::default()
        };
        self.tell(Topic::MeansChanges, Event::MeansChanged(means)).await;
        let listed = v1::MembershipChanged {
            group_id: "family".into(),
            token: Some(token),
            from: "2025-01-01".into(),
            removed,
            ..v1::MembershipChanged::default()
        };
        self.tell(Topic::Memberships, Event::MembershipChanged(listed)).await;
    }

    /// Blocks a person's card.
    pub async fn block(&self, person: u128) {
        let means = v1::MeansChanged {
            token: MeansToken::from_u128(person).to_string(),
            issuer_id: "riga-card".into(),
            kind: "card_uid".into(),
            person: Some(RecipientId::from_u128(person).to_string()),
            valid_from: "2025-01-01".into(),
            blocked: true,
            ..v1::MeansChanged::default()
        };
        self.tell(Topic::MeansChanges, Event::MeansChanged(means)).await;
    }

    /// Puts a basket on the stream of uploads, with what its terminal says it gave on the first
    /// line: of which instruction, and how many cents. Its body is that of its key.
    pub async fn upload(&self, request: &Request, applied: &[(&str, i64)]) {
        let line = |line: &Line| v1::BasketLine {
            line: line.number,
            item: line.item.to_string(),
            category: line.category.as_ref().map_or("", Category::as_str).to_owned(),
            quantity_thousandths: line.quantity.thousandths(),
            unit_price_cents: line.unit_price.cents(),
            ..v1::BasketLine::default()
        };
        let gave = |(instruction, cents): &(&str, i64)| v1::AppliedLine {
            instruction_id: (*instruction).into(),
            line: 1,
            amount_cents: *cents,
        };
        let upload = v1::TransactionUploaded {
            terminal_id: request.terminal.to_string(),
            idempotency_key: request.key.to_string(),
            occurred_at: request.occurred_at.timestamp_micros(),
            means_token: request.means.map(|token| token.to_string()),
            lines: request.lines.iter().map(line).collect(),
            applied: applied.iter().map(gave).collect(),
            says_applied: !applied.is_empty(),
            body_hash: body(request.key.as_str()).to_vec(),
            ..v1::TransactionUploaded::default()
        };
        self.tell(Topic::TerminalTransactions, Event::TransactionUploaded(upload)).await;
    }

    async fn tell(&self, topic: Topic, event: Event) {
        let end = self.log.end(topic, 0).expect("an end");
        let record = Record {
            id: outside_id(topic.name(), &end.to_string()),
            key: "world".into(),
            source: "world".into(),
            sequence: end,
            event_time: self.clock.now(),
            recorded_at: self.clock.now(),
            event,
        };
        self.log.append(topic, &[record]).await.expect("appended");
    }

    /// What an authoriser works over, as a process that starts now finds it.
    pub async fn parts(&self) -> Parts {
        let log: Arc<dyn Log> = Arc::<ModelLog>::clone(&self.log);
        let index = Index::open(&self.folder.path().join("index"), &log).await.expect("an index");
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let claims = Claims::over(Arc::clone(&index));
        Parts {
            log,
            vault: self.vault.clone(),
            clock,
            metrics,
            index,
            claims,
            fence: Fence::new(0),
        }
    }

    /// The rules in force, as the registry's stream has them.
    pub async fn rules(&self) -> RuleSet {
        let mut view = RegistryView::default();
        let all = self.log.read(Topic::RegistryChanges, 0, 0, usize::MAX).await.expect("read");
        view.apply(&all);
        RuleSet::compile(&view.registry()).expect("a set without faults")
    }

    /// An authoriser at work, over the world's engine.
    pub async fn start(&self) -> (Handle, Running) {
        let parts = self.parts().await;
        let (settings, bounds) = (Settings::default(), Bounds::default());
        let started = match self.redis() {
            None => service::start(
                Authoriser::embedded(parts, settings).await.expect("an authoriser"),
                bounds,
            ),
            Some(redis) => {
                let opened = Authoriser::over_redis(parts, settings, redis).await;
                service::start(opened.expect("an authoriser").0, bounds)
            }
        };
        started.expect("started")
    }

    /// An authoriser at work again, over the index of before or without it.
    pub async fn start_again(&self, loses_index: bool) -> (Handle, Running) {
        if loses_index {
            self.lose_index().await;
        }
        self.start().await
    }

    /// Stops an authoriser, which may have died, and starts again.
    pub async fn restart(
        &self,
        (handle, running): (Handle, Running),
        loses_index: bool,
    ) -> (Handle, Running) {
        // What had died says so.
        let _ = running.stop().await;
        drop(handle);
        self.log.revive();
        self.start_again(loses_index).await
    }

    /// Several authorisers of one process, which share what is shared in a process.
    pub async fn start_several(&self, count: usize) -> Vec<(Handle, Running)> {
        let redis = self.redis().expect("only a shared cache is shared");
        let parts = self.parts().await;
        let (first, shared) =
            Authoriser::over_redis(parts.clone(), Settings::default(), redis).await.expect("one");
        let mut all = vec![service::start(first, Bounds::default()).expect("started")];
        for _ in 1..count {
            let next = Authoriser::beside(parts.clone(), Settings::default(), &shared).await;
            all.push(service::start(next.expect("one"), Bounds::default()).expect("started"));
        }
        all
    }

    fn redis(&self) -> Option<RedisSettings> {
        match &self.engine {
            Engine::Embedded => None,
            Engine::Redis(server) => Some(redis::settings(server)),
            Engine::Cluster(cluster) => Some(redis::of_cluster(cluster)),
        }
    }

    /// Removes the index, as a lost disk of caches would. The store that was dropped may be closing
    /// still, on another thread; until it lets go of its lock the folder's files come and go.
    async fn lose_index(&self) {
        let folder = self.folder.path().join("index");
        let lock = File::open(folder.join("lock")).expect("the lock of an index that was there");
        let patience = Instant::now() + Duration::from_secs(60);
        while let Err(error) = lock.try_lock() {
            assert!(Instant::now() < patience, "the dropped index still has its lock: {error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    /// Lets time pass.
    pub fn pass(&self, time: TimeDelta) {
        self.clock.advance_to(self.clock.now() + time);
    }

    /// Every record of the authorisations, partition by partition.
    pub async fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for partition in 0..self.log.partitions(Topic::Authorisations) {
            let of = self.log.read(Topic::Authorisations, partition, 0, usize::MAX).await;
            records.extend(of.expect("read").into_iter().map(|stored| stored.record));
        }
        records
    }
}

pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

pub fn terminal(text: &str) -> TerminalId {
    TerminalId::new(text).expect("a terminal")
}

/// The authorisation that a key of the first till makes.
pub fn id_of(key: &str) -> AuthorisationId {
    AuthorisationId::from_u128(authoriser::claims::key_of("T1", key).as_u128())
}

/// How the log dies, if it does: one time in eight.
pub fn fault(random: &mut Random) -> Option<Fault> {
    match random.below(16) {
        0 => Some(Fault::Before),
        1 => Some(Fault::After),
        _ => None,
    }
}

/// Asks until the cache is there: as a terminal that is told 503.
pub async fn patiently<T, A>(mut ask: impl FnMut() -> A) -> Result<T, Refusal>
where
    A: Future<Output = Result<T, Refusal>>,
{
    loop {
        match ask().await {
            Err(Refusal::Away) => tokio::time::sleep(Duration::from_millis(10)).await,
            answer => return answer,
        }
    }
}

/// A hash that stands for a body.
pub fn body(text: &str) -> BodyHash {
    authoriser::claims::body_hash(&outside_id("body", text).as_u128().to_be_bytes())
}

/// A basket of so many units of milk at a euro and a half.
pub fn basket(
    at: DateTime<Utc>,
    of: &str,
    person: Option<u128>,
    mode: Mode,
    units: i64,
) -> Request {
    let line = Line {
        number: 1,
        item: ItemId::new("milk").expect("an item"),
        category: Category::parse("food.milk"),
        quantity: Quantity::from_thousandths(units * 1_000),
        unit_price: Amount::from_cents(150),
        attributes: std::collections::BTreeMap::new(),
    };
    Request {
        terminal: terminal("T1"),
        key: key(of),
        occurred_at: at,
        means: person.map(MeansToken::from_u128),
        mode,
        lines: Lines::new(vec![line]).expect("lines"),
        receipt: None,
        spend_points: PointsWanted::UpTo(0),
        applied: None,
    }
}

/// A change that a terminal asks for.
pub fn change(of: &str, at: &str, id: AuthorisationId, what: What) -> Change {
    let said = format!("{id}{what:?}");
    Change { caller: Caller { terminal: terminal(at), key: key(of), body: body(&said) }, id, what }
}

/// A refund of so many thousandths of the first line.
pub fn back(thousandths: i64) -> What {
    What::Refund(vec![ReturnedLine {
        number: 1,
        quantity: Quantity::from_thousandths(thousandths),
    }])
}

/// The authorisation of a reply.
pub fn told(reply: Result<Reply, Refusal>) -> History {
    match reply.expect("an answer") {
        Reply::Authorisation(history) => history,
        Reply::Blocked(_) => panic!("the key was blocked"),
    }
}

/// An instruction of the state's: a euro off each unit, four units a month per recipient.
pub fn milk() -> Value {
    json!({"id": "milk", "benefit": "B-state", "label": {"lv": "Piens", "en": "Milk"}, "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 10,
        "recipients": {"any": ["family"]}, "content": {"any": [{"category": "food.milk"}]},
        "effect": {"amount_off_cents": 100, "per": "unit"}, "show_remaining": true,
        "funding": {"grantor_bp": 10000},
        "limits": [{"per": "recipient", "period": "month", "measure": "units", "max": 4}]})
}
