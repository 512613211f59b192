//! Disks that take no more, and what the log then says: refused beforehand nothing is lost and it goes
//! on when there is room again; failed half-way it stops for good.

use std::{io::Write, path::Path};

use ingest::{
    error::LogError,
    log::{
        Log,
        embedded::{Settings, Sync},
    },
    topic::Topic,
};

use crate::{
    RESERVE_BYTES,
    disk::{Disk, skipped},
    open, open_with, record,
};

const DISK_BYTES: u64 = 96 << 20;
const TOPIC: Topic = Topic::Audit;

fn disk(test: &str, folder: &Path) -> Option<Disk> {
    Disk::make(folder, DISK_BYTES).map_err(|reason| skipped(test, &reason)).ok()
}

async fn holds(log: &dyn Log, count: u64) {
    let read = log.read(TOPIC, 0, 0, 100_000).await.expect("read");
    assert_eq!(read.len() as u64, count);
    for (stored, number) in read.iter().zip(0..) {
        assert_eq!(stored.record, record("kept", number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_refused_and_taken_again_when_it_has_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = disk("disk_full", folder.path()) else { return };
    let path = disk.path().join("log");
    let log = open(&path, Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", 0)]).await.expect("appended");
    let filler = disk.path().join("filler");
    let mut count = 1;
    for _ in 0..3 {
        fill(&filler);
        let (acknowledged, refused) = loop_until_refused(&*log, count).await;
        assert!(matches!(&refused, LogError::DiskFull { path: named, .. } if *named == path));
        assert!(refused.retry() && refused.nothing_written(), "{refused}");
        std::fs::remove_file(&filler).expect("removed");
        log.append(TOPIC, &[record("kept", acknowledged)]).await.expect("taken again");
        count = acknowledged + 1;
        holds(&*log, count).await;
    }
    drop(log);
    holds(&*open(&path, Sync::Always).expect("a log again"), count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_taken_for_want_of_room_old_records_still_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = disk("retention on a full disk", folder.path()) else { return };
    let settings = Settings { reserve_bytes: RESERVE_BYTES, ..Settings::default() };
    let log = open_with(&disk.path().join("log"), &settings).expect("a log");
    for number in 0..3 {
        log.append(TOPIC, &[record("kept", number)]).await.expect("appended");
    }
    let filler = disk.path().join("filler");
    fill(&filler);
    let filled = std::fs::File::options().write(true).open(&filler).expect("a file");
    let mut length = filled.metadata().expect("a length").len();
    // Until less is free than has to stay so, and more than letting go takes.
    loop {
        length -= RESERVE_BYTES / 4;
        filled.set_len(length).expect("shorter");
        filled.sync_all().expect("synced");
        match log.append(TOPIC, &[record("kept", 3)]).await.expect_err("no room") {
            LogError::DiskFull { free, .. } if free > RESERVE_BYTES / 2 => break,
            LogError::DiskFull { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    log.trim(TOPIC, 0, 2).await.expect("let go of");
    assert_eq!(log.start(TOPIC, 0).expect("a start"), 2);
    assert_eq!(log.read(TOPIC, 0, 2, 10).await.expect("read").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_refused_and_taken_again_when_it_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = disk("read_only", folder.path()) else { return };
    let path = disk.path().join("log");
    let log = open(&path, Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", 0)]).await.expect("appended");
    drop(log);
    disk.remount("ro").expect("read-only");
    let refused = open(&path, Sync::Always).map(drop).expect_err("read-only");
    assert!(
        matches!(&refused, LogError::ReadOnly { path: named } if *named == path),
        "{refused:?}"
    );
    disk.remount("rw").expect("writable");
    let log = open(&path, Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", 1)]).await.expect("taken again");
    holds(&*log, 2).await;
}

/// Not even when there is room again: what the disk holds is unknown.
async fn stays_stopped(log: &dyn Log, filler: &Path, acknowledged: u64) {
    std::fs::remove_file(filler).expect("removed");
    let again = log.append(TOPIC, &[record("kept", acknowledged)]).await.expect_err("stopped");
    assert!(matches!(again, LogError::Stopped { sync_failed: true }), "{again:?}");
    assert!(!again.retry(), "nobody may try again by itself");
    assert_eq!(log.append(Topic::Consents, &[]).await.expect("nothing"), []);
    // What was acknowledged is read as before, and nothing else.
    holds(log, acknowledged).await;
}

/// The disk says that there is room, and fails when it is written to: its image lies on a disk that is
/// full.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_stops_the_log_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = match Disk::in_memory(&folder.path().join("memory"), 48 << 20) {
        Ok(memory) => memory,
        Err(reason) => return skipped("failing disk", &reason),
    };
    let Some(disk) = disk("failing disk", memory.path()) else { return };
    let path = disk.path().join("log");
    let log = open(&path, Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", 0)]).await.expect("appended");
    fill(&memory.path().join("filler"));
    let (acknowledged, refused) = loop_until_refused(&*log, 1).await;
    assert!(matches!(refused, LogError::Stopped { sync_failed: true }), "{refused:?}");
    stays_stopped(&*log, &memory.path().join("filler"), acknowledged).await;
}

/// Appends until nothing is taken: how many records are then acknowledged, and what was answered.
async fn loop_until_refused(log: &dyn Log, from: u64) -> (u64, LogError) {
    for number in from..100_000 {
        if let Err(refused) = log.append(TOPIC, &[record("kept", number)]).await {
            return (number, refused);
        }
    }
    panic!("the disk never was full");
}

fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    for size in [1 << 20, 4_096] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let _ = file.sync_all();
}
