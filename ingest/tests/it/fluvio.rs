//! Streams on a real Fluvio cluster: the suite of every engine, and what a cluster does to a node.
//!
//! They run where `AVIS_TEST_FLUVIO` names a cluster's controller as `host:port`, with at least two
//! data nodes. Those that break a data node also want `AVIS_TEST_FLUVIO_NODE`: a command that is
//! called with `kill` or `start` and does that to one of them.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fluvio::{FluvioAdmin, FluvioClusterConfig, metadata::partition::PartitionSpec};
use ingest::{
    error::{ClusterError, LogError},
    log::{
        Log,
        fluvio::{FluvioLog, Settings},
    },
    metrics::{ClusterMetrics, Metrics},
    record::Stored,
    topic::Topic,
};

use crate::{engines, record, scale, tell};

pub const CLUSTER: &str = "AVIS_TEST_FLUVIO";
const NODE: &str = "AVIS_TEST_FLUVIO_NODE";
const CHILD: &str = "AVIS_TEST_FLUVIO_CHILD";
pub const TOPIC: Topic = Topic::Authorisations;
const PRODUCERS: usize = 8;
const BATCH: u64 = 500;
/// Longer than the publisher waits before it publishes again what is in doubt.
const STALLED: Duration = Duration::from_secs(150);

/// The cluster, or a loud word that there is none.
pub fn cluster() -> Option<String> {
    let cluster = std::env::var(CLUSTER).ok();
    if cluster.is_none() {
        tell(&format!("SKIPPED: {CLUSTER} names no Fluvio cluster"));
    }
    cluster
}

fn node() -> Option<String> {
    let node = std::env::var(NODE).ok();
    if node.is_none() {
        tell(&format!("SKIPPED: {NODE} names no command that kills a data node"));
    }
    node
}

/// Settings with topics that no other test has.
pub fn settings(cluster: &str, name: &str) -> Settings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    Settings { prefix: format!("t{now}-{name}-"), ..Settings::of(cluster) }
}

pub fn open(
    folder: &Path,
    settings: &Settings,
) -> Result<(Arc<dyn Log>, ClusterMetrics), LogError> {
    open_counted(folder, settings, &prometheus::Registry::new())
}

pub fn open_counted(
    folder: &Path,
    settings: &Settings,
    registry: &prometheus::Registry,
) -> Result<(Arc<dyn Log>, ClusterMetrics), LogError> {
    let metrics = Metrics::register(registry).expect("metrics");
    let cluster = ClusterMetrics::register(registry).expect("metrics");
    let log = FluvioLog::open(folder, settings.clone(), metrics, cluster.clone())?;
    Ok((Arc::new(log), cluster))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_fluvio_holds() {
    let Some(cluster) = cluster() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(&cluster, "suite");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    engines::holds(Arc::clone(&log)).await;
    let before = everything(&log).await;
    drop(log);
    // The same after a restart, and for another node.
    let other = tempfile::tempdir().expect("a folder");
    for folder in [folder.path(), other.path()] {
        let (log, _) = open(folder, &settings).expect("a log");
        assert_eq!(everything(&log).await, before);
    }
    // And where a node has lost its mirror.
    std::fs::remove_dir_all(folder.path().join("mirror")).expect("removed");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    assert_eq!(everything(&log).await, before);
    log.append(TOPIC, &[record("one", 101)]).await.expect("appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_see_the_same_records_at_the_same_offsets() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "two");
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let logs = folders.each_ref().map(|folder| open(folder.path(), &settings).expect("a log").0);
    let mut tasks = tokio::task::JoinSet::new();
    for (name, log) in ["left", "right"].into_iter().zip(&logs) {
        let log = Arc::clone(log);
        tasks.spawn(async move { append(&log, name, 0, 2_000).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a producer");
    }
    for log in &logs {
        wait_for(log, 4_000).await;
    }
    assert_eq!(everything(&logs[0]).await, everything(&logs[1]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_named_in_time() {
    // Nobody listens here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = listener.local_addr().expect("its number").to_string();
    drop(listener);
    // And here nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).expect("a port");
    for (cluster, word) in [(nowhere, "connect"), (silent.1, "connect")] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            open_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(1),
            ..Settings::of(&cluster)
        };
        let begun = Instant::now();
        let error = open(folder.path(), &settings).map(drop).expect_err("no cluster");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let text = error.to_string();
        assert!(matches!(error, LogError::Cluster(_)) && error.retry(), "{text}");
        assert!(text.contains(word) && text.contains(&cluster), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused() {
    let Some(cluster) = cluster() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (settings(&cluster, "one"), settings(&cluster, "other"));
    let (log, _) = open(folder.path(), &first).expect("a log");
    append(&log, "kept", 0, 10).await;
    drop(log);
    // Topics of the same shape that hold something else.
    let other = tempfile::tempdir().expect("a folder");
    let (log, _) = open(other.path(), &second).expect("a log");
    append(&log, "kept", 100, 120).await;
    drop(log);
    let marks = folder.path().join("mirror-marks");
    // With and without what the node had noted of its reading.
    for _ in 0..2 {
        let refused = match open(folder.path(), &second) {
            Err(LogError::Cluster(error)) => error,
            Err(error) => panic!("{error}"),
            // Found by the reader, which ends before or after the opening does.
            Ok((log, _)) => match log.append(TOPIC, &[record("kept", 10)]).await {
                Err(LogError::Cluster(error)) => error,
                other => panic!("{other:?}"),
            },
        };
        assert!(matches!(refused, ClusterError::OtherCluster { .. }), "{refused}");
        let _ = std::fs::remove_dir_all(&marks);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_another_shape_are_refused() {
    let Some(cluster) = cluster() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let few = Settings { replication: 1, ..settings(&cluster, "few") };
    drop(open(folder.path(), &few).expect("a log"));
    let enough = Settings { replication: 2, ..few };
    let refused = open(folder.path(), &enough).map(drop).expect_err("too few");
    let expected =
        matches!(&refused, LogError::Cluster(ClusterError::Replicas { found: 1, wanted: 2, .. }));
    assert!(expected && !refused.retry(), "{refused}");
}

/// So many records of the test are about 20 MB in the log.
pub fn records() -> u64 {
    40_000 * scale()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_arrives_whole_in_order_and_once() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "flood");
    let folder = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let (log, _) = open(folder.path(), &settings).expect("a log");
    flood(&log, records()).await;
    let written = begun.elapsed();
    check(&log, records()).await;
    // Another node reads it all back.
    let other = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let (log, metrics) = open(other.path(), &settings).expect("a log");
    check(&log, records()).await;
    println!(
        "{} records written and read back in {written:.1?}, by another node in {:.1?}, {} holes",
        records(),
        begun.elapsed(),
        metrics.holes(TOPIC),
    );
}

/// The same with the checks off: what the client skips is then missing.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_check_for_holes_records_are_missing() {
    let Some(cluster) = cluster() else { return };
    if scale() < 10 {
        tell("SKIPPED: less than 200 MB may come without a hole; AVIS_TEST_SCALE is below 10");
        return;
    }
    let settings = settings(&cluster, "holes");
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    flood(&log, records()).await;
    let whole = everything(&log).await.len();
    drop(log);
    let other = tempfile::tempdir().expect("a folder");
    let blind = Settings { check_holes: false, fetch_bytes: 1 << 20, ..settings };
    let (log, _) = open(other.path(), &blind).expect("a log");
    let found = everything(&log).await.len();
    println!("{found} of {whole} records without the check for holes");
    assert!(found < whole, "no record is missing without the check: is it still needed?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_arrives_whole_while_a_data_node_is_killed() {
    let Some(cluster) = cluster() else { return };
    let Some(node) = node() else { return };
    let settings = settings(&cluster, "killed");
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    let (done, kills) = (Arc::new(AtomicBool::new(false)), 10);
    let killer = tokio::task::spawn_blocking({
        let done = Arc::clone(&done);
        move || {
            for kill in 0..kills {
                break_node(&node, "kill");
                std::thread::sleep(Duration::from_millis(500 + kill * 300));
                break_node(&node, "start");
                std::thread::sleep(Duration::from_secs(4));
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    // It goes on until the node was killed so often, however much that is.
    let mut rounds = 0;
    while !done.load(Ordering::SeqCst) || rounds * 4_000 < records() {
        let mut tasks = tokio::task::JoinSet::new();
        for producer in 0..PRODUCERS {
            let log = Arc::clone(&log);
            let (from, each) = (rounds * BATCH, BATCH);
            tasks.spawn(async move {
                append(&log, &format!("producer-{producer}"), from, from + each).await;
            });
        }
        while let Ok(Some(ended)) = tokio::time::timeout(STALLED, tasks.join_next()).await {
            ended.expect("a producer");
        }
        if !tasks.is_empty() {
            killer.await.expect("the killer");
            return stalled(&cluster, &settings, &log, rounds * BATCH).await;
        }
        rounds += 1;
    }
    killer.await.expect("the killer");
    let total = rounds * BATCH * PRODUCERS as u64;
    check(&log, total).await;
    let other = tempfile::tempdir().expect("a folder");
    let (log, _) = open(other.path(), &settings).expect("a log");
    check(&log, total).await;
    println!("{total} records, {kills} kills");
}

/// A leader that is killed keeps what its replica did not get. Fluvio has no word for it: when that
/// node comes back as the replica of another leader, neither takes the other's records, and the
/// partition commits nothing until an operator removes the replica. Nothing of ours mends it; what
/// was acknowledged is whole all the same.
async fn stalled(cluster: &str, settings: &Settings, log: &Arc<dyn Log>, acknowledged: u64) {
    let admin = FluvioAdmin::connect_with_config(&FluvioClusterConfig::new(cluster)).await;
    let partitions = admin.expect("a cluster").all::<PartitionSpec>().await.expect("partitions");
    let ours = format!("{}{TOPIC}-", settings.prefix);
    let apart = partitions.iter().filter(|found| {
        let leader = &found.status.leader;
        found.name.starts_with(&ours) && leader.hw < leader.leo
    });
    let names: Vec<_> = apart.map(|found| &found.name).collect();
    assert!(!names.is_empty(), "nothing is acknowledged, and the cluster has committed it all");
    tell(&format!("STALLED: the replicas of {names:?} differ, as a Fluvio cluster's may"));
    let mut next: HashMap<String, u64> = HashMap::new();
    for stored in everything(log).await {
        let number = next.entry(stored.record.key.clone()).or_default();
        assert_eq!(stored.record, record(&stored.record.key, *number));
        *number += 1;
    }
    let whole =
        |number| next.get(&format!("producer-{number}")).copied().unwrap_or(0) >= acknowledged;
    assert!((0..PRODUCERS).all(whole), "{acknowledged} of each were acknowledged: {next:?}");
}

fn break_node(command: &str, what: &str) {
    let done = Command::new(command).arg(what).status().expect("the command");
    assert!(done.success(), "{command} {what}");
}

/// Dropped without waiting, in the middle of publishing: the outbox publishes the rest.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_outbox_took_is_published_after_a_restart() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "restart");
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = 0;
    for _ in 0..3 {
        let (log, _) = open(folder.path(), &settings).expect("a log");
        let appending = {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append(&log, "one", sent, sent + 5_000).await })
        };
        tokio::time::sleep(Duration::from_millis(40)).await;
        appending.abort();
        let _ = appending.await;
        drop(log);
        let (log, _) = open(folder.path(), &settings).expect("a log");
        // The outbox has a beginning of what was asked for, and that is what has to come.
        sent = settled(&log, "one").await;
    }
    println!("{sent} records over three restarts");
}

/// The child's part: nothing, unless this process was started as the child.
#[tokio::test(flavor = "multi_thread")]
async fn appends_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let cluster = std::env::var(CLUSTER).expect("a cluster");
    let prefix = std::env::var("AVIS_TEST_FLUVIO_PREFIX").expect("a prefix");
    let settings = Settings { prefix, ..Settings::of(&cluster) };
    let (log, _) = open(Path::new(&folder), &settings).expect("a log");
    let mut next = settled(&log, "child").await;
    loop {
        append(&log, "child", next, next + 50).await;
        next += 50;
        println!("\nacknowledged {next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "crash");
    let folder = tempfile::tempdir().expect("a folder");
    let kills = 5 * scale();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "fluvio::appends_until_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .env("AVIS_TEST_FLUVIO_PREFIX", &settings.prefix)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let out = child.stdout.take().expect("its output");
        let heard = std::thread::spawn(move || {
            use std::io::BufRead;
            let lines = std::io::BufReader::new(out).lines().map_while(Result::ok);
            let numbers = lines.filter_map(|line| {
                line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok())
            });
            numbers.last().unwrap_or(0)
        });
        // Uneven instants, the same in every run; a start takes about a second.
        std::thread::sleep(Duration::from_millis(1_500 + (kill * 7_919) % 2_000));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let acknowledged = heard.join().expect("heard to the end");
        let (log, _) = open(folder.path(), &settings).expect("a log");
        let found = settled(&log, "child").await;
        println!("kill {kill}: acknowledged {acknowledged}, found {found}");
        assert!(found >= acknowledged, "acknowledged up to {acknowledged}, found {found}");
    }
}

/// How many records of a key there are, once nothing more comes; each once, in order, as it was
/// sent.
async fn settled(log: &Arc<dyn Log>, key: &str) -> u64 {
    let mut before = None;
    loop {
        let all = everything(log).await;
        let of_key: Vec<_> = all.into_iter().filter(|stored| stored.record.key == key).collect();
        for (number, stored) in (0..).zip(&of_key) {
            assert_eq!(stored.record, record(key, number), "a hole, a double or another record");
        }
        if before == Some(of_key.len()) {
            return of_key.len() as u64;
        }
        before = Some(of_key.len());
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

pub async fn append(log: &Arc<dyn Log>, key: &str, from: u64, to: u64) {
    let mut next = from;
    while next < to {
        let until = to.min(next + BATCH);
        let records: Vec<_> = (next..until).map(|number| record(key, number)).collect();
        let positions = log.append(TOPIC, &records).await.expect("appended");
        // What is acknowledged can be read.
        let last = positions.last().expect("a position");
        assert!(log.end(TOPIC, last.partition).expect("an end") > last.offset);
        assert!(positions.is_sorted_by_key(|position| position.offset));
        next = until;
    }
}

pub async fn flood(log: &Arc<dyn Log>, records: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let log = Arc::clone(log);
        let each = records / PRODUCERS as u64;
        tasks.spawn(async move { append(&log, &format!("producer-{producer}"), 0, each).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a producer");
    }
}

/// Every record is there, once, in order and as it was sent.
pub async fn check(log: &Arc<dyn Log>, records: u64) {
    wait_for(log, records).await;
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut found = 0;
    for partition in 0..log.partitions(TOPIC) {
        let mut from = 0;
        loop {
            let read = log.read(TOPIC, partition, from, 1_024).await.expect("read");
            let Some(last) = read.last() else { break };
            from = last.position.offset + 1;
            for stored in read {
                let number = next.entry(stored.record.key.clone()).or_default();
                assert_eq!(stored.record, record(&stored.record.key, *number));
                *number += 1;
                found += 1;
            }
        }
    }
    assert_eq!(found, records);
}

/// Waits until a log has so many records, as it will at once where nothing is missing.
pub async fn wait_for(log: &Arc<dyn Log>, records: u64) {
    let begun = Instant::now();
    while (everything(log).await.len() as u64) < records {
        assert!(begun.elapsed() < Duration::from_secs(60), "records are missing");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub async fn everything(log: &Arc<dyn Log>) -> Vec<Stored> {
    let mut all = Vec::new();
    ingest::log::replay(log, TOPIC, |stored| {
        all.push(stored);
        Ok::<_, LogError>(())
    })
    .await
    .expect("read");
    all
}
