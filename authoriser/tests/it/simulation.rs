//! Random histories against a simple sequential model: duplicates, keys used twice, crashes before
//! and after every append, a lost index, clock steps over month ends and daylight saving.
//!
//! A failing run names its seed; `AVIS_TEST_SEED=<seed>` runs that one alone.

use std::collections::{BTreeMap, HashMap};

use authoriser::{
    command::{Caller, Change, Refusal, What},
    history::History,
    reply::Reply,
    rules::{self, Counters, Input, Refunded, RuleSet},
    service::Handle,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    authorisation::Status,
    basket::{Mode, PointsWanted, Request},
    id::{AuthorisationId, GroupId, HouseholdId, RecipientId},
    identification_means::MeansStatus,
    limit::{CounterKey, Holder},
    recipient::Recipient,
    refund::ReturnedLine,
};
use ingest::wire::v1::Event;
use serde_json::{Value, json};

use crate::{
    book::{Book, Life},
    random::{Random, seeds},
    world::{
        Engine, World, back, basket, body, change, fault, id_of, key, milk, patiently, terminal,
    },
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

/// A terminal's view in a page: one thing after the other, everything in plain maps.
struct Model {
    rules: RuleSet,
    book: Book,
    lives: BTreeMap<String, Life>,
    /// What each key was used for, and what it did; a blocked one did nothing.
    keys: HashMap<String, (String, Option<Told>)>,
    of_key: HashMap<String, String>,
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
            person: *of,
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
        let refund = life.refund(&self.rules, lines)?;
        self.book.apply(life.recipient.as_ref(), &refund.counters, &refund.points);
        let benefit = refund.benefits.iter().map(|back| back.amount.cents()).sum();
        Ok((refund.refunded.cents(), benefit))
    }

    fn end(&mut self, of: &str, status: Status) {
        self.lives.get_mut(of).expect("a life").status = status;
    }

    fn give_back(&mut self, of: &str, status: Status) {
        self.end(of, status);
        let life = &self.lives[of];
        let (counters, points) = life.undone();
        self.book.apply(life.recipient.as_ref(), &counters, &points);
    }

    fn end_due(&mut self, now: DateTime<Utc>) {
        let due = self.lives.iter().filter(|(_, life)| life.is_due(now));
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
    let mut random = Random::of(seed);
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
    let mut started = world.start().await;
    let mut asked: Vec<Ask> = Vec::new();
    for step in 0..steps {
        if random.below(64) == 0 {
            // A cache that is lost is built again from the stream, and nobody notices.
            world.engine.flush();
        }
        if random.below(8) == 0 {
            world.pass(TimeDelta::seconds(random.below(40_000)));
        }
        let ask = next(&mut random, step, &asked, &world);
        let (appends, fault) = (u32::try_from(random.below(2)).expect("few"), fault(&mut random));
        if let Some(fault) = fault {
            world.log.die_at(appends, fault);
        }
        let expected = model.answer(&ask, ingest::clock::Clock::now(&*world.clock));
        let mut found = patiently(|| ask.ask(&started.0)).await;
        if world.log.is_dead() {
            started = world.restart(started, random.below(4) == 0).await;
            found = patiently(|| ask.ask(&started.0)).await;
        }
        world.log.revive();
        compare(seed, step, &ask, found, expected);
        asked.push(ask);
    }
    // What is due is ended on both sides before the books are compared.
    let last = Ask::Reverse { key: "last".into(), undone: "never-used".into() };
    let _ = model.answer(&last, ingest::clock::Clock::now(&*world.clock));
    let (handle, running) = started;
    let _ = last.ask(&handle).await;
    running.stop().await.expect("stopped");
    balance(seed, &world, &model).await;
}

fn next(random: &mut Random, step: u32, asked: &[Ask], world: &World) -> Ask {
    let fresh = format!("k{step}");
    let decided: Vec<&Ask> = asked.iter().filter(|ask| matches!(ask, Ask::Decide { .. })).collect();
    match random.below(10) {
        0 => match random.one_of(asked) {
            Some(again) => again.clone(),
            None => decide(random, fresh, world),
        },
        1 => match random.one_of(asked) {
            Some(used) => decide(random, used.key().to_owned(), world),
            None => decide(random, fresh, world),
        },
        2..=5 => match random.one_of(&decided) {
            Some(ask) => {
                let what = match random.below(4) {
                    0 => What::Capture { receipt: None },
                    1 => What::Void,
                    _ => back(random.below(2_500)),
                };
                Ask::Change { key: fresh, id: id_of(ask.key()), what }
            }
            None => decide(random, fresh, world),
        },
        6 => match random.one_of(asked) {
            Some(ask) if random.below(5) > 0 => {
                Ask::Reverse { key: fresh, undone: ask.key().to_owned() }
            }
            _ => Ask::Reverse {
                key: fresh,
                undone: format!("k{}", i64::from(step) + random.below(9)),
            },
        },
        _ => decide(random, fresh, world),
    }
}

fn decide(random: &mut Random, key: String, world: &World) -> Ask {
    Ask::Decide {
        key,
        at: ingest::clock::Clock::now(&*world.clock),
        person: Some(u128::from(random.below(5).unsigned_abs())).filter(|number| *number > 0),
        mode: if random.below(2) == 0 { Mode::Reserve } else { Mode::Sale },
        units: 1 + random.below(4),
        points: 20 * random.below(3),
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
