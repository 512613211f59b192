//! What a recipient is told beside decisions: what is left, and what was decided.

use std::collections::BTreeMap;

use authoriser::{command::What, history::History, service::Handle};
use chrono::NaiveDate;
use domain::{
    basket::Mode,
    id::{GroupId, HouseholdId, RecipientId},
    recipient::Recipient,
};
use serde_json::{Value, json};

use crate::{
    random::Random,
    scale,
    world::{Engine, World, back, basket, body, change, key, milk, noon, told},
};

fn day() -> NaiveDate {
    "2025-06-02".parse().expect("a day")
}

/// Persons 1 and 2 are of one household, 3 and 4 alone.
fn recipient(person: u128) -> Recipient {
    Recipient {
        id: RecipientId::from_u128(person),
        household: HouseholdId::from_u128(if person <= 2 { 100 } else { person }),
        groups: vec![GroupId::new("family").expect("a group")],
    }
}

/// Milk with a limit of each kind.
fn limited() -> Value {
    let mut milk = milk();
    milk["limits"] = json!([
        {"per": "recipient", "period": "month", "measure": "units", "max": 40},
        {"per": "household", "period": "week", "measure": "amount_cents", "max": 6_000},
        {"per": "instruction", "period": "year", "measure": "uses", "max": 500},
        {"per": "recipient", "period": "basket", "measure": "units", "max": 9},
    ]);
    milk
}

async fn left(handle: &Handle, person: u128) -> Vec<i64> {
    let (rules, recipient) = (handle.rules(), recipient(person));
    let standing = rules.standings(&recipient, day()).next().expect("the one instruction");
    assert!(standing.is_for);
    let left = handle.left(standing.limits()).await.expect("readable");
    left.into_iter().map(|(_, left)| left).collect()
}

/// Units, cents and uses of one authorisation that still count, by its records' own lines.
fn counted(history: &History) -> (i64, i64, i64) {
    if matches!(history.status().code(), "voided" | "expired") {
        return (0, 0, 0);
    }
    let decided = history.decided.lines.iter().flat_map(|line| &line.benefits);
    let back = history.changes.iter().filter(|change| change.transition == "refund");
    let back = back.flat_map(|change| change.lines.iter().flat_map(|line| &line.benefits));
    let given = decided.chain(back);
    let units = given.clone().map(|benefit| benefit.units).sum();
    let cents = given.map(|benefit| benefit.amount_cents).sum();
    (units, cents, i64::from(cents > 0))
}

/// After every sale, void and refund, what is told to be left is what a model of all that was answered
/// says, and asking moves nothing.
#[tokio::test]
async fn what_is_left_is_what_was_not_used() {
    for engine in [Engine::Embedded, Engine::redis()] {
        for seed in 0..u64::from(4 * scale()) {
            what_is_left(engine.clone(), seed).await;
        }
    }
}

async fn what_is_left(engine: Engine, seed: u64) {
    let world = World::over(engine, noon(), json!([limited()])).await;
    let (handle, running) = world.start().await;
    let mut random = Random::of(seed);
    let mut made: BTreeMap<String, (u128, History)> = BTreeMap::new();
    for at in 0..40 {
        let person = 1 + random.below(4).unsigned_abs() as u128;
        let name = format!("k{at}");
        let before = made.values().nth(random.below(40).unsigned_abs() as usize).cloned();
        match (random.below(4), before) {
            (0, Some((of, history))) => {
                let back = change(&name, "T1", history.id(), back(1_000));
                if handle.change(back).await.is_ok() {
                    remember(&handle, &mut made, of, &history).await;
                }
            }
            (1, Some((of, history))) => {
                let void = change(&name, "T1", history.id(), What::Void);
                if handle.change(void).await.is_ok() {
                    remember(&handle, &mut made, of, &history).await;
                }
            }
            _ => {
                let mode = if random.below(2) == 0 { Mode::Reserve } else { Mode::Sale };
                let units = 1 + random.below(12);
                let asked = basket(noon(), key(&name).as_str(), Some(person), mode, units);
                let history = told(handle.authorise(asked, body(&name)).await);
                let rooms = &history.decided.instructions[0].limits;
                let after: Vec<i64> = rooms.iter().map(|room| room.after).collect();
                if !after.is_empty() {
                    let now = left(&handle, person).await;
                    // Of a budget an answer over Redis tells nothing while it is leased in slices.
                    assert_eq!(now[..2], after[..2], "as the answer says; seed {seed}, {at}");
                }
                made.insert(history.decided.authorisation_id.clone(), (person, history));
            }
        }
        let used = |whose: &dyn Fn(u128) -> bool| {
            let own = made.values().filter(|(of, _)| whose(*of)).map(|(_, of)| counted(of));
            own.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
        };
        for person in 1..=4 {
            let household = recipient(person).household;
            let expected = [
                40 - used(&|of| of == person).0,
                6_000 - used(&|of| recipient(of).household == household).1,
                500 - used(&|_| true).2,
                9,
            ];
            for _ in 0..2 {
                assert_eq!(left(&handle, person).await, expected, "seed {seed}, {at}, {person}");
            }
        }
    }
    for person in 1..=4 {
        pages_hold_own(&handle, &made, person).await;
    }
    running.stop().await.expect("stopped");
}

/// What is left of a budget is told whole or not at all.
#[tokio::test]
async fn no_answer_tells_what_a_slice_leaves_of_a_budget() {
    for (engine, left) in [(Engine::Embedded, Some(499)), (Engine::redis(), None)] {
        let world = World::over(engine, noon(), json!([limited()])).await;
        let (handle, running) = world.start().await;
        let asked = basket(noon(), "k", Some(1), Mode::Sale, 1);
        let sold = told(handle.authorise(asked, body("k")).await);
        let rooms = &sold.decided.instructions[0].limits;
        let budget = rooms.iter().find(|room| room.per == "instruction");
        assert_eq!(budget.map(|room| room.after), left);
        assert_eq!(rooms.len(), 3 + usize::from(left.is_some()), "the others are told");
        running.stop().await.expect("stopped");
    }
}

async fn remember(
    handle: &Handle,
    made: &mut BTreeMap<String, (u128, History)>,
    of: u128,
    history: &History,
) {
    let now = handle.look_up(history.id()).await.expect("found");
    made.insert(history.decided.authorisation_id.clone(), (of, now));
}

/// Pages of three hold a person's own, each once, the newest first, as it stands now.
async fn pages_hold_own(handle: &Handle, made: &BTreeMap<String, (u128, History)>, person: u128) {
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = handle.authorisations(RecipientId::from_u128(person), before, 3).await;
        let page = page.expect("readable");
        assert!(page.authorisations.len() <= 3);
        seen.extend(page.authorisations);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let own = made.values().filter(|(of, _)| *of == person);
    assert_eq!(seen.len(), own.count());
    for history in &seen {
        let (of, known) = &made[&history.decided.authorisation_id];
        assert_eq!((*of, &history.decided), (person, &known.decided));
        assert_eq!(history.changes, known.changes);
    }
    let number = |history: &History| -> u32 {
        history.decided.idempotency_key[1..].parse().expect("a number")
    };
    assert!(seen.is_sorted_by_key(|history| std::cmp::Reverse(number(history))));
}
