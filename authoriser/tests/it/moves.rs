//! Households followed: who marries, moves, is born or dies, and what of limits per household goes along.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use authoriser::{
    command::What,
    history::History,
    replay,
    service::{Handle, Running},
};
use chrono::TimeDelta;
use domain::{
    authorisation::Status,
    basket::Mode,
    id::{HouseholdId, RecipientId},
    limit::{CounterKey, Holder, Measure, Period},
};
use ingest::{
    clock::Clock,
    log::Log,
    wire::v1::{Event, HouseholdJoined},
};
use serde_json::{Value, json};

use crate::{
    random::Random,
    scale,
    world::{Engine, World, back, basket, body, change, milk, noon, patiently, told},
};

mod histories;

/// How often people move under load, at the least, and how often each shopper shops meanwhile: so
/// moves find something to bring, however fast or slow the machine is.
const LEAST_MOVES: usize = 30;
const LEAST_SALES: usize = 40;

/// Milk, eight units a month per household and six per recipient.
fn for_families() -> Value {
    let mut milk = milk();
    milk["limits"] = json!([
        {"per": "household", "period": "month", "measure": "units", "max": 8},
        {"per": "recipient", "period": "month", "measure": "units", "max": 6},
    ]);
    json!([milk])
}

/// The counter of [`for_families`]'s limit.
fn counter(household: u128) -> CounterKey {
    CounterKey {
        instruction: domain::id::InstructionId::new("milk").expect("an id"),
        holder: Holder::Household(HouseholdId::from_u128(household)),
        period: Period::Month,
        period_start: "2025-06-01".parse().expect("a day"),
        measure: Measure::Units,
    }
}

async fn engines(scenario: impl AsyncFn(World)) {
    for engine in [Engine::Embedded, Engine::redis(), Engine::cluster()] {
        scenario(World::over(engine, noon(), for_families()).await).await;
    }
}

/// A sale now of so many units; the units that were given on.
async fn buys(world: &World, handle: &Handle, name: &str, person: u128, units: i64) -> i64 {
    given(&sale(world, handle, name, person, units).await)
}

async fn sale(world: &World, handle: &Handle, name: &str, person: u128, units: i64) -> History {
    let asked = basket(world.clock.now(), name, Some(person), Mode::Sale, units);
    told(patiently(|| handle.authorise(asked.clone(), body(name))).await)
}

fn given(history: &History) -> i64 {
    let benefits = history.decided.lines.iter().flat_map(|line| &line.benefits);
    benefits.map(|benefit| benefit.units).sum()
}

async fn used(handle: &Handle, household: u128) -> i64 {
    let parts = handle.parts();
    parts.index.reach(&parts.log).await.expect("read");
    parts.index.counter(&counter(household)).expect("readable")
}

async fn joined(world: &World) -> Vec<HouseholdJoined> {
    let records = world.records().await.into_iter();
    let joined = records.filter_map(|record| match record.event {
        Event::HouseholdJoined(joined) => Some(joined),
        _ => None,
    });
    joined.collect()
}

async fn stop(world: &World, (handle, running): (Handle, Running)) {
    running.stop().await.expect("stopped");
    drop(handle);
    plays_again(world).await;
}

/// Under the rules of then the recorded transactions give what they gave.
async fn plays_again(world: &World) {
    let log: Arc<dyn Log> = Arc::<ingest::log::model::ModelLog>::clone(&world.log);
    let rules = world.rules().await;
    let each = |progress: replay::Progress| {
        if let Some(compared) = progress.compared {
            assert_eq!(compared.then, compared.now);
        }
    };
    replay::play(&log, &rules, None, each).await.expect("played");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marriage_brings_what_both_have_used() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        let generation = handle.parts().fence.generation();
        assert_eq!(buys(&world, &handle, "a", 3, 5).await, 5);
        assert_eq!(buys(&world, &handle, "b", 4, 2).await, 2);
        world.moves(3, 300).await;
        world.moves(4, 300).await;
        assert_eq!(buys(&world, &handle, "c", 4, 4).await, 1, "eight, less five, less two");
        assert_eq!(used(&handle, 300).await, 8);
        assert_eq!(buys(&world, &handle, "d", 3, 1).await, 0);
        assert_eq!(joined(&world).await.len(), 2, "each once");
        assert_eq!(handle.parts().fence.generation(), generation, "nobody else was disturbed");
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_limit_may_come_together_and_then_nothing_is_given() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "a", 3, 6).await, 6);
        assert_eq!(buys(&world, &handle, "b", 4, 5).await, 5);
        world.moves(4, 3).await;
        assert_eq!(buys(&world, &handle, "c", 4, 1).await, 0);
        assert_eq!(used(&handle, 3).await, 11);
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_out_and_back_is_counted_once() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        let generation = handle.parts().fence.generation();
        assert_eq!(buys(&world, &handle, "a", 1, 3).await, 3);
        assert_eq!(buys(&world, &handle, "b", 2, 2).await, 2);
        world.moves(1, 1).await;
        assert_eq!(buys(&world, &handle, "c", 1, 1).await, 1);
        assert_eq!(used(&handle, 1).await, 4, "three were brought");
        assert_eq!(used(&handle, 100).await, 5, "what the household used, it used");
        world.moves(1, 100).await;
        assert_eq!(buys(&world, &handle, "d", 1, 6).await, 2, "two of six are left");
        assert_eq!(used(&handle, 100).await, 8, "five, one brought, two now");
        world.moves(1, 1).await;
        world.moves(1, 100).await;
        assert_eq!(buys(&world, &handle, "e", 2, 9).await, 0);
        assert_eq!(used(&handle, 100).await, 8);
        assert_eq!(handle.parts().fence.generation(), generation, "nobody else was disturbed");
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_birth_brings_nothing_and_shares_what_is_there() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "a", 1, 6).await, 6);
        world.enrol(9).await;
        world.moves(9, 100).await;
        assert_eq!(buys(&world, &handle, "b", 9, 5).await, 2);
        assert!(joined(&world).await.is_empty());
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_gives_nothing_back() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "a", 1, 6).await, 6);
        world.dies(1, 100).await;
        let refused = sale(&world, &handle, "b", 1, 1).await;
        assert_eq!(refused.decided.decline_reason.as_deref(), Some("recipient_dead"));
        assert_eq!(buys(&world, &handle, "c", 2, 5).await, 2);
        assert!(joined(&world).await.is_empty());
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_after_a_move_gives_back_to_both_households() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        let generation = handle.parts().fence.generation();
        let before = sale(&world, &handle, "a", 1, 5).await;
        world.moves(1, 4).await;
        assert_eq!(buys(&world, &handle, "b", 4, 4).await, 3, "eight less five");
        let ask = || handle.change(change("r", "T1", before.id(), back(2_000)));
        let refunded = told(patiently(ask).await);
        assert_eq!(refunded.status(), Status::PartiallyRefunded);
        assert_eq!((used(&handle, 100).await, used(&handle, 4).await), (3, 6));
        assert_eq!(buys(&world, &handle, "c", 1, 9).await, 2, "two came back, here too");
        assert_eq!(buys(&world, &handle, "d", 2, 9).await, 5, "and where it was decided");
        assert_eq!(handle.parts().fence.generation(), generation, "nobody else was disturbed");
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_ends_after_a_move_is_given_back_to_both_households() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        let asked = basket(world.clock.now(), "a", Some(1), Mode::Reserve, 5);
        let held = told(patiently(|| handle.authorise(asked.clone(), body("a"))).await);
        let asked = basket(world.clock.now(), "b", Some(2), Mode::Reserve, 3);
        told(patiently(|| handle.authorise(asked.clone(), body("b"))).await);
        world.moves(1, 4).await;
        world.moves(2, 4).await;
        assert_eq!(buys(&world, &handle, "c", 4, 4).await, 0);
        let void = || handle.change(change("v", "T1", held.id(), What::Void));
        told(patiently(void).await);
        assert_eq!((used(&handle, 100).await, used(&handle, 4).await), (3, 3));
        world.pass(TimeDelta::minutes(16));
        assert_eq!(buys(&world, &handle, "d", 4, 9).await, 6, "all is there again");
        assert_eq!((used(&handle, 100).await, used(&handle, 4).await), (0, 6));
        stop(&world, (handle, running)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bought_before_the_move_and_comes_later_counts_in_both_households() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        let before = world.clock.now();
        world.pass(TimeDelta::minutes(5));
        world.moves(1, 4).await;
        let asked = basket(before, "a", Some(1), Mode::Sale, 5);
        let late = told(patiently(|| handle.authorise(asked.clone(), body("a"))).await);
        assert_eq!(given(&late), 5);
        let household = HouseholdId::from_u128(100).to_string();
        assert_eq!(late.decided.household_id, Some(household), "as of its instant");
        assert_eq!((used(&handle, 100).await, used(&handle, 4).await), (5, 5));
        assert_eq!(buys(&world, &handle, "b", 4, 6).await, 3);
        assert_eq!(buys(&world, &handle, "c", 2, 6).await, 3);
        stop(&world, (handle, running)).await;
    })
    .await;
}

/// Nobody need shop: the record by which somebody moved is followed.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_followed_at_once_and_once() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "a", 1, 5).await, 5);
        world.moves(1, 4).await;
        for _ in 0..500 {
            if used(&handle, 4).await == 5 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(used(&handle, 4).await, 5);
        running.stop().await.expect("stopped");
        drop(handle);
        for loses_index in [false, true] {
            let (handle, running) = world.start_again(loses_index).await;
            let name = format!("b{loses_index}");
            assert_eq!(buys(&world, &handle, &name, 4, 1).await, 1);
            running.stop().await.expect("stopped");
        }
        let records = joined(&world).await;
        assert_eq!(records.len(), 1, "{records:?}");
        let whose = (records[0].recipient_id.clone(), records[0].household_id.clone());
        let (person, home) = (RecipientId::from_u128(1), HouseholdId::from_u128(4));
        assert_eq!(whose, (person.to_string(), home.to_string()));
        let left = HouseholdId::from_u128(100).to_string();
        assert_eq!(records[0].left_household_id, Some(left));
        plays_again(&world).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moved_while_nobody_looked_is_found_at_the_start() {
    engines(async |world| {
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "a", 1, 5).await, 5);
        assert_eq!(buys(&world, &handle, "b", 3, 2).await, 2);
        running.stop().await.expect("stopped");
        drop(handle);
        world.moves(1, 4).await;
        world.moves(3, 4).await;
        let (handle, running) = world.start().await;
        assert_eq!(buys(&world, &handle, "c", 4, 6).await, 1);
        assert_eq!(used(&handle, 4).await, 8);
        stop(&world, (handle, running)).await;
    })
    .await;
}

/// Two authorisers that follow the same move bring it once.
#[tokio::test(flavor = "multi_thread")]
async fn authorisers_that_share_a_cache_bring_once() {
    let world = World::over(Engine::redis(), noon(), for_families()).await;
    let mut all = world.start_several(3).await;
    for round in 0..10_u128 {
        let mut homes = BTreeMap::new();
        for (at, (handle, _)) in all.iter().enumerate() {
            let person = [1, 3, 4][at];
            let name = format!("{round}-{at}");
            buys(&world, handle, &name, person, 1).await;
            let home = 1_000 + (round + at as u128) % 2;
            world.moves(person, home).await;
            homes.insert(person, home);
        }
        for (at, (handle, _)) in all.iter().enumerate() {
            buys(&world, handle, &format!("{round}-then-{at}"), [4, 1, 3][at], 1).await;
        }
    }
    // Each looks at what is new every hundred milliseconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let index = Arc::clone(&all[0].0.parts().index);
    let log = Arc::clone(&all[0].0.parts().log);
    index.reach(&log).await.expect("read");
    for (person, home) in [(1, 1_001), (3, 1_000), (4, 1_001)] {
        let home = HouseholdId::from_u128(home);
        assert_eq!(index.to_bring(RecipientId::from_u128(person), home).expect("read"), []);
    }
    for (handle, running) in all.drain(..) {
        running.stop().await.expect("stopped");
        drop(handle);
    }
}

/// Many things under way at once, and people who move meanwhile: what is given is what one thing after
/// the other would have given, in the order in which they were decided.
#[tokio::test(flavor = "multi_thread")]
async fn moves_under_load_are_as_if_one_came_after_the_other() {
    for engine in [Engine::Embedded, Engine::redis()] {
        for seed in 0..u64::from(3 * scale()) {
            let mut instructions = for_families();
            instructions[0]["limits"][0]["max"] = 90.into();
            instructions[0]["limits"][1]["max"] = 60.into();
            let world = World::over(engine.clone(), noon(), instructions).await;
            under_load(world, seed).await;
        }
    }
}

async fn under_load(world: World, seed: u64) {
    let world = Arc::new(world);
    let (handle, running) = world.start().await;
    let generation = handle.parts().fence.generation();
    let moved = Arc::new(AtomicUsize::new(0));
    let shops = (1..=12_u128).map(|shopper| {
        let (world, handle, moved) = (Arc::clone(&world), handle.clone(), Arc::clone(&moved));
        tokio::spawn(async move {
            let mut random = Random::of(seed * 100 + u64::try_from(shopper).expect("few"));
            let mut sales = 0;
            while sales < LEAST_SALES || moved.load(Ordering::Relaxed) < LEAST_MOVES {
                sales += 1;
                let name = format!("{shopper}-{sales}");
                let units = 1 + random.below(4);
                let sold = sale(&world, &handle, &name, 1 + shopper % 4, units).await;
                if random.below(3) == 0 {
                    let (name, what) = (format!("r{name}"), back(1_000));
                    let again = || handle.change(change(&name, "T1", sold.id(), what.clone()));
                    told(patiently(again).await);
                }
            }
        })
    });
    let shops: Vec<_> = shops.collect();
    let mut random = Random::of(seed);
    let mut homes: BTreeMap<u128, u128> = BTreeMap::new();
    // Who moves people is the test itself: where that fails, its runtime ends the shops, too.
    while !shops.iter().all(tokio::task::JoinHandle::is_finished) {
        let person = 1 + random.below(4).unsigned_abs() as u128;
        let home = [100, 200, person][usize::try_from(random.below(3)).expect("one of three")];
        // What is known from a later instant on holds.
        world.pass(TimeDelta::milliseconds(1));
        world.moves(person, home).await;
        homes.insert(person, home);
        moved.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for shop in shops {
        shop.await.expect("shopped");
    }
    buys(&world, &handle, "last", 4, 1).await;
    let parts = handle.parts();
    parts.index.reach(&parts.log).await.expect("read");
    for (person, home) in homes {
        let (person, home) = (RecipientId::from_u128(person), HouseholdId::from_u128(home));
        assert_eq!(parts.index.to_bring(person, home).expect("read"), [], "seed {seed}");
    }
    assert_eq!(parts.fence.generation(), generation, "nobody else was disturbed");
    let moves = joined(&world).await.len();
    assert!(moves > 0, "seed {seed}: no move brought anything");
    stop(&world, (handle, running)).await;
}
