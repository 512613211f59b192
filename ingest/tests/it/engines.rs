//! What every engine of the log promises.

use std::sync::Arc;

use ingest::{
    log::{Log, embedded::Sync, model::ModelLog},
    topic::Topic,
};

use crate::{open, record};

const TOPIC: Topic = Topic::Authorisations;

/// The suite: what a caller may rely on, whatever the engine.
async fn holds(log: Arc<dyn Log>) {
    keeps_the_order_of_a_key(&log).await;
    numbers_without_holes(&log).await;
    reads_from_the_middle(&log).await;
    tells_of_growth(&log).await;
    appends_from_many_at_once(&log).await;
    assert_eq!(log.append(TOPIC, Vec::new()).await.expect("nothing"), []);
}

async fn keeps_the_order_of_a_key(log: &Arc<dyn Log>) {
    let records = (0..10).map(|number| record("one", number)).collect();
    let positions = log.append(TOPIC, records).await.expect("appended");
    let partition = positions[0].partition;
    assert!(positions.iter().all(|position| position.partition == partition));
    let read = log.read(TOPIC, partition, positions[0].offset, 100).await.expect("read");
    let numbers: Vec<_> = read.iter().map(|stored| stored.record.sequence).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(read[3].record, record("one", 3));
}

async fn numbers_without_holes(log: &Arc<dyn Log>) {
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        log.append(TOPIC, vec![record(key, 0), record(key, 1)]).await.expect("appended");
    }
    for partition in 0..log.partitions(TOPIC) {
        let end = log.end(TOPIC, partition).expect("an end");
        let read = log.read(TOPIC, partition, 0, 10_000).await.expect("read");
        let offsets: Vec<_> = read.iter().map(|stored| stored.position.offset).collect();
        assert_eq!(offsets, (0..end).collect::<Vec<_>>());
    }
}

async fn reads_from_the_middle(log: &Arc<dyn Log>) {
    let partition =
        log.append(TOPIC, vec![record("one", 99)]).await.expect("appended")[0].partition;
    let end = log.end(TOPIC, partition).expect("an end");
    let read = log.read(TOPIC, partition, end - 2, 1).await.expect("read");
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].position.offset, end - 2);
    assert_eq!(log.read(TOPIC, partition, end, 10).await.expect("read"), []);
    assert_eq!(log.read(TOPIC, partition, end + 10, 10).await.expect("read"), []);
}

async fn tells_of_growth(log: &Arc<dyn Log>) {
    let mut growth = log.subscribe(TOPIC);
    growth.mark_unchanged();
    log.append(Topic::Audit, vec![record("elsewhere", 0)]).await.expect("appended");
    assert!(!growth.has_changed().expect("a log"));
    log.append(TOPIC, vec![record("one", 100)]).await.expect("appended");
    growth.changed().await.expect("told");
}

async fn appends_from_many_at_once(log: &Arc<dyn Log>) {
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..16 {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            let key = format!("producer-{producer}");
            for number in 0..50 {
                log.append(TOPIC, vec![record(&key, number)]).await.expect("appended");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a producer");
    }
    let mut next = std::collections::HashMap::new();
    for partition in 0..log.partitions(TOPIC) {
        for stored in log.read(TOPIC, partition, 0, 100_000).await.expect("read") {
            if stored.record.key.starts_with("producer-") {
                let expected = next.entry(stored.record.key.clone()).or_insert(0);
                assert_eq!(stored.record.sequence, *expected, "{}", stored.record.key);
                *expected += 1;
            }
        }
    }
    assert!(next.len() == 16 && next.values().all(|count| *count == 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_holds() {
    holds(Arc::new(ModelLog::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    holds(open(folder.path(), Sync::Always).expect("a log")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let records: Vec<_> = (0..3_000).map(|number| record("kept", number)).collect();
    let log = open(folder.path(), Sync::Always).expect("a log");
    let positions = log.append(TOPIC, records).await.expect("appended");
    let partition = positions[0].partition;
    let before = log.read(TOPIC, partition, 0, 10_000).await.expect("read");
    drop(log);
    let log = open(folder.path(), Sync::Always).expect("a log");
    assert_eq!(log.end(TOPIC, partition).expect("an end"), 3_000);
    assert_eq!(log.read(TOPIC, partition, 0, 10_000).await.expect("read"), before);
}
