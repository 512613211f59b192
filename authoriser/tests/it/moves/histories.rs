//! Random histories of families against a model that knows one rule: wherever somebody lives, all that
//! it used itself stands in that household's counters.
//!
//! A failing run names its seed; `AVIS_TEST_SEED=<seed>` runs that one alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use authoriser::{
    command::{Refusal, What},
    history::History,
    overspent::Overspending,
    reply::Reply,
    rules::{self, Counters, Input, Refunded, RuleSet},
    service::Handle,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    authorisation::Status,
    basket::Mode,
    decision::{Decision, DeclineReason, Outcome},
    id::{BenefitId, GroupId, HouseholdId, RecipientId},
    identification_means::MeansStatus,
    limit::{CounterKey, CounterMovement},
    recipient::Recipient,
    refund::ReturnedLine,
};
use ingest::{clock::Clock, wire::v1::Event};
use serde_json::{Value, json};

use super::plays_again;
use crate::{
    book::{Book, Life},
    random::{Random, seeds},
    world::{Engine, World, back, basket, body, change, fault, id_of, milk, noon, patiently},
};

/// People that may be there, and households beside those of people who live alone.
const PEOPLE: i64 = 6;
const FAMILIES: [u128; 3] = [100, 200, 300];

fn instructions() -> Value {
    let mut family = milk();
    family["limits"] = json!([
        {"per": "household", "period": "month", "measure": "units", "max": 14},
        {"per": "recipient", "period": "week", "measure": "units", "max": 9},
    ]);
    let half = json!({"id": "half", "benefit": "B-state", "label": "Half", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 20,
        "recipients": {"any": ["family"]}, "effect": {"percent_off_bp": 5000},
        "funding": {"grantor_bp": 5000}, "on_refund": "reevaluate", "on_limit": "skip",
        "limits": [{"per": "household", "period": "day", "measure": "amount_cents", "max": 400},
                   {"per": "household", "period": "week", "measure": "uses", "max": 5},
                   {"per": "instruction", "period": "year", "measure": "uses", "max": 60}]});
    let points = json!({"id": "club", "benefit": "B-shop", "label": "Club", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 30,
        "recipients": {"everyone": true}, "effect": {"earn_points": {"per_cents": 50, "points": 3}},
        "funding": {"grantor_bp": 10000}});
    json!([family, half, points])
}

/// Where somebody lives, from when on, and whether it lives.
type Lived = Vec<(DateTime<Utc>, u128, bool)>;

/// The rule in a page: own uses by person, what stands in a household by person, all else in a book.
struct Model {
    rules: RuleSet,
    book: Book,
    own: BTreeMap<(u128, CounterKey), i64>,
    stands: BTreeMap<(CounterKey, u128), i64>,
    people: BTreeMap<u128, Lived>,
    lives: BTreeMap<String, Life>,
}

impl Counters for Model {
    fn used(&self, key: &CounterKey) -> i64 {
        match key.household() {
            None => self.book.used(key),
            Some(_) => {
                let of = self.stands.iter().filter(|((of, _), _)| of == key);
                of.map(|(_, stands)| stands).sum()
            }
        }
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.book.points(recipient, benefit)
    }
}

impl Model {
    fn home(&self, person: u128) -> u128 {
        self.people[&person].last().expect("lived somewhere").1
    }

    fn at(&self, person: u128, instant: DateTime<Utc>) -> (u128, bool) {
        let lived = self.people[&person].iter().rev().find(|(from, ..)| *from <= instant);
        lived.map_or((person, true), |(_, household, alive)| (*household, *alive))
    }

    /// Own uses stand where the person lives.
    fn settle(&mut self, person: u128) {
        let home = HouseholdId::from_u128(self.home(person));
        let own = self.own.iter().filter(|((of, _), _)| *of == person);
        let own: Vec<_> = own.map(|((_, key), used)| (key.of_household(home), *used)).collect();
        for (key, used) in own {
            self.stands.insert((key, person), used);
        }
    }

    fn moves(
        &mut self,
        person: Option<u128>,
        of: &[CounterMovement],
        recipient: Option<&Recipient>,
    ) {
        let (household, other): (Vec<_>, Vec<_>) =
            of.iter().cloned().partition(|moved| moved.key.household().is_some());
        self.book.apply(recipient, &other, &[]);
        let Some(person) = person else { return };
        for moved in household {
            let nowhere = moved.key.of_household(HouseholdId::from_u128(0));
            *self.own.entry((person, nowhere)).or_default() += moved.change;
            *self.stands.entry((moved.key, person)).or_default() += moved.change;
        }
        self.settle(person);
    }

    fn decide(&mut self, ask: &Ask, now: DateTime<Utc>) -> Option<Told> {
        let Ask::Decide { key, at, person, mode, units } = ask else { return None };
        let request = basket(*at, key, *person, *mode, *units);
        let lived = person.map(|person| self.at(person, *at));
        let alive = lived.is_none_or(|(_, alive)| alive);
        let recipient =
            person.zip(lived).filter(|_| alive).map(|(person, (household, _))| Recipient {
                id: RecipientId::from_u128(person),
                household: HouseholdId::from_u128(household),
                groups: vec![GroupId::new("family").expect("a group")],
            });
        let input = Input {
            terminal: self.rules.terminal(&request.terminal).expect("a terminal"),
            lines: &request.lines,
            instant: *at,
            recipient: recipient.as_ref(),
            means_status: if person.is_some() { MeansStatus::Valid } else { MeansStatus::None },
            declined: (!alive).then_some(DeclineReason::RecipientDead),
            points: request.spend_points,
        };
        let decision = rules::evaluate(&self.rules, &input, self);
        let status = match (decision.outcome, mode) {
            (Outcome::Declined(_), _) => Status::Voided,
            (_, Mode::Reserve) => Status::Reserved,
            _ => Status::Captured,
        };
        self.moves(*person, &decision.counters, recipient.as_ref());
        self.book.apply(recipient.as_ref(), &[], &decision.points);
        self.holds_limits(&decision);
        let life = Life {
            person: *person,
            status,
            request,
            recipient,
            decision,
            refunded: Refunded::default(),
            expires_at: now.max(*at) + TimeDelta::minutes(15),
        };
        let told = Told { status, cents: life.decision.benefit().cents() };
        self.lives.insert(key.clone(), life);
        Some(told)
    }

    /// What the members of a household used themselves, wherever that was, is within its limits after
    /// whatever was given there.
    fn holds_limits(&self, decision: &Decision) {
        for moved in decision.counters.iter().filter(|moved| moved.change > 0) {
            let Some(household) = moved.key.household() else { continue };
            let most = match (moved.key.instruction.as_str(), moved.key.measure.code()) {
                ("milk", _) => 14,
                (_, "uses") => 5,
                _ => 400,
            };
            let members = self.people.keys().filter(|of| self.home(**of) == household.as_u128());
            let nowhere = moved.key.of_household(HouseholdId::from_u128(0));
            let own = members.map(|of| self.own.get(&(*of, nowhere.clone())).copied().unwrap_or(0));
            assert!(own.sum::<i64>() <= most, "{:?}", moved.key);
        }
    }

    fn change(&mut self, key: &str, what: &What) -> Result<Told, Refusal> {
        let status = self.lives[key].status;
        match (what, status) {
            (What::Void, Status::Reserved) => Ok(self.give_back(key, Status::Voided)),
            (What::Capture { .. }, Status::Reserved) => {
                let life = self.lives.get_mut(key).expect("a life");
                life.status = Status::Captured;
                Ok(Told { status: Status::Captured, cents: life.decision.benefit().cents() })
            }
            (What::Refund(lines), Status::Captured | Status::PartiallyRefunded) => {
                self.refund(key, lines)
            }
            _ => Err(Refusal::State { status }),
        }
    }

    fn refund(&mut self, key: &str, lines: &[ReturnedLine]) -> Result<Told, Refusal> {
        let life = self.lives.get_mut(key).expect("a life");
        let refund = life.refund(&self.rules, lines)?;
        let (person, recipient) = (life.person, life.recipient.clone());
        let told = Told { status: life.status, cents: life.decision.benefit().cents() };
        self.moves(person, &refund.counters, recipient.as_ref());
        self.book.apply(recipient.as_ref(), &[], &refund.points);
        Ok(told)
    }

    fn give_back(&mut self, key: &str, status: Status) -> Told {
        let life = self.lives.get_mut(key).expect("a life");
        life.status = status;
        let (person, recipient) = (life.person, life.recipient.clone());
        let told = Told { status, cents: life.decision.benefit().cents() };
        let (counters, points) = life.undone();
        self.moves(person, &counters, recipient.as_ref());
        self.book.apply(recipient.as_ref(), &[], &points);
        told
    }

    fn end_due(&mut self, now: DateTime<Utc>) {
        let due = self.lives.iter().filter(|(_, life)| life.is_due(now));
        let due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.give_back(&key, Status::Expired);
        }
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    status: Status,
    cents: i64,
}

#[derive(Clone, Debug)]
enum Ask {
    Decide { key: String, at: DateTime<Utc>, person: Option<u128>, mode: Mode, units: i64 },
    Change { key: String, of: String, what: What },
}

impl Ask {
    async fn ask(&self, handle: &Handle) -> Result<Told, Refusal> {
        let answer = match self {
            Self::Decide { key, at, person, mode, units } => {
                let request = basket(*at, key, *person, *mode, *units);
                handle.authorise(request, body(key)).await
            }
            Self::Change { key, of, what } => {
                handle.change(change(key, "T2", id_of(of), what.clone())).await
            }
        };
        let told = |history: &History| Told {
            status: history.status(),
            cents: history.decided.benefit_cents,
        };
        match answer? {
            Reply::Authorisation(history) => Ok(told(&history)),
            Reply::Blocked(_) => panic!("nothing was reversed"),
        }
    }
}

/// What happens in a family.
async fn something_happens(random: &mut Random, world: &World, model: &mut Model) {
    let person = 1 + random.below(PEOPLE).unsigned_abs() as u128;
    let now = world.clock.now();
    let family = FAMILIES[usize::try_from(random.below(3)).expect("one of three")];
    let is_known = model.people.contains_key(&person);
    if !is_known {
        // A birth: first somebody alone, as whoever is not in the register yet, or at once at home.
        world.enrol(person).await;
        model.people.insert(person, vec![(DateTime::UNIX_EPOCH, person, true)]);
    }
    let mut goes = vec![(person, if random.below(4) == 0 { person } else { family })];
    if random.below(4) == 0 {
        // A marriage: somebody else comes to live there, too.
        let spouse = model.people.keys().nth(random.below(3).unsigned_abs() as usize).copied();
        // Through a household between two looks somebody only passes: nothing is brought there.
        goes.extend(spouse.filter(|of| *of != person).map(|spouse| (spouse, family)));
    }
    for (person, household) in goes {
        let alive = model.people[&person].last().expect("lived").2;
        if alive && random.below(12) == 0 {
            let household = model.home(person);
            world.dies(person, household).await;
            model.people.get_mut(&person).expect("lived").push((now, household, false));
        } else if alive {
            world.moves(person, household).await;
            model.people.get_mut(&person).expect("lived").push((now, household, true));
            model.settle(person);
        }
    }
}

fn next(random: &mut Random, step: u32, model: &Model, world: &World) -> Ask {
    let key = format!("k{step}");
    let sold: Vec<&String> = model.lives.keys().collect();
    if !sold.is_empty() && random.below(5) < 2 {
        let at = usize::try_from(random.below(sold.len() as i64)).expect("a place");
        let what = match random.below(4) {
            0 => What::Capture { receipt: None },
            1 => What::Void,
            _ => back(500 * (1 + random.below(6))),
        };
        return Ask::Change { key, of: sold[at].clone(), what };
    }
    let known: Vec<u128> = model.people.keys().copied().collect();
    let person = known[usize::try_from(random.below(known.len() as i64)).expect("a place")];
    // Some come late, and were bought before somebody moved.
    let late = if random.below(4) == 0 { random.below(600) } else { 0 };
    Ask::Decide {
        key,
        at: world.clock.now() - TimeDelta::seconds(late),
        person: (random.below(12) > 0).then_some(person),
        mode: if random.below(2) == 0 { Mode::Reserve } else { Mode::Sale },
        units: 1 + random.below(5),
    }
}

async fn run(engine: &Engine, seed: u64, steps: u32) {
    let mut random = Random::of(seed);
    let world = World::over(engine.clone(), noon(), instructions()).await;
    let alone = |person| (DateTime::UNIX_EPOCH, if person <= 2 { 100 } else { person }, true);
    let mut model = Model {
        rules: world.rules().await,
        book: Book::default(),
        own: BTreeMap::new(),
        stands: BTreeMap::new(),
        people: (1..=4).map(|person| (person, vec![alone(person)])).collect(),
        lives: BTreeMap::new(),
    };
    let mut started = world.start().await;
    for step in 0..steps {
        if random.below(48) == 0 {
            world.engine.flush();
        }
        if random.below(6) == 0 {
            world.pass(TimeDelta::seconds(1 + random.below(30_000)));
        }
        if random.below(4) == 0 {
            something_happens(&mut random, &world, &mut model).await;
        }
        if random.below(40) == 0 {
            let loses_index = random.below(3) == 0;
            started = world.restart(started, loses_index).await;
        }
        let now = world.clock.now();
        model.end_due(now);
        let ask = next(&mut random, step, &model, &world);
        let expected = match &ask {
            Ask::Decide { .. } => Ok(model.decide(&ask, now).expect("a basket")),
            Ask::Change { of, what, .. } => model.change(of, what),
        };
        if let Some(fault) = fault(&mut random) {
            world.log.die_at(u32::try_from(random.below(3)).expect("few"), fault);
        }
        let mut found = patiently(|| ask.ask(&started.0)).await;
        if world.log.is_dead() {
            started = world.restart(started, random.below(4) == 0).await;
            found = patiently(|| ask.ask(&started.0)).await;
        }
        world.log.revive();
        assert_eq!(
            found, expected,
            "seed {seed}, step {step}: {ask:?}; run it alone with AVIS_TEST_SEED={seed}"
        );
    }
    let name = "last";
    let last = Ask::Decide {
        key: name.into(),
        at: world.clock.now(),
        person: None,
        mode: Mode::Sale,
        units: 1,
    };
    patiently(|| last.ask(&started.0)).await.expect("sold");
    balance(seed, &world, &model, &started.0).await;
    started.1.stop().await.expect("stopped");
    drop(started.0);
    plays_again(&world).await;
}

/// The index has what the model has, of every household that ever was; and nobody has anything to bring.
async fn balance(seed: u64, world: &World, model: &Model, handle: &Handle) {
    let parts = handle.parts();
    parts.index.reach(&parts.log).await.expect("read");
    let keys: BTreeSet<&CounterKey> = model.stands.keys().map(|(key, _)| key).collect();
    for key in keys {
        let found = parts.index.counter(key).expect("readable");
        assert_eq!(found, model.used(key), "seed {seed}: {key:?}");
    }
    for (key, found) in parts.index.all_counters().expect("readable") {
        assert_eq!(found, model.used(&key), "seed {seed}: {key:?}");
    }
    let mut limits = Overspending::over(Arc::clone(&parts.index), Arc::clone(&parts.log));
    assert_eq!(limits.look(Duration::ZERO).await.expect("readable"), 0, "seed {seed}: overspent");
    for person in model.people.keys() {
        let home = HouseholdId::from_u128(model.home(*person));
        let due = parts.index.to_bring(RecipientId::from_u128(*person), home).expect("readable");
        assert_eq!(due, [], "seed {seed}: {person}");
    }
    let mut ids = BTreeSet::new();
    for record in world.records().await {
        assert!(
            ids.insert(record.id) || matches!(record.event, Event::AuthoriserStarted(_)),
            "seed {seed}: {} twice",
            record.id
        );
    }
}

async fn histories(engine: Engine, count: u32) {
    let seeds = seeds(count);
    println!("{} histories of families over {engine:?}", seeds.len());
    for seed in seeds {
        run(&engine, seed, 250).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn families_are_the_models_embedded() {
    histories(Engine::Embedded, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_are_the_models_over_redis() {
    histories(Engine::redis(), 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_are_the_models_over_a_cluster() {
    histories(Engine::cluster(), 4).await;
}
