//! What every engine of the log promises.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, TimeDelta};
use ingest::{
    error::LogError,
    log::{
        Keep, Log,
        embedded::{Settings, Sync},
        model::ModelLog,
    },
    record::{Record, Stored},
    topic::Topic,
    wire,
};

use crate::{open, open_with, record};

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

/// What every engine lets go of where it is told to: of so old, and of so many bytes.
pub const KEEPS: [Keep; 2] = [
    Keep { age: Some(TimeDelta::minutes(10)), bytes: None, replaced: None },
    Keep { age: None, bytes: Some(KEPT_BYTES), replaced: None },
];
pub const LET_GO: Topic = Topic::PortalEvents;
const KEPT_BYTES: u64 = 10_000;
const RECORDS: u64 = 60;

/// The record of a minute.
fn of_minute(minute: u64) -> Record {
    let seconds = i64::try_from(60 * minute).expect("small");
    let recorded_at = DateTime::from_timestamp(seconds, 0).expect("an instant");
    Record { recorded_at, ..record("clock", minute) }
}

/// Appends what a log has before it lets go of anything: a record for each minute of an hour.
pub async fn fills(log: &dyn Log) {
    for minute in 0..RECORDS {
        // Each by itself: what is appended at once may go at once.
        log.append(LET_GO, &[of_minute(minute)]).await.expect("appended");
    }
}

/// The suite of a log that has let go of what it was told to.
pub async fn has_let_go(log: &Arc<dyn Log>, keep: Keep) {
    let (start, end) = (log.start(LET_GO, 0).expect("one"), log.end(LET_GO, 0).expect("one"));
    assert!(0 < start && start < end && end == RECORDS, "from {start} to {end}");
    if keep.age.is_some() {
        assert_eq!(start, RECORDS - 1 - 10, "what is as old as may be stays");
    }
    if keep.bytes.is_some() {
        let bytes = |from: u64| -> usize {
            (from..end).map(|minute| wire::encode(&of_minute(minute)).len()).sum()
        };
        assert!(bytes(start) as u64 <= KEPT_BYTES, "{} bytes are kept", bytes(start));
        // What an engine adds to a record is less than another record, twice.
        assert!(bytes(start.saturating_sub(3)) as u64 > KEPT_BYTES, "{} bytes", bytes(start));
    }
    // What is left is all there, where it stood.
    let mut left: Vec<Stored> = Vec::new();
    let read = ingest::log::replay(log, LET_GO, |stored| {
        left.push(stored);
        Ok::<_, LogError>(())
    });
    read.await.expect("read");
    assert_eq!(left.len() as u64, end - start);
    for (stored, offset) in left.iter().zip(start..) {
        assert_eq!(stored.position.offset, offset);
        assert_eq!(stored.record, of_minute(offset));
    }
    // Whoever has missed something is told what, and never given what follows in its place.
    for from in [0, start - 1] {
        let gone = log.read(LET_GO, 0, from, 100).await.expect_err("it is gone");
        assert!(!gone.retry(), "{gone}");
        let LogError::Gone { topic, partition, from: asked, start: first } = gone else {
            panic!("{gone}");
        };
        assert_eq!((topic, partition, asked, first), (LET_GO, 0, from, start));
    }
    assert_eq!(log.at(LET_GO, 0, DateTime::UNIX_EPOCH).await.expect("an offset"), start);
    let next = log.append(LET_GO, &[of_minute(RECORDS)]).await.expect("appended")[0];
    assert_eq!(next.offset, end, "offsets go on");
    let read = log.read(LET_GO, 0, end, 10).await.expect("read");
    assert!(read.len() == 1 && read[0].record == of_minute(RECORDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_holds() {
    holds(Arc::new(ModelLog::default())).await;
}

#[tokio::test]
async fn the_model_lets_go() {
    for keep in KEEPS {
        let model = Arc::new(ModelLog::default());
        fills(&*model).await;
        model.keep(LET_GO, keep);
        let log: Arc<dyn Log> = model;
        has_let_go(&log, keep).await;
    }
}

#[tokio::test]
async fn the_embedded_log_lets_go() {
    for keep in KEEPS {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings { keep: HashMap::from([(LET_GO, keep)]), ..Settings::default() };
        let embedded = Arc::new(open_with(folder.path(), &settings).expect("a log"));
        fills(&*embedded).await;
        embedded.keep().await.expect("kept");
        let log: Arc<dyn Log> = embedded;
        has_let_go(&log, keep).await;
    }
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
