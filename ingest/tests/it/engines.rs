//! What every engine of the log promises.

use std::sync::Arc;

use chrono::DateTime;
use ingest::{
    log::{Log, embedded::Sync, model::ModelLog},
    record::Record,
    topic::Topic,
};

use crate::{open, record};

const TOPIC: Topic = Topic::Authorisations;

/// The suite: what a caller may rely on, whatever the engine.
pub async fn holds(log: Arc<dyn Log>) {
    keeps_the_order_of_a_key(&log).await;
    numbers_without_holes(&log).await;
    reads_from_the_middle(&log).await;
    tells_of_growth(&log).await;
    finds_an_instant(&log).await;
    appends_from_many_at_once(&log).await;
    assert_eq!(log.append(TOPIC, &[]).await.expect("nothing"), []);
}

async fn keeps_the_order_of_a_key(log: &Arc<dyn Log>) {
    let records: Vec<_> = (0..10).map(|number| record("one", number)).collect();
    let positions = log.append(TOPIC, &records).await.expect("appended");
    let partition = positions[0].partition;
    assert!(positions.iter().all(|position| position.partition == partition));
    let read = log.read(TOPIC, partition, positions[0].offset, 100).await.expect("read");
    let numbers: Vec<_> = read.iter().map(|stored| stored.record.sequence).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(read[3].record, record("one", 3));
}

async fn numbers_without_holes(log: &Arc<dyn Log>) {
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        log.append(TOPIC, &[record(key, 0), record(key, 1)]).await.expect("appended");
    }
    for partition in 0..log.partitions(TOPIC) {
        let end = log.end(TOPIC, partition).expect("an end");
        let read = log.read(TOPIC, partition, 0, 10_000).await.expect("read");
        let offsets: Vec<_> = read.iter().map(|stored| stored.position.offset).collect();
        assert_eq!(offsets, (0..end).collect::<Vec<_>>());
    }
}

async fn reads_from_the_middle(log: &Arc<dyn Log>) {
    let partition = log.append(TOPIC, &[record("one", 99)]).await.expect("appended")[0].partition;
    let end = log.end(TOPIC, partition).expect("an end");
    let read = log.read(TOPIC, partition, end - 2, 1).await.expect("read");
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].position.offset, end - 2);
    assert_eq!(log.read(TOPIC, partition, end, 10).await.expect("read"), []);
    assert_eq!(log.read(TOPIC, partition, end + 10, 10).await.expect("read"), []);
}

async fn finds_an_instant(log: &Arc<dyn Log>) {
    let (topic, hour) = (Topic::ServiceEvents, |hour| DateTime::from_timestamp(3_600 * hour, 0));
    let at = |number: u64, at: i64| Record {
        recorded_at: hour(at).expect("an instant"),
        ..record("clock", number)
    };
    assert_eq!(log.at(topic, 0, hour(0).expect("an instant")).await.expect("an end"), 0);
    // A clock may be set back; a record from then is found by what was recorded after it.
    for (number, hours) in (0..).zip([1, 1, 3, 2, 5, 5, 4, 9]) {
        log.append(topic, &[at(number, hours)]).await.expect("appended");
    }
    for (hours, expected) in
        [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4), (6, 7), (9, 7), (10, 8)]
    {
        let found = log.at(topic, 0, hour(hours).expect("an instant")).await.expect("an offset");
        assert_eq!(found, expected, "from hour {hours}");
    }
    assert_eq!(log.start(topic, 0).expect("a start"), 0);
}

async fn tells_of_growth(log: &Arc<dyn Log>) {
    let mut growth = log.subscribe(TOPIC);
    growth.mark_unchanged();
    log.append(Topic::Audit, &[record("elsewhere", 0)]).await.expect("appended");
    assert!(!growth.has_changed().expect("a log"));
    log.append(TOPIC, &[record("one", 100)]).await.expect("appended");
    growth.changed().await.expect("told");
}

async fn appends_from_many_at_once(log: &Arc<dyn Log>) {
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..16 {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            let key = format!("producer-{producer}");
            for number in 0..50 {
                log.append(TOPIC, &[record(&key, number)]).await.expect("appended");
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
    let positions = log.append(TOPIC, &records).await.expect("appended");
    let partition = positions[0].partition;
    let before = log.read(TOPIC, partition, 0, 10_000).await.expect("read");
    drop(log);
    let log = open(folder.path(), Sync::Always).expect("a log");
    assert_eq!(log.end(TOPIC, partition).expect("an end"), 3_000);
    assert_eq!(log.read(TOPIC, partition, 0, 10_000).await.expect("read"), before);
}
