//! Authors that die or stand still, replicas that are gone, and a Redis that is refused.

use std::{sync::mpsc, time::Duration};

use authoriser::cache::{Cache, CacheError, Reserved, redis::RedisSettings, redis::RedisShared};
use authoriser::{fence::Fence, metrics::Metrics};

use super::{
    Shop, kept,
    server::{Server, Setup},
    settings,
    stream::{Basket, Limits, of_all},
};
use crate::cache::{Place, basket};

const LIMITS: Limits = Limits { recipient: 100_000, household: 100_000, budget: 1_000 };

fn impatient(server: &Server) -> RedisSettings {
    RedisSettings { silence: Duration::from_secs(1), ..settings(server) }
}

fn anybody(id: u128, wanted: i64) -> Basket {
    Basket { id, step: 0, household: None, recipient: 0, wanted }
}

/// An author that is gone with a slice in its hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_of_a_dead_author_comes_back() {
    let server = Server::start(kept());
    let shop = Shop::open(impatient(&server)).await;
    let mut dead = shop.till(LIMITS).await;
    let mut heir = shop.till(LIMITS).await;
    assert_eq!(dead.serve(&[anybody(1, 20)]).await, [20]);
    assert_eq!(heir.serve(&[anybody(2, 10)]).await, [10]);
    drop(dead);
    assert_eq!(heir.serve(&[anybody(3, 5_000)]).await, [970], "all but what was given");
    assert_eq!(shop.stream().used(&of_all()), LIMITS.budget);
}

/// An author whose whole runtime stands still between its commit and its append.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_author_is_fenced() {
    let server = Server::start(kept());
    let shop = Shop::open(impatient(&server)).await;
    let mut heir = shop.till(LIMITS).await;
    assert_eq!(heir.serve(&[anybody(2, 10)]).await, [10]);
    let (committed, heard) = mpsc::channel();
    let (wake, woken) = mpsc::channel();
    std::thread::scope(|scope| {
        let shop = &shop;
        let paused = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut till = shop.till(LIMITS).await;
                let late = basket(4, 1, 2, 30);
                till.cache.load(&[late.wants(&LIMITS)]).await.expect("loaded");
                let operation = late.operation(30);
                let record = late.record(&operation);
                till.cache.stage(operation);
                assert_eq!(till.cache.commit().await.expect("moved"), [Reserved::Done]);
                let stamp = till.cache.stamp();
                committed.send(()).expect("heard");
                // Blocks the runtime with its tick, as a machine that stands still does.
                woken.recv().expect("woken");
                assert_eq!(till.append(stamp, vec![record]).await, Err("stale"));
                assert_eq!(till.serve(&[late]).await, [0], "decided again, as another author");
            });
        });
        heard.recv().expect("committed");
        let all = [anybody(3, 5_000)];
        let serve = heir.serve(&all);
        let given =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(serve));
        assert_eq!(given, [990], "what the paused one moved came to nothing");
        wake.send(()).expect("woken");
        paused.join().expect("fenced");
    });
    assert_eq!(shop.stream().used(&of_all()), LIMITS.budget);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_approve_nothing() {
    let more = ["--min-replicas-to-write", "1"].map(str::to_owned).to_vec();
    let primary = Server::start(Setup { more, ..kept() });
    let replica_of = Some(primary.port);
    let replica = Server::start(Setup { replica_of, ..kept() });
    replica.wait_for(&["INFO", "replication"], "master_link_status:up");
    primary.wait_for(&["INFO", "replication"], "state=online");
    let shop = Shop::open(RedisSettings { replicas: 1, ..settings(&primary) }).await;
    let mut till = shop.till(LIMITS).await;
    assert_eq!(till.serve(&[basket(1, 1, 2, 10)]).await, [10]);
    replica.pause(true);
    let next = basket(2, 1, 2, 10);
    till.cache.load(&[next.wants(&LIMITS)]).await.expect("reading needs no replica");
    till.cache.stage(next.operation(10));
    let refused = till.cache.commit().await;
    assert!(matches!(refused, Err(CacheError::Replicas { needed: 1, .. })), "{refused:?}");
    replica.pause(false);
    assert_eq!(till.serve(&[next]).await, [10], "decided again, once");
    assert_eq!(shop.stream().used(&of_all()), 20);
}

/// Who moves is counted on, in the new household too; what is in flight in the old one is fenced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_who_moves_takes_counters_along() {
    let server = Server::start(kept());
    let shop = Shop::open(settings(&server)).await;
    let limits = Limits { recipient: 50, ..LIMITS };
    let (mut old, mut new) = (shop.till(limits).await, shop.till(limits).await);
    assert_eq!(old.serve(&[basket(1, 1, 2, 30)]).await, [30]);
    let late = basket(2, 1, 2, 20);
    old.cache.load(&[late.wants(&limits)]).await.expect("loaded");
    let operation = late.operation(20);
    let record = late.record(&operation);
    old.cache.stage(operation);
    assert_eq!(old.cache.commit().await.expect("moved"), [Reserved::Done]);
    assert_eq!(new.serve(&[basket(3, 9, 2, 40)]).await, [20], "50 less what is on the stream");
    let stamp = old.cache.stamp();
    assert_eq!(old.append(stamp, vec![record]).await, Err("stale"));
    assert_eq!(old.serve(&[late]).await, [0]);
}

/// What was applied is forgotten when it is old, and only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_operations_are_forgotten_when_old() {
    let server = Server::start(kept());
    let shop = Shop::open(RedisSettings { remember: Duration::ZERO, ..settings(&server) }).await;
    let mut till = shop.till(LIMITS).await;
    let fields = || -> u64 {
        let key = format!("avis:{{h{}}}", domain::id::HouseholdId::from_u128(1));
        let said = server.ask(&["HLEN", &key]);
        said.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    for id in 1..=50 {
        assert_eq!(till.serve(&[basket(id, 1, 2, 1)]).await, [1]);
    }
    assert!(fields() > 100, "two for each");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    for id in 51..=70 {
        assert_eq!(till.serve(&[basket(id, 1, 2, 1)]).await, [1]);
    }
    assert!(fields() < 60, "{} are left", fields());
    assert_eq!(shop.stream().used(&of_all()), 70);
}

#[tokio::test]
async fn a_redis_that_would_lose_counters_is_refused() {
    let evicting = ["--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let cases = [
        ("appendonly", Setup::default(), 0),
        ("maxmemory-policy", Setup { more: evicting, ..kept() }, 0),
        ("min-replicas-to-write", kept(), 1),
    ];
    for (expected, setup, replicas) in cases {
        let server = Server::start(setup);
        let settings = RedisSettings { replicas, ..settings(&server) };
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("registered");
        let truth = std::sync::Arc::<super::stream::Stream>::default();
        let opened = RedisShared::open(settings, Fence::new(1), truth, metrics).await;
        let error = opened.expect_err("refused");
        assert!(
            matches!(&error, CacheError::Setting { setting, .. } if *setting == expected),
            "{error}"
        );
        assert!(!error.retry() && error.to_string().contains("set "), "{error}");
    }
}
