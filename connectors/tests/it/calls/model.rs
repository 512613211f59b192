//! Whatever happens, in whatever order: no call is lost, none is offered to two, nobody has two, the
//! first is served first, and what the stream has is all that the desk knows.

use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    registry,
    vpvkac::{
        board::Board,
        call::{Call, Matter},
        decide::{Ask, Decision, Party, Rules},
        roster::Roster,
    },
};
use domain::{
    call_event::Availability,
    id::{CallId, CentreId, InstitutionId, OfficialId, ServiceId},
};
use ingest::record::Record;
use proptest::prelude::*;
use ring::rand::SystemRandom;

use super::{REGISTRY, noon, observer::Observer};

const OFFICIALS: [&str; 5] = ["anna", "berta", "clara", "dace", "elza"];
const WORDS: [Availability; 3] =
    [Availability::Available, Availability::Away, Availability::Offline];

#[derive(Clone, Debug)]
enum Step {
    Request {
        centre: bool,
        vid: bool,
        behalf: bool,
        english: bool,
        wanted: Option<usize>,
    },
    Again(prop::sample::Index),
    Stand(usize, usize),
    Accept(prop::sample::Index),
    Decline(prop::sample::Index),
    Connect(prop::sample::Index),
    End(prop::sample::Index, bool),
    Abandon(prop::sample::Index),
    HandOver {
        call: prop::sample::Index,
        vid: bool,
        behalf: bool,
        wanted: Option<usize>,
    },
    Rate(prop::sample::Index, u32),
    /// Somebody who has nothing to do with it.
    Meddle(prop::sample::Index, usize),
    Wait(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let call = any::<prop::sample::Index>;
    let official = || 0..OFFICIALS.len();
    let wanted = || prop::option::weighted(0.2, 0..OFFICIALS.len());
    prop_oneof![
        6 => (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), wanted()).prop_map(
            |(centre, vid, behalf, english, wanted)| Step::Request {
                centre, vid, behalf, english, wanted
            }
        ),
        1 => call().prop_map(Step::Again),
        8 => (official(), prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)])
            .prop_map(|(one, word)| Step::Stand(one, word)),
        6 => call().prop_map(Step::Accept),
        2 => call().prop_map(Step::Decline),
        4 => call().prop_map(Step::Connect),
        4 => (call(), any::<bool>()).prop_map(|(call, centre)| Step::End(call, centre)),
        2 => call().prop_map(Step::Abandon),
        3 => (call(), any::<bool>(), any::<bool>(), wanted()).prop_map(
            |(call, vid, behalf, wanted)| Step::HandOver { call, vid, behalf, wanted }
        ),
        1 => (call(), 1..=5_u32).prop_map(|(call, rating)| Step::Rate(call, rating)),
        1 => (call(), official()).prop_map(|(call, one)| Step::Meddle(call, one)),
        4 => prop_oneof![8 => 0..30_i64, 1 => 3_000..5_000_i64, 1 => 20_000..50_000_i64]
            .prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

struct World {
    board: Board,
    roster: Roster,
    rules: Rules,
    now: DateTime<Utc>,
    stream: Vec<Record>,
    observer: Observer,
    asked: Vec<(Ask, CallId)>,
    random: SystemRandom,
}

impl World {
    fn new() -> Self {
        let registry =
            registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
        Self {
            board: Board::default(),
            roster: Roster::of(&registry.registry, 1),
            rules: Rules::default(),
            now: noon(),
            stream: Vec::new(),
            observer: Observer::default(),
            asked: Vec::new(),
            random: SystemRandom::new(),
        }
    }

    fn turn<T>(&mut self, decide: impl FnOnce(&mut Decision<'_>) -> T) -> T {
        let Self { board, roster, rules, random, .. } = self;
        let mut decision = Decision::at(self.now, board, roster, *rules, random);
        let answer = decide(&mut decision);
        let records = decision.into_records();
        for record in &records {
            self.observer.take(record, &self.roster);
        }
        self.stream.extend(records);
        self.observer.holds(&self.roster, self.rules.offer, self.now);
        answer
    }

    /// One of the calls that are not over, or of all where none is open.
    fn some_call(&self, at: &prop::sample::Index) -> Option<CallId> {
        let open = self.observer.calls.iter().filter(|(_, call)| call.is_open());
        let mut ids: Vec<_> = open.map(|(id, _)| id).collect();
        if ids.is_empty() {
            ids = self.observer.calls.keys().collect();
        }
        (!ids.is_empty()).then(|| CallId::parse(at.get::<&String>(&ids)).expect("an id"))
    }

    fn party(&self, id: CallId, centre: bool) -> Option<Party> {
        let call = self.board.call(id)?;
        match centre {
            true => Some(Party::Centre(call.centre.clone())),
            false => call.official.clone().map(Party::Official),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Request { centre, vid, behalf, english, wanted } => {
                let ask = ask(centre, matter(vid, behalf, english), wanted, self.asked.len());
                if !self.roster.is_served(&ask.matter) {
                    return;
                }
                let id = self.turn(|decision| decision.request(&ask)).expect("taken");
                let told = self.board.call(id).expect("there").told.clone();
                let seen = &self.observer.calls[&id.to_string()];
                assert_eq!(told.offered_to.map(|it| it.to_string()), seen.official);
                assert_eq!(told.position > 0, seen.official.is_none(), "who waits has a place");
                self.asked.push((ask, id));
            }
            Step::Again(at) => self.again(&at),
            Step::Stand(one, word) => {
                let word = WORDS[word];
                let _ = self.turn(|decision| decision.stand(&official(one), word));
            }
            Step::Wait(seconds) => {
                self.now += TimeDelta::seconds(seconds);
                self.turn(|_| ());
            }
            Step::Restart => self.restart(),
            Step::Meddle(at, one) => {
                let Some(id) = self.some_call(&at) else { return };
                let one = official(one);
                // What lapses by the way is nobody's doing.
                self.turn(|_| ());
                if self.board.call(id).and_then(|call| call.official.clone()) != Some(one.clone()) {
                    let told = self.turn(|decision| decision.accept(&one, id));
                    assert!(told.is_err(), "it is another's");
                }
            }
            other => self.run_of_call(other),
        }
    }

    fn run_of_call(&mut self, step: Step) {
        let at = match &step {
            Step::Accept(at) | Step::Decline(at) | Step::Connect(at) | Step::Abandon(at) => at,
            Step::End(at, _) | Step::Rate(at, _) | Step::HandOver { call: at, .. } => at,
            _ => return,
        };
        let Some(id) = self.some_call(at) else { return };
        let held = self.board.call(id).and_then(|call| call.official.clone());
        let Some(Party::Centre(centre)) = self.party(id, true) else { return };
        // Refusals are answers, too; what they may not do the observer finds.
        match step {
            Step::Accept(_) => {
                let Some(one) = held else { return };
                let _ = self.turn(|decision| decision.accept(&one, id));
            }
            Step::Decline(_) => {
                let Some(one) = held else { return };
                let _ = self.turn(|decision| decision.decline(&one, id));
            }
            Step::Connect(_) => {
                let party = Party::Centre(centre);
                let _ = self.turn(|decision| decision.connect(&party, id));
            }
            Step::End(_, by_centre) => {
                let Some(party) = self.party(id, by_centre) else { return };
                let _ = self.turn(|decision| decision.end(&party, id, Some(by_centre)));
            }
            Step::Abandon(_) => {
                let _ = self.turn(|decision| decision.abandon(&centre, id));
            }
            Step::HandOver { vid, behalf, wanted, .. } => {
                let party = Party::Centre(centre);
                let wanted = wanted.map(official);
                let to = |call: &Call| {
                    let english = call.matter.language == "en";
                    (matter(vid, behalf, english), wanted.clone())
                };
                let mandate = Some("M-1".to_owned());
                let next =
                    self.turn(|decision| decision.hand_over(&party, id, to, mandate.clone()));
                let again = self.turn(|decision| decision.hand_over(&party, id, to, mandate));
                assert_eq!(next, again, "asked again it is the same call");
            }
            Step::Rate(_, rating) => {
                let _ = self.turn(|decision| decision.rate(&centre, id, rating, None));
            }
            _ => {}
        }
    }

    /// The same key gives the same answer, whatever became of the call; with another body none.
    fn again(&mut self, at: &prop::sample::Index) {
        if self.asked.is_empty() {
            return;
        }
        let (ask, id) = at.get(&self.asked).clone();
        // After a day it is forgotten.
        let Some(told) = self.board.call(id).map(|call| call.told.clone()) else { return };
        let before = self.observer.calls.len();
        self.turn(|_| ());
        if self.board.call(id).is_none() {
            return;
        }
        assert_eq!(self.turn(|decision| decision.request(&ask)), Ok(id));
        assert_eq!(self.board.call(id).map(|call| call.told.clone()), Some(told));
        let other = Ask { body: vec![0], ..ask };
        self.turn(|decision| decision.request(&other)).expect_err("the key was used");
        assert_eq!(self.observer.calls.len(), before, "nothing new is asked for");
    }

    /// What the stream has is all that there is.
    fn restart(&mut self) {
        let mut board = Board::default();
        self.stream.iter().for_each(|record| board.apply(record));
        assert_eq!(board, self.board);
        // Told twice, it moves nothing.
        self.stream.iter().for_each(|record| board.apply(record));
        assert_eq!(board, self.board);
        self.board = board;
    }

    /// Every call that is not over stands on the board as the records tell it.
    fn nothing_is_lost(&self) {
        let told = self.observer.calls.iter().filter(|(_, call)| call.is_open());
        let told: Vec<_> = told
            .map(|(id, call)| (id.clone(), call.stage.to_owned(), call.official.clone()))
            .collect();
        let mut kept: Vec<_> = self
            .board
            .open_calls()
            .map(|call| {
                let official = call.official.as_ref().map(ToString::to_string);
                (call.id.to_string(), call.stage.code().to_owned(), official)
            })
            .collect();
        kept.sort();
        assert_eq!(kept, told);
        let counted: u32 = self.board.counts().values().flatten().sum();
        assert_eq!(counted as usize, told.len());
    }
}

fn official(at: usize) -> OfficialId {
    OfficialId::new(OFFICIALS[at]).expect("an id")
}

fn matter(vid: bool, behalf: bool, english: bool) -> Matter {
    Matter {
        institution: InstitutionId::new(if vid { "vid" } else { "vsaa" }).expect("an id"),
        service: ServiceId::new(if behalf { "PAK_05" } else { "PAK_10" }).expect("an id"),
        language: if english { "en" } else { "lv" }.into(),
    }
}

fn ask(centre: bool, matter: Matter, wanted: Option<usize>, number: usize) -> Ask {
    Ask {
        centre: CentreId::new(if centre { "centre-1" } else { "centre-2" }).expect("an id"),
        specialist: None,
        matter,
        wanted: wanted.map(official),
        mandate: None,
        key: number as u128 + 1,
        body: number.to_be_bytes().into(),
    }
}

fn cases() -> u32 {
    200 * crate::scale()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_happens_every_call_has_one_official_or_its_place(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.nothing_is_lost();
        }
        world.restart();
    }
}

/// A day of calls, then all leave: nothing is left, and nobody is busy.
#[test]
fn when_everybody_has_left_nothing_is_left() {
    let mut world = World::new();
    for number in 0..40 {
        let wanted = (number % 7 == 0).then_some(number % 5);
        let (vid, english) = (number % 2 == 0, number % 3 == 0);
        world.run(Step::Request { centre: vid, vid, behalf: english, english, wanted });
        world.run(Step::Stand(number % 5, 0));
    }
    assert_eq!(world.board.open_calls().count(), 40);
    world.run(Step::Wait(8 * 3_600));
    world.run(Step::Wait(60));
    assert_eq!(world.board.open_calls().count(), 0, "a forgotten call ends");
    world.run(Step::Wait(13 * 3_600));
    let offline = |one: usize| world.board.availability(&official(one)) == Availability::Offline;
    assert!((0..5).all(offline), "a forgotten shift ends");
    assert!(world.board.counts().is_empty());
    world.restart();
    world.run(Step::Wait(25 * 3_600));
    world.run(Step::Request {
        centre: true,
        vid: true,
        behalf: false,
        english: false,
        wanted: None,
    });
    assert_eq!(world.board.calls_before(None).count(), 1, "after a day they are let go of");
    world.restart();
}
