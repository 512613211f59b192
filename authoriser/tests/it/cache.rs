//! What every cache promises: one suite, for each place where counters are kept.

use std::{future::Future, sync::Arc};

use authoriser::{
    cache::{
        Cache, Reserved,
        embedded::EmbeddedCache,
        model::{ModelCache, ModelServer, ModelShared},
        truth::Truth,
    },
    fence::Fence,
    rules::Counters,
};
use domain::id::RecipientId;

use crate::{
    random::Random,
    redis::stream::{Basket, Limits, Stream, Till, club, of_all, of_household, of_recipient},
    scale,
};

/// Where counters are kept, and who shares them.
pub trait Place {
    type Cache: Cache;

    /// A further author over `stream`.
    fn author(&self) -> impl Future<Output = Self::Cache> + Send;

    fn fence(&self) -> Arc<Fence>;

    fn stream(&self) -> Arc<Stream>;

    fn till(&self, limits: Limits) -> impl Future<Output = Till<Self::Cache>> + Send
    where
        Self: Sync,
    {
        async move {
            Till {
                cache: self.author().await,
                fence: self.fence(),
                stream: self.stream(),
                limits,
                again: std::collections::BTreeMap::new(),
            }
        }
    }
}

pub const WIDE: Limits = Limits { recipient: 1_000, household: 3_000, budget: 1_000_000 };

pub fn basket(id: u128, household: u128, recipient: u128, wanted: i64) -> Basket {
    Basket { id, step: 0, household: Some(household), recipient, wanted }
}

/// What is moved is seen by what follows in the batch, and after it.
pub async fn moves_are_seen(place: &(impl Place + Sync)) {
    let mut till = place.till(WIDE).await;
    let (first, second) = (basket(1, 1, 1, 30), basket(2, 1, 2, 5));
    let wanted = [first.wants(&WIDE), second.wants(&WIDE)];
    till.cache.load(&wanted).await.expect("loaded");
    assert_eq!(till.cache.used(&of_household(1)), 0, "what never moved is 0");
    till.cache.stage(first.operation(30));
    assert_eq!(till.cache.used(&of_household(1)), 30, "seen before the commit");
    till.cache.stage(second.operation(5));
    assert_eq!(till.cache.used(&of_household(1)), 35);
    assert_eq!(till.cache.points(RecipientId::from_u128(1), &club()), 30);
    assert_eq!(till.cache.commit().await.expect("moved"), [Reserved::Done, Reserved::Done]);
    till.cache.load(&wanted).await.expect("loaded");
    let used = |key| till.cache.used(&key);
    assert_eq!((used(of_recipient(1)), used(of_recipient(2)), used(of_household(1))), (30, 5, 35));
    let back = Basket { step: 1, ..basket(1, 1, 1, -30) };
    till.cache.stage(back.operation(-30));
    assert_eq!(till.cache.commit().await.expect("moved"), [Reserved::Done]);
    till.cache.load(&wanted).await.expect("loaded");
    assert_eq!(till.cache.used(&of_household(1)), 5, "given back");
    assert_eq!(till.cache.points(RecipientId::from_u128(1), &club()), 0);
    assert_eq!(till.cache.commit().await.expect("nothing"), [], "nothing staged, nothing moved");
    till.cache.close().await.expect("closed");
    forget(place).await;
}

/// Of two that come twice, or for the same step, the first moves; a conflict moves nothing at all.
pub async fn operations_move_once(place: &(impl Place + Sync)) {
    // Begins where no budget is near its end, so that a conflict is the household's.
    forget(place).await;
    let (mut one, mut other) = (place.till(WIDE).await, place.till(WIDE).await);
    let sale = basket(10, 10, 10, 7);
    let wanted = [sale.wants(&WIDE)];
    one.cache.load(&wanted).await.expect("loaded");
    other.cache.load(&wanted).await.expect("loaded");
    one.cache.stage(sale.operation(7));
    assert_eq!(one.cache.commit().await.expect("moved"), [Reserved::Done]);
    other.cache.stage(sale.operation(7));
    assert_eq!(other.cache.commit().await.expect("told"), [Reserved::Exists], "the same id");
    let stale = basket(11, 10, 10, 3);
    other.cache.load(&wanted).await.expect("loaded");
    one.cache.load(&wanted).await.expect("loaded");
    one.cache.stage(basket(12, 10, 10, 2).operation(2));
    assert_eq!(one.cache.commit().await.expect("moved"), [Reserved::Done]);
    other.cache.stage(stale.operation(3));
    other.cache.stage(basket(13, 10, 10, 1).operation(1));
    let conflicts = other.cache.commit().await.expect("told");
    assert_eq!(conflicts, [Reserved::Conflict; 2], "and what was decided on it");
    other.cache.load(&wanted).await.expect("loaded");
    let used = |key| other.cache.used(&key);
    assert_eq!((used(of_recipient(10)), used(of_household(10))), (9, 9), "all or nothing");
    let again = Basket { step: 1, ..basket(10, 10, 10, -7) };
    let mut twin = again.operation(-7);
    twin.id = domain::id::RecordId::from_u128(999);
    one.cache.load(&wanted).await.expect("loaded");
    one.cache.stage(again.operation(-7));
    assert_eq!(one.cache.commit().await.expect("moved"), [Reserved::Done]);
    other.cache.load(&wanted).await.expect("loaded");
    other.cache.stage(twin);
    assert_eq!(other.cache.commit().await.expect("told"), [Reserved::Conflict], "the same step");
    one.cache.close().await.expect("closed");
    other.cache.close().await.expect("closed");
    forget(place).await;
}

/// What moved and was not appended ends with its generation.
async fn forget(place: &impl Place) {
    let fence = place.fence();
    fence.advance(fence.generation()).await;
}

/// Who moves is counted on, there and back, and nobody else is disturbed.
pub async fn who_moves_takes_own_along(place: &(impl Place + Sync)) {
    forget(place).await;
    let generation = place.fence().generation();
    let limits = Limits { recipient: 50, ..WIDE };
    let mut till = place.till(limits).await;
    assert_eq!(till.serve(&[basket(700, 71, 75, 30)]).await, [30]);
    assert_eq!(till.serve(&[basket(701, 72, 75, 40)]).await, [20], "fifty less thirty");
    let back = Basket { step: 1, ..basket(700, 71, 75, -10) };
    assert_eq!(till.serve(&[back]).await, [-10], "under the household of then");
    assert_eq!(till.serve(&[basket(702, 72, 75, 40)]).await, [10]);
    let wanted = [basket(0, 72, 75, 0).wants(&limits), basket(0, 71, 76, 0).wants(&limits)];
    till.cache.load(&wanted).await.expect("loaded");
    let used = |key| till.cache.used(&key);
    assert_eq!(
        (used(of_recipient(75)), used(of_household(71)), used(of_household(72))),
        (50, 20, 30)
    );
    assert_eq!(till.cache.points(RecipientId::from_u128(75), &club()), 50);
    assert_eq!(place.fence().generation(), generation, "nobody else was disturbed");
    till.cache.close().await.expect("closed");
}

/// An operation that moves a counter of the household where its recipient lives by now as well.
fn beside(of: &Basket, home: u128, given: i64) -> authoriser::cache::Operation {
    let mut operation = of.operation(given);
    let there = domain::limit::CounterMovement { key: of_household(home), change: given };
    operation.movements.counters.push(there);
    operation
}

/// What moves in the household where a recipient lives by now is seen there.
pub async fn a_household_beside_moves_along(place: &(impl Place + Sync)) {
    forget(place).await;
    let mut till = place.till(WIDE).await;
    let (sale, of_home) = (basket(710, 81, 85, 5), basket(0, 82, 86, 0));
    till.cache.load(&[sale.wants(&WIDE)]).await.expect("loaded");
    till.cache.stage(beside(&sale, 82, 5));
    assert_eq!(till.cache.commit().await.expect("moved"), [Reserved::Done]);
    let wanted = [sale.wants(&WIDE), of_home.wants(&WIDE)];
    till.cache.load(&wanted).await.expect("loaded");
    assert_eq!([81, 82].map(|of| till.cache.used(&of_household(of))), [5, 5]);
    let back = Basket { step: 1, ..sale };
    till.cache.stage(beside(&back, 82, -3));
    assert_eq!(till.cache.commit().await.expect("moved"), [Reserved::Done]);
    till.cache.load(&wanted).await.expect("loaded");
    assert_eq!([81, 82].map(|of| till.cache.used(&of_household(of))), [2, 2]);
    till.cache.close().await.expect("closed");
    forget(place).await;
}

/// Where an operation conflicts, nothing of it stands in the household beside; and what was decided
/// there before it moved conflicts.
pub async fn a_household_beside_moves_with_it_or_not(place: &(impl Place + Sync)) {
    forget(place).await;
    let (mut one, mut other) = (place.till(WIDE).await, place.till(WIDE).await);
    let (sale, of_home) = (basket(720, 91, 95, 5), basket(721, 92, 96, 4));
    let wanted = [sale.wants(&WIDE), of_home.wants(&WIDE)];
    one.cache.load(&wanted).await.expect("loaded");
    other.cache.load(&wanted).await.expect("loaded");
    one.cache.stage(beside(&sale, 92, 5));
    assert_eq!(one.cache.commit().await.expect("moved"), [Reserved::Done]);
    other.cache.stage(of_home.operation(4));
    assert_eq!(other.cache.commit().await.expect("told"), [Reserved::Conflict]);
    let again = basket(722, 91, 97, 7);
    other.cache.load(&[again.wants(&WIDE)]).await.expect("loaded");
    one.cache.load(&wanted).await.expect("loaded");
    one.cache.stage(basket(723, 91, 95, 1).operation(1));
    assert_eq!(one.cache.commit().await.expect("moved"), [Reserved::Done]);
    other.cache.stage(beside(&again, 92, 7));
    assert_eq!(other.cache.commit().await.expect("told"), [Reserved::Conflict]);
    one.cache.load(&wanted).await.expect("loaded");
    assert_eq!([91, 92].map(|of| one.cache.used(&of_household(of))), [6, 5]);
    one.cache.close().await.expect("closed");
    other.cache.close().await.expect("closed");
    forget(place).await;
}

/// One author after another decides as the sums say, batch by batch, to the end of the budget.
pub async fn decisions_follow_the_sums(place: &(impl Place + Sync), seed: u64, batches: usize) {
    let mut random = Random::of(seed);
    let budget = place.stream().used(&of_all()) + random.below(4_000);
    let limits = Limits { recipient: 300, household: 700, budget };
    let mut till = place.till(limits).await;
    let mut sold: Vec<(Basket, i64)> = Vec::new();
    for batch in 0..batches {
        let mut baskets = Vec::new();
        let stream = place.stream();
        let mut expected = Vec::new();
        let mut sums: std::collections::HashMap<_, i64> = std::collections::HashMap::new();
        for at in 0..1 + random.below(8) {
            let id = (u128::from(seed) << 64) + (batch as u128) * 100 + at.unsigned_abs() as u128;
            let recipient = u128::from(seed) * 1_000 + random.below(9).unsigned_abs() as u128;
            let household = (random.below(6) > 0).then_some(recipient / 2);
            let mut one =
                Basket { id, step: 0, household, recipient, wanted: random.below(90) + 1 };
            // What is given back to a budget counts from the next batch on, so it comes alone.
            if random.below(5) == 0 && !sold.is_empty() && baskets.is_empty() {
                let at = random.below(sold.len() as i64).unsigned_abs();
                let (of, amount) = sold.swap_remove(usize::try_from(at).expect("an index"));
                one = Basket { step: 1, wanted: -amount, ..of };
            }
            let mut used = |key: domain::limit::CounterKey| {
                *sums.entry(key.clone()).or_insert_with(|| stream.used(&key))
            };
            let own = one.household.map_or(i64::MAX, |household| {
                let recipient = limits.recipient - used(of_recipient(one.recipient));
                recipient.min(limits.household - used(of_household(household)))
            });
            let amount = one.wanted.min(own).min(limits.budget - used(of_all())).max(0);
            let amount = if one.wanted < 0 { one.wanted } else { amount };
            for moved in one.operation(amount).movements.counters {
                *sums.entry(moved.key).or_default() += moved.change;
            }
            expected.push(amount);
            let gave_back = one.wanted < 0;
            baskets.push(one);
            if gave_back {
                break;
            }
        }
        let given = till.serve(&baskets).await;
        assert_eq!(given, expected, "seed {seed}, batch {batch}: {baskets:?}");
        let sales = baskets.into_iter().zip(given).filter(|(_, amount)| *amount > 0);
        sold.extend(sales);
    }
    till.cache.close().await.expect("closed");
}

/// Authors at once over few households: nothing is lost, and nothing goes beyond a limit.
pub async fn authors_share_households(place: &(impl Place + Sync), seed: u64, rounds: u64) {
    let limits = Limits { recipient: 500, household: 800, budget: i64::MAX / 4 };
    let mut tills = Vec::new();
    for _ in 0..3 {
        tills.push(place.till(limits).await);
    }
    let tasks = tills.into_iter().zip(0_u64..).map(|(mut till, author)| {
        tokio::spawn(async move {
            let mut random = Random::of(seed * 31 + author);
            let mut total = 0;
            for round in 0..rounds {
                let baskets: Vec<Basket> = (0..1 + random.below(5))
                    .map(|at| {
                        let id = u128::from((seed << 40) + (author << 32) + (round << 8))
                            + 1_000_000
                            + at.unsigned_abs() as u128;
                        let who = (1 << 60)
                            + u128::from(seed) * 100
                            + random.below(4).unsigned_abs() as u128;
                        basket(id, who / 2, who, random.below(40) + 1)
                    })
                    .collect();
                total += till.serve(&baskets).await.iter().sum::<i64>();
            }
            till.cache.close().await.expect("closed");
            total
        })
    });
    let (mut total, generation) = (0, place.fence().generation());
    for task in tasks.collect::<Vec<_>>() {
        total += task.await.expect("served");
    }
    assert_eq!(place.fence().generation(), generation, "seed {seed}: nothing was lost");
    let stream = place.stream();
    let first = (1_u128 << 60) + u128::from(seed) * 100;
    let used: i64 = (first / 2..=(first + 3) / 2).map(|id| stream.used(&of_household(id))).sum();
    assert_eq!(used, total, "seed {seed}: what tills gave is what the stream holds");
    for who in first..first + 4 {
        assert!(stream.used(&of_recipient(who)) <= limits.recipient, "seed {seed}");
        assert!(stream.used(&of_household(who / 2)) <= limits.household, "seed {seed}");
    }
    assert!(stream.sums().records.values().all(|times| *times == 1), "seed {seed}: once each");
    assert_reads_as_the_stream(place, first / 2..=(first + 3) / 2, limits).await;
}

/// A fresh author reads of every household what the stream says.
pub async fn assert_reads_as_the_stream(
    place: &(impl Place + Sync),
    households: std::ops::RangeInclusive<u128>,
    limits: Limits,
) {
    let mut till = place.till(limits).await;
    let of = |household: u128| {
        [household * 2, household * 2 + 1].map(|who| basket(0, household, who, 0))
    };
    let wanted: Vec<_> =
        households.clone().flat_map(of).map(|basket| basket.wants(&limits)).collect();
    till.cache.load(&wanted).await.expect("loaded");
    let stream = place.stream();
    for key in wanted.iter().flat_map(|wanted| &wanted.counters) {
        assert_eq!(till.cache.used(key), stream.used(key), "{key:?}");
    }
    till.cache.close().await.expect("closed");
}

/// Authors race for one budget: never beyond it, and used up to the cent when all are through.
pub async fn authors_share_a_budget(place: &(impl Place + Sync), seed: u64) {
    let mut random = Random::of(seed);
    let before = place.stream().used(&of_all());
    let total = 200 + random.below(2_000);
    let limits =
        Limits { recipient: i64::MAX / 4, household: i64::MAX / 4, budget: before + total };
    let authors = if random.below(2) == 0 { 2 } else { 4 };
    let mut tills = Vec::new();
    for _ in 0..authors {
        tills.push(place.till(limits).await);
    }
    let tasks = tills.into_iter().zip(0_u64..).map(|(mut till, author)| {
        tokio::spawn(async move {
            let mut random = Random::of(seed * 131 + author);
            let mut nothing = 0;
            for round in 0..10_000_u64 {
                let wanted = random.below(60) + 1;
                let id = u128::from((seed << 40) + (author << 32) + round) + (1 << 100);
                let household = (random.below(3) == 0).then_some((1 << 90) + u128::from(author));
                let recipient = household.unwrap_or_default();
                let one = Basket { id, step: 0, household, recipient, wanted };
                let given = till.serve(&[one]).await[0];
                nothing = if given == 0 { nothing + 1 } else { 0 };
                if nothing == 3 {
                    break;
                }
            }
            till.cache.close().await.expect("closed");
            till.again
        })
    });
    let (mut again, generation) = (Vec::new(), place.fence().generation());
    for task in tasks.collect::<Vec<_>>() {
        again.push(task.await.expect("served"));
    }
    assert_eq!(place.fence().generation(), generation, "seed {seed}: nothing was lost");
    let used = place.stream().used(&of_all());
    assert_eq!(used, limits.budget, "seed {seed}: to the cent; decided again for {again:?}");
}

/// The whole suite, over one place.
pub async fn holds(place: &(impl Place + Sync)) {
    moves_are_seen(place).await;
    who_moves_takes_own_along(place).await;
    a_household_beside_moves_along(place).await;
    for seed in 1..=20 * u64::from(scale()) {
        decisions_follow_the_sums(place, seed, 20).await;
    }
}

/// What holds in addition where several authors share.
pub async fn holds_shared(place: &(impl Place + Sync)) {
    operations_move_once(place).await;
    a_household_beside_moves_with_it_or_not(place).await;
    for seed in 1..=10 * u64::from(scale()) {
        authors_share_households(place, 1_000 + seed, 25).await;
    }
    for seed in 1..=30 * u64::from(scale()) {
        authors_share_a_budget(place, 2_000 + seed).await;
    }
}

#[derive(Debug, Default)]
struct InMemory(Arc<Stream>);

impl Place for InMemory {
    type Cache = EmbeddedCache;

    async fn author(&self) -> EmbeddedCache {
        let mut cache = EmbeddedCache::default();
        let sums = self.0.sums();
        let counters = sums
            .counters
            .iter()
            .map(|(key, used)| domain::limit::CounterMovement { key: key.clone(), change: *used });
        let points = sums.points.iter().map(|((who, benefit), sum)| (*who, benefit.clone(), *sum));
        let movements =
            authoriser::cache::Movements { counters: counters.collect(), points: points.collect() };
        cache.restore(&movements);
        cache
    }

    fn fence(&self) -> Arc<Fence> {
        Fence::new(0)
    }

    fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.0)
    }
}

#[derive(Debug)]
struct Modelled {
    stream: Arc<Stream>,
    fence: Arc<Fence>,
    server: Arc<ModelServer>,
    shared: Arc<ModelShared>,
}

impl Default for Modelled {
    fn default() -> Self {
        let (stream, fence) = (Arc::<Stream>::default(), Fence::new(1));
        let server = Arc::<ModelServer>::default();
        let truth: Arc<dyn Truth> = Arc::<Stream>::clone(&stream);
        let shared = ModelShared::open(Arc::clone(&server), Arc::clone(&fence), truth);
        Self { stream, fence, server, shared }
    }
}

impl Place for Modelled {
    type Cache = ModelCache;

    async fn author(&self) -> ModelCache {
        ModelCache::open(Arc::clone(&self.shared))
    }

    fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.fence)
    }

    fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.stream)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_a_shared_cache_holds() {
    let place = Modelled::default();
    holds(&place).await;
    holds_shared(&place).await;
}

#[tokio::test]
async fn the_model_counts_from_the_stream_again_after_a_fail_over() {
    let place = Modelled::default();
    let mut till = place.till(WIDE).await;
    assert_eq!(till.serve(&[basket(1, 1, 1, 30)]).await, [30]);
    assert_eq!(till.serve(&[basket(2, 1, 1, 12)]).await, [12]);
    let generation = place.fence.generation();
    place.server.fail_over(1);
    till.cache.load(&[basket(3, 1, 1, 0).wants(&WIDE)]).await.expect("loaded");
    assert_eq!(till.cache.used(&of_household(1)), 42, "what was lost is on the stream");
    assert!(place.fence.generation() > generation, "and the generation has ended");
}

#[tokio::test]
async fn the_embedded_cache_holds() {
    holds(&InMemory::default()).await;
}
