use chrono::TimeDelta;

use super::{block::Builder, *};
use crate::log::READ_BATCH;

const TOPIC: Topic = Topic::MeansChanges;

fn open(folder: &Path, keep: Keep) -> EmbeddedLog {
    let keep = HashMap::from([(TOPIC, keep)]);
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    EmbeddedLog::open(folder, &Settings { keep, ..Settings::default() }, metrics).expect("a log")
}

fn instant(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(3_600 * hours, 0).expect("an instant")
}

fn kept(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire");
    std::fs::read(folder.join(name)).expect("the golden")
}

fn encoded(bytes: Vec<u8>, recorded_at: DateTime<Utc>) -> Encoded {
    let recorded_at = recorded_at.timestamp_micros();
    Encoded { partition: 0, offset: None, recorded_at, bytes: bytes.into() }
}

/// A change of a means, recorded at that hour.
fn change(token: &str, hours: i64) -> Encoded {
    let mut record = wire::decode(&kept("v1/means_changed.bin")).expect("a record");
    let wire::v1::Event::MeansChanged(event) = &mut record.event else { panic!("another") };
    event.token = token.into();
    record.recorded_at = instant(hours);
    encoded(wire::encode(&record), instant(hours))
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_named_and_neither_damaged_nor_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Keep::default());
    // What the kept one has for a record time.
    let at = DateTime::from_timestamp_micros(1_735_000_000_123_457).expect("an instant");
    let newer = encoded(kept("newer/event.bin"), at);
    let records = vec![change("a", 1), newer, change("b", 500_000)];
    log.append_encoded(TOPIC, records).await.expect("appended");
    assert_eq!(log.read(TOPIC, 0, 0, 1).await.expect("known").len(), 1);
    assert_eq!(log.read(TOPIC, 0, 2, 1).await.expect("known").len(), 1);
    for most in [1, 3] {
        let refused = log.read(TOPIC, 0, 1, most).await.expect_err("unknown");
        assert!(!refused.retry() && matches!(refused, LogError::Newer { offset: 1, .. }));
        assert_eq!(
            refused.to_string(),
            "means-changes partition 0: offset 1 is of a newer version: event kind 4711; upgrade \
             the reader"
        );
    }
    assert_eq!(log.at(TOPIC, 0, at).await.expect("its time is known"), 1);
}

#[tokio::test]
async fn an_instant_is_found_though_a_clock_was_ahead_and_what_it_dated_is_gone() {
    const CHANGES: usize = 12 * READ_BATCH;
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Keep { replaced: Some(TimeDelta::zero()), ..Keep::default() });
    // The first is recorded far ahead, then changed again; the last lets all before it be replaced.
    let hour = |number: usize| i64::try_from(number).expect("small");
    let mut records = vec![change("ahead", 1_000_000)];
    records.extend((1..CHANGES).map(|number| change(&format!("means-{number}"), hour(number))));
    records.extend([change("ahead", hour(CHANGES)), change("last", 2_000_000)]);
    // The last alone: what is replaced in its own block stays.
    let (last, before) = records.split_last().expect("records");
    for batch in before.chunks(100).chain([std::slice::from_ref(last)]) {
        log.append_encoded(TOPIC, batch.to_vec()).await.expect("appended");
    }
    let end = records.len() as u64;
    let found = async |hours: i64| log.at(TOPIC, 0, instant(hours)).await.expect("an offset");
    assert_eq!(found(hour(CHANGES / 2)).await, 0, "the one from ahead is the first since");
    log.keep().await.expect("kept");
    let first = log.read(TOPIC, 0, 0, 1).await.expect("read");
    assert_eq!(first[0].position.offset, 1, "it is gone");
    for number in [1, 4_095, 4_098, CHANGES / 2, CHANGES] {
        assert_eq!(found(hour(number)).await, number as u64);
    }
    assert_eq!(found(hour(CHANGES) + 1).await, end - 1);
    assert_eq!(found(1_000_000).await, end - 1);
    assert_eq!(found(2_000_001).await, end);
}

#[tokio::test]
async fn an_instant_is_found_before_what_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Keep::default());
    let damaged = encoded(vec![0xff; 9], instant(3));
    let records = vec![change("a", 1), change("b", 2), damaged];
    log.append_encoded(TOPIC, records).await.expect("appended");
    assert_eq!(log.at(TOPIC, 0, instant(2)).await.expect("it stands before"), 1);
    let refused = log.at(TOPIC, 0, instant(3)).await.expect_err("it cannot be read");
    assert!(matches!(refused, LogError::Damaged { offset: 2, .. }), "{refused}");
}

#[tokio::test]
async fn an_instant_is_not_found_behind_what_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Keep::default());
    for record in [change("a", 1), change("b", 2)] {
        log.append_encoded(TOPIC, vec![record]).await.expect("appended");
    }
    // As where a disk has lost the first row, which nobody let go of.
    log.streams.stream(TOPIC).blocks.remove(block::key(0, 0)).expect("removed");
    let refused = log.at(TOPIC, 0, instant(1)).await.expect_err("it may be the one");
    assert!(matches!(refused, LogError::Damaged { offset: 0, .. }), "{refused}");
    assert_eq!(log.at(TOPIC, 0, instant(3)).await.expect("none is so new"), 2);
}

#[tokio::test]
async fn a_block_that_another_has_taken_up_is_not_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Keep::default());
    let records = [change("a", 1), change("b", 2), change("c", 3)];
    for record in &records {
        log.append_encoded(TOPIC, vec![record.clone()]).await.expect("appended");
    }
    // As where a disk has lost that the second went when the first two were put together.
    let mut both = Builder::new(0, i64::MIN);
    for (offset, record) in (0..).zip(&records[..2]) {
        assert!(both.push(offset, record.recorded_at, &record.bytes));
    }
    let (key, value) = both.finish(0);
    log.streams.stream(TOPIC).blocks.insert(key, value).expect("put");
    for from in 0..3 {
        let read = log.read(TOPIC, 0, from, 10).await.expect("read");
        let offsets: Vec<_> = read.iter().map(|stored| stored.position.offset).collect();
        assert_eq!(offsets, (from..3).collect::<Vec<_>>());
    }
}
