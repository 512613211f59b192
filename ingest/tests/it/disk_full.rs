//! A disk that takes no more: the log stops for good, and says why.

use std::io::Write;

use ingest::{error::LogError, log::embedded::Sync, topic::Topic};

use crate::{
    disk::{Disk, skipped},
    open, record,
};

const DISK_BYTES: u64 = 96 << 20;
const TOPIC: Topic = Topic::Audit;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_log_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match Disk::make(folder.path(), DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => return skipped("disk_full", &reason),
    };
    let path = disk.path().join("log");
    let log = open(&path, Sync::Always).expect("a log");
    log.append(TOPIC, vec![record("kept", 0)]).await.expect("appended");
    let filler = disk.path().join("filler");
    fill(&filler);
    let (mut acknowledged, refused) = loop_until_refused(&*log, 1).await;
    assert!(matches!(refused, LogError::Stopped { sync_failed: true }), "{refused:?}");
    assert!(!refused.retry(), "nobody may try again by itself");
    // Not even when there is room again: what the disk holds is unknown.
    std::fs::remove_file(&filler).expect("removed");
    let again = log.append(TOPIC, vec![record("kept", acknowledged)]).await.expect_err("stopped");
    assert!(matches!(again, LogError::Stopped { sync_failed: true }), "{again:?}");
    assert_eq!(log.append(Topic::Consents, vec![]).await.expect("nothing"), []);
    // What was acknowledged is read as before, and nothing else.
    let read = log.read(TOPIC, 0, 0, 100_000).await.expect("read");
    assert_eq!(read.len() as u64, acknowledged);
    drop(log);

    let log = open(&path, Sync::Always).expect("a log again");
    let read = log.read(TOPIC, 0, 0, 100_000).await.expect("read");
    assert!(read.len() as u64 >= acknowledged, "{} of {acknowledged}", read.len());
    for (stored, number) in read.iter().zip(0..) {
        assert_eq!(stored.record, record("kept", number));
    }
    acknowledged = read.len() as u64;
    log.append(TOPIC, vec![record("kept", acknowledged)]).await.expect("appended");
}

/// Appends until nothing is taken: how many records are then acknowledged, and what was answered.
async fn loop_until_refused(log: &dyn ingest::log::Log, from: u64) -> (u64, LogError) {
    for number in from..100_000 {
        if let Err(refused) = log.append(TOPIC, vec![record("kept", number)]).await {
            return (number, refused);
        }
    }
    panic!("the disk never was full");
}

fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    for size in [1 << 20, 4_096] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let _ = file.sync_all();
}
