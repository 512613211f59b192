//! What a stream lets go of in time, and what it never does.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta};
use ingest::{
    error::LogError,
    log::{
        Keep, Log,
        embedded::{EmbeddedLog, Settings},
    },
    record::{Position, Record, Stored, outside_id},
    topic::Topic,
    wire::v1::{Event, MeansChanged, PersonChanged},
};

use crate::{open_with, record};

const TOPIC: Topic = Topic::MeansChanges;

fn settings(keep: Keep) -> Settings {
    Settings { keep: HashMap::from([(TOPIC, keep)]), ..Settings::default() }
}

/// The `number`-th record, of one of so many means, recorded at that minute.
fn change(number: u64, means: u64) -> Record {
    let at = DateTime::from_timestamp(60 * i64::try_from(number).expect("small"), 0);
    let at = at.expect("an instant");
    let token = format!("means-{}", number * 7_919 % means);
    Record {
        id: outside_id("means", &number.to_string()),
        key: "issuer".into(),
        source: "issuer".into(),
        sequence: number,
        event_time: at,
        recorded_at: at,
        event: Event::MeansChanged(MeansChanged { token, ..MeansChanged::default() }),
    }
}

async fn append(log: &EmbeddedLog, numbers: std::ops::Range<u64>, means: u64, at_once: usize) {
    let records: Vec<_> = numbers.map(|number| change(number, means)).collect();
    for batch in records.chunks(at_once) {
        log.append(TOPIC, batch).await.expect("appended");
    }
}

async fn all(log: &EmbeddedLog) -> Vec<Stored> {
    let start = log.start(TOPIC, 0).expect("a start");
    log.read(TOPIC, 0, start, 1_000_000).await.expect("read")
}

/// The newest record of each means up to an instant.
fn state(records: &[Stored], until: i64) -> BTreeMap<String, u64> {
    let mut state = BTreeMap::new();
    for stored in records {
        let Event::MeansChanged(event) = &stored.record.event else { continue };
        if stored.record.recorded_at.timestamp() <= until {
            state.insert(event.token.clone(), stored.record.sequence);
        }
    }
    state
}

#[tokio::test]
async fn what_is_too_old_goes_and_whoever_missed_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { age: Some(TimeDelta::minutes(1_000)), ..Keep::default() };
    let log = open_with(folder.path(), &settings(keep)).expect("a log");
    append(&log, 0..5_000, 10, 10).await;
    log.keep().await.expect("kept");
    let start = log.start(TOPIC, 0).expect("a start");
    // Whole blocks go, so a few older ones may stay.
    assert!((3_900..=3_999).contains(&start), "{start}");
    let left = all(&log).await;
    assert_eq!(left.len() as u64, 5_000 - start);
    assert_eq!(left[0].position, Position { partition: 0, offset: start });
    let gone = log.read(TOPIC, 0, start - 1, 10).await.expect_err("gone");
    assert_eq!(
        gone.to_string(),
        format!(
            "means-changes partition 0 begins at offset {start}: {} and what follows it were let \
             go of unread",
            start - 1
        )
    );
    assert!(matches!(gone, LogError::Gone { .. }) && !gone.retry());
    drop(log);
    let log = open_with(folder.path(), &settings(keep)).expect("a log again");
    assert_eq!(log.start(TOPIC, 0).expect("a start"), start);
    assert_eq!(all(&log).await, left);
    append(&log, 5_000..5_001, 10, 1).await;
    assert_eq!(log.end(TOPIC, 0).expect("an end"), 5_001);
}

#[tokio::test]
async fn what_takes_too_much_room_goes_but_for_the_newest() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { bytes: Some(100_000), ..Keep::default() };
    let log = open_with(folder.path(), &settings(keep)).expect("a log");
    append(&log, 0..10_000, 10, 10).await;
    log.keep().await.expect("kept");
    let left = all(&log).await.len();
    assert!((100..2_000).contains(&left), "{left}");
    let one = Keep { bytes: Some(1), ..Keep::default() };
    drop(log);
    let log = open_with(folder.path(), &settings(one)).expect("a log again");
    log.keep().await.expect("kept");
    assert_eq!(all(&log).await.len(), 10, "the newest block stays");
}

#[tokio::test]
async fn a_register_loses_what_was_replaced_and_no_state_since() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { replaced: Some(TimeDelta::minutes(5_000)), ..Keep::default() };
    let log = open_with(folder.path(), &settings(keep)).expect("a log");
    append(&log, 0..30_000, 500, 7).await;
    let before = all(&log).await;
    log.keep().await.expect("kept");
    let left = all(&log).await;
    // Of the older 25 000 one for each means, and those of blocks that are not all older.
    assert!((5_500..5_510).contains(&left.len()), "{}", left.len());
    for minutes in (25_000..30_000).step_by(97) {
        assert_eq!(state(&left, 60 * minutes), state(&before, 60 * minutes));
    }
    // What is left stands where it stood, and is read from any offset.
    let by_offset: BTreeMap<u64, &Stored> =
        before.iter().map(|stored| (stored.position.offset, stored)).collect();
    for (at, stored) in left.iter().enumerate() {
        assert_eq!(&stored, by_offset.get(&stored.position.offset).expect("known"));
        let from_before = at.checked_sub(1).map_or(0, |at| left[at].position.offset + 1);
        for from in [from_before, stored.position.offset] {
            let read = log.read(TOPIC, 0, from, 1).await.expect("read");
            assert_eq!(read.first(), Some(stored), "from {from}");
        }
    }
    assert_eq!(log.start(TOPIC, 0).expect("a start"), 0);
    drop(log);
    let log = open_with(folder.path(), &settings(keep)).expect("a log again");
    assert_eq!(all(&log).await, left);
}

/// A change of a person, recorded at that minute.
fn of_person(person: u64, sequence: u64, minute: i64) -> Record {
    let at = DateTime::from_timestamp(60 * minute, 0).expect("an instant");
    let person = format!("person-{person}");
    Record {
        id: outside_id("register", &minute.to_string()),
        key: person.clone(),
        source: "register".into(),
        sequence,
        event_time: at,
        recorded_at: at,
        event: Event::PersonChanged(PersonChanged {
            person,
            person_sequence: sequence,
            ..PersonChanged::default()
        }),
    }
}

#[tokio::test]
async fn a_change_that_was_missing_takes_no_newer_one_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { replaced: Some(TimeDelta::minutes(5_000)), ..Keep::default() };
    let keep = HashMap::from([(Topic::PersonChanges, keep)]);
    let settings = Settings { keep, ..Settings::default() };
    let log = open_with(folder.path(), &settings).expect("a log");
    // The second change of everybody comes after the third.
    let changes = [1, 3, 2].into_iter();
    let changes = changes.flat_map(|sequence| (0..4_000).map(move |person| (person, sequence)));
    let later = (4_000..10_000).map(|person| (person, 1));
    let records: Vec<Record> = (0..)
        .zip(changes.chain(later))
        .map(|(minute, (person, sequence))| of_person(person, sequence, minute))
        .collect();
    for batch in records.chunks(100) {
        log.append(Topic::PersonChanges, batch).await.expect("appended");
    }
    log.keep().await.expect("kept");
    let left = log.read(Topic::PersonChanges, 0, 0, 1_000_000).await.expect("read");
    let sequences: Vec<u64> = left.iter().map(|stored| stored.record.sequence).collect();
    assert_eq!(sequences, [vec![3; 4_000], vec![1; 6_000]].concat());
}

#[tokio::test]
async fn what_goes_is_read_to_its_end_by_who_began_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { replaced: Some(TimeDelta::zero()), ..Keep::default() };
    let log = open_with(folder.path(), &settings(keep)).expect("a log");
    append(&log, 0..20_000, 50, 3).await;
    let log = std::sync::Arc::new(log);
    let keeper = std::sync::Arc::clone(&log);
    let keeping = tokio::spawn(async move { keeper.keep().await });
    let mut next = 0;
    while next < 20_000 {
        let read = log.read(TOPIC, 0, next, 64).await.expect("nothing is missing");
        let last = read.last().expect("the newest stays").position.offset;
        next = last + 1;
    }
    keeping.await.expect("a task").expect("kept");
}

#[tokio::test]
async fn copies_stand_where_they_stood() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open_with(folder.path(), &Settings::default()).expect("a log");
    let copies: Vec<_> = [3, 4, 9, 10, 5_000_000_000]
        .map(|offset| Stored {
            position: Position { partition: 0, offset },
            record: record("kept", offset),
        })
        .to_vec();
    log.append_at(TOPIC, &copies[..2]).await.expect("appended");
    log.append_at(TOPIC, &copies[2..]).await.expect("appended");
    assert_eq!(log.end(TOPIC, 0).expect("an end"), 5_000_000_001);
    assert_eq!(log.read(TOPIC, 0, 0, 100).await.expect("read"), copies);
    assert_eq!(log.read(TOPIC, 0, 5, 100).await.expect("read"), copies[2..]);
    assert_eq!(log.read(TOPIC, 0, 4_999_999_999, 100).await.expect("read"), copies[4..]);
    log.trim(TOPIC, 0, 4).await.expect("trimmed");
    drop(log);
    let log = open_with(folder.path(), &Settings::default()).expect("a log again");
    assert_eq!(log.read(TOPIC, 0, 5, 100).await.expect("read"), copies[2..]);
}
