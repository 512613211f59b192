//! What every cache promises.

use authoriser::cache::{Cache, Movements, Reserved, Wanted, embedded::EmbeddedCache};
use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, InstructionId, RecipientId},
    limit::{CounterKey, CounterMovement, Holder, Measure, Period},
};

fn key(household: u128) -> CounterKey {
    CounterKey {
        instruction: InstructionId::new("milk").expect("an id"),
        holder: Holder::Household(HouseholdId::from_u128(household)),
        period: Period::Month,
        period_start: "2025-01-01".parse().expect("a day"),
        measure: Measure::Units,
    }
}

fn moves(change: i64) -> Movements {
    Movements {
        counters: vec![CounterMovement { key: key(1), change }],
        points: vec![(RecipientId::from_u128(1), BenefitId::new("club").expect("an id"), change)],
    }
}

fn wanted() -> Wanted {
    let points = (RecipientId::from_u128(1), BenefitId::new("club").expect("an id"));
    Wanted { counters: vec![key(1), key(2)], points: vec![points] }
}

/// The suite: what a caller may rely on, wherever the counters are kept.
async fn holds(mut cache: impl Cache) {
    let id = AuthorisationId::from_u128;
    let empty = cache.load(&wanted()).await.expect("read");
    assert!(empty.counters.values().all(|used| *used == 0), "what never moved is 0");
    let done = cache.reserve(id(1), &moves(3), Some(&empty)).await.expect("moved");
    assert_eq!(done, Reserved::Done);
    let again = cache.reserve(id(1), &moves(3), None).await.expect("answered");
    assert_eq!(again, Reserved::Exists, "twice does nothing");
    let stale = cache.reserve(id(2), &moves(1), Some(&empty)).await.expect("answered");
    assert_eq!(stale, Reserved::Conflict, "what it was based on has changed");
    let now = cache.load(&wanted()).await.expect("read");
    assert_eq!((now.counters[&key(1)], now.counters[&key(2)]), (3, 0));
    assert_eq!(now.points.values().copied().collect::<Vec<_>>(), [3]);
    let back = cache.reserve(id(3), &moves(-3), Some(&now)).await.expect("moved");
    assert_eq!(back, Reserved::Done);
    assert_eq!(cache.load(&wanted()).await.expect("read").counters[&key(1)], 0);
}

#[tokio::test]
async fn the_embedded_cache_holds() {
    holds(EmbeddedCache::default()).await;
}
