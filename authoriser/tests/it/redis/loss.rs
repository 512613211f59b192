//! Redis forgets, falls back, stands still or is replaced, while tills go on.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authoriser::{
    cache::{
        CacheError,
        redis::{RedisCache, RedisSettings, RedisShared},
    },
    fence::Fence,
    metrics::Metrics,
};

use super::{
    Shop, kept,
    server::{Cluster, Server, Setup},
    settings,
    stream::{Basket, Limits, Till, of_all, of_household, of_recipient},
};
use crate::{
    cache::{Place, assert_reads_as_the_stream, basket},
    random::Random,
    scale,
};

/// Tills serve while `fail` goes on, then the budget is used up: everything is as the stream says,
/// nothing goes beyond a limit, and to the cent.
async fn storm(shop: &Shop, seed: u64, fail: impl FnOnce() + Send + 'static) {
    let first = u128::from(seed) * 1_000;
    let limits = Limits {
        recipient: 20_000,
        household: 30_000,
        budget: shop.stream().used(&of_all()) + 150_000,
    };
    let over = Arc::new(AtomicBool::new(false));
    let mut tills = Vec::new();
    for _ in 0..3 {
        tills.push(shop.till(limits).await);
    }
    let serving = tills.into_iter().zip(0_u64..).map(|(mut till, author)| {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let mut random = Random::of(seed * 17 + author);
            let mut total = 0;
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                round += 1;
                let id = u128::from((seed << 40) + (author << 32) + (round << 8)) + (1 << 80);
                let one = |at: i64| {
                    let who = first + random.below(6).unsigned_abs() as u128;
                    let household = (random.below(5) > 0).then_some(who / 2);
                    let id = id + at.unsigned_abs() as u128;
                    Basket { id, step: 0, household, recipient: who, wanted: random.below(30) + 1 }
                };
                let baskets: Vec<_> = (0..3).map(one).collect();
                let given = till.serve(&baskets).await;
                total += given.iter().sum::<i64>();
                if random.below(4) == 0 {
                    let back = |(of, given): (&Basket, i64)| Basket {
                        step: 1,
                        wanted: -given,
                        ..of.clone()
                    };
                    let sold = baskets.iter().zip(given).filter(|(_, given)| *given > 0);
                    let refunds: Vec<_> = sold.map(back).collect();
                    total += till.serve(&refunds).await.iter().sum::<i64>();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (till, total)
        })
    });
    let serving: Vec<_> = serving.collect();
    tokio::task::spawn_blocking(fail).await.expect("failed as planned");
    tokio::time::sleep(Duration::from_millis(100)).await;
    over.store(true, Ordering::Relaxed);
    let (mut total, mut tills) = (limits.budget - 150_000, Vec::new());
    for task in serving {
        let (till, given) = task.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        total += given;
        tills.push(till);
    }
    let stream = shop.stream();
    assert_eq!(stream.used(&of_all()), total, "seed {seed}: what tills gave");
    use_up(&mut tills, seed).await;
    let again: Vec<_> = tills.iter().map(|till| &till.again).collect();
    assert_eq!(stream.used(&of_all()), limits.budget, "seed {seed}: to the cent; {again:?}");
    for who in first..first + 6 {
        assert!(stream.used(&of_recipient(who)) <= limits.recipient, "seed {seed}");
        assert!(stream.used(&of_household(who / 2)) <= limits.household, "seed {seed}");
    }
    assert!(stream.sums().records.values().all(|times| *times == 1), "seed {seed}: once each");
    assert_reads_as_the_stream(shop, first / 2..=(first + 5) / 2, limits).await;
}

/// Serves until nothing is left of the budget.
async fn use_up(tills: &mut [Till<RedisCache>], seed: u64) {
    for (till, at) in tills.iter_mut().zip(0_u128..) {
        for round in 0.. {
            let id = (1 << 81) + (u128::from(seed) << 40) + (at << 32) + round;
            let one = Basket { id, step: 0, household: None, recipient: 0, wanted: 20_000 };
            if till.serve(&[one]).await == [0] {
                break;
            }
        }
    }
}

/// As when serving, where waiting is worse than deciding again.
fn hasty(settings: RedisSettings) -> RedisSettings {
    let patience = RedisSettings::default();
    RedisSettings {
        request_timeout: patience.request_timeout,
        replicas_timeout: patience.replicas_timeout,
        ..settings
    }
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_is_built_again() {
    let server = Arc::new(Server::start(kept()));
    let shop = Shop::open(hasty(settings(&server))).await;
    for seed in 1..=3 * u64::from(scale()) {
        let server = Arc::clone(&server);
        let fail = move || {
            for _ in 0..5 {
                pause(60);
                server.ask(&["FLUSHALL"]);
            }
        };
        storm(&shop, 10 + seed, fail).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_built_again() {
    for append_only in [true, false] {
        let server = Arc::new(Server::start(Setup { append_only, ..Setup::default() }));
        let settings = RedisSettings { allow_volatile: !append_only, ..hasty(settings(&server)) };
        let shop = Shop::open(settings).await;
        for seed in 1..=3 * u64::from(scale()) {
            let server = Arc::clone(&server);
            let fail = move || {
                for _ in 0..3 {
                    pause(80);
                    server.kill();
                    pause(30);
                    server.restart();
                }
            };
            storm(&shop, 200 + u64::from(append_only) * 100 + seed, fail).await;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().expect("cp");
    assert!(copied.success());
}

/// What a power cut or a restored backup does: an earlier state, whole in itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_falls_back_is_noticed() {
    let server = Arc::new(Server::start(kept()));
    let shop = Shop::open(hasty(settings(&server))).await;
    for seed in 1..=3 * u64::from(scale()) {
        let server = Arc::clone(&server);
        let fail = move || {
            for at in 0..3 {
                pause(100);
                let (now, then) = (
                    server.folder().join("appendonlydir"),
                    server.folder().join(format!("earlier-{seed}-{at}")),
                );
                copy(&now, &then);
                pause(100);
                server.kill();
                std::fs::remove_dir_all(&now).expect("removed");
                std::fs::rename(&then, &now).expect("restored");
                server.restart();
            }
        };
        storm(&shop, 500 + seed, fail).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_is_waited_for() {
    let server = Arc::new(Server::start(kept()));
    let shop = Shop::open(hasty(settings(&server))).await;
    let paused = Arc::clone(&server);
    let fail = move || {
        for milliseconds in [700, 1_300] {
            pause(50);
            paused.pause(true);
            pause(milliseconds);
            paused.pause(false);
        }
    };
    storm(&shop, 600, fail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_fails_over_is_built_again() {
    let cluster = Arc::new(Cluster::start());
    let shop = Shop::open(hasty(super::of_cluster(&cluster))).await;
    let failing = Arc::clone(&cluster);
    let fail = move || {
        pause(100);
        failing.nodes[3].ask(&["CLUSTER", "FAILOVER"]);
        failing.nodes[3].wait_for(&["INFO", "replication"], "role:master");
        pause(200);
        // Its primary is dead, so nobody agrees with it: what the replica lacks is lost.
        failing.nodes[1].kill();
        failing.nodes[4].wait_for(&["INFO", "replication"], "role:master");
        pause(200);
        failing.nodes[1].restart();
        failing.settled();
        failing.nodes[2].ask(&["FLUSHALL"]);
        pause(100);
        failing.nodes[5].ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        failing.nodes[5].wait_for(&["INFO", "replication"], "role:master");
        failing.settled();
    };
    storm(&shop, 700, fail).await;
}

/// A process that starts again trusts nothing that the last one left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_builds_anew() {
    use authoriser::cache::Cache;
    let server = Server::start(kept());
    let shop = Shop::open(hasty(settings(&server))).await;
    let limits = Limits { recipient: 100, household: 100, budget: 100 };
    let mut till = shop.till(limits).await;
    assert_eq!(till.serve(&[basket(1, 1, 2, 10)]).await, [10]);
    let unheard = basket(2, 1, 2, 50);
    till.cache.load(&[unheard.wants(&limits)]).await.expect("loaded");
    till.cache.stage(unheard.operation(50));
    till.cache.commit().await.expect("moved, and never appended");
    let stream = shop.stream();
    drop((till, shop));
    let shop = Shop::start(2, settings(&server), stream).await;
    assert_reads_as_the_stream(&shop, 1..=1, limits).await;
    let mut till = shop.till(limits).await;
    assert_eq!(till.serve(&[basket(3, 1, 3, 95)]).await, [90], "all that the stream leaves");
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("registered");
    let truth = shop.stream();
    let again = RedisShared::open(settings(&server), Fence::new(1), truth, metrics).await;
    let refused = again.expect_err("an earlier start, or another stream");
    assert!(matches!(refused, CacheError::Setting { .. }), "{refused}");
}
