//! Whose the log's folder is.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ingest::{
    error::LogError,
    log::{
        Log,
        embedded::{StoppedLog, Sync},
    },
};

use crate::{
    child::{Running, TOPIC, found},
    open, record, scale,
};

const FOLDER: &str = "AVIS_TEST_SECOND_FOLDER";
const READ: &str = "AVIS_TEST_READ_FOLDER";

#[tokio::test]
async fn a_second_opening_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let _log = open(folder.path(), Sync::Always).expect("a log");
    let refused = open(folder.path(), Sync::Always).map(drop).expect_err("in use");
    assert!(matches!(&refused, LogError::InUse { path } if path == folder.path()), "{refused}");
    assert!(refused.to_string().contains(&folder.path().display().to_string()), "{refused}");
}

/// The second process's part: nothing, unless this process was started as the second.
#[tokio::test]
async fn opens_as_the_second() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let refused = open(Path::new(&folder), Sync::Always).map(drop).expect_err("in use");
    assert!(
        matches!(&refused, LogError::InUse { path } if path == Path::new(&folder)),
        "{refused}"
    );
    // Nor can it read beside who writes: tables go and journals are cut while it would.
    let refused = StoppedLog::open(Path::new(&folder)).map(drop).expect_err("in use");
    assert!(matches!(&refused, LogError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("--server"), "{refused}");
    println!("refused by name");
}

#[tokio::test]
async fn a_second_process_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Sync::Always).expect("a log");
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "folder::opens_as_the_second", "--nocapture"]);
    let output = command.env(FOLDER, folder.path()).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("refused by name"), "{said}");
    // The first has lost nothing by it.
    log.append(TOPIC, &[record("kept", 0)]).await.expect("appended");
}

#[tokio::test]
async fn a_stopped_log_is_read_by_many_and_written_by_nobody_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let refused = StoppedLog::open(&missing).map(drop).expect_err("there is none");
    assert!(matches!(&refused, LogError::Open { path, .. } if *path == missing), "{refused}");
    assert!(!missing.exists(), "reading makes no log");
    let log = open(folder.path(), Sync::Always).expect("a log");
    let position = log.append(TOPIC, &[record("kept", 0)]).await.expect("appended")[0];
    drop(log);
    let readers = [(), ()].map(|()| StoppedLog::open(folder.path()).expect("a log to read"));
    for reader in &readers {
        let read = reader.read(TOPIC, position.partition, 0, 10).await.expect("read");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].record, record("kept", 0));
        assert_eq!(reader.end(TOPIC, position.partition).expect("an end"), 1);
        assert!(reader.damages().is_empty());
        let refused = reader.append(TOPIC, &[record("kept", 1)]).await.expect_err("read only");
        assert!(matches!(refused, LogError::Stopped { sync_failed: false }), "{refused}");
    }
    let refused = open(folder.path(), Sync::Always).map(drop).expect_err("somebody reads");
    assert!(matches!(refused, LogError::InUse { .. }), "{refused}");
    drop(readers);
    let log = open(folder.path(), Sync::Always).expect("a log again");
    log.append(TOPIC, &[record("kept", 1)]).await.expect("appended");
}

/// A reader's part, until its input ends: nothing, unless this process was started as a reader.
#[test]
fn reads_until_its_input_ends() {
    let Ok(folder) = std::env::var(READ) else { return };
    let log = StoppedLog::open(Path::new(&folder)).expect("a log to read");
    println!("reading");
    std::io::read_to_string(std::io::stdin()).expect("input");
    drop(log);
}

/// A reader of the log in `folder` that has opened it.
fn reader(folder: &Path, temporary: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "folder::reads_until_its_input_ends", "--nocapture"]);
    command.env(READ, folder).env("TMPDIR", temporary);
    let mut reader =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
    let mut said = BufReader::new(reader.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.contains("reading") {
        line.clear();
        assert!(said.read_line(&mut line).expect("its output") > 0, "it does not read");
    }
    // What it says at its end has somewhere to go.
    reader.stdout = Some(said.into_inner());
    reader
}

#[tokio::test]
async fn what_a_killed_reader_leaves_goes_with_the_next_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = tempfile::tempdir().expect("a folder");
    drop(open(folder.path(), Sync::Always).expect("a log"));
    let made = || {
        let entries = std::fs::read_dir(temporary.path()).expect("a folder");
        let mut made: Vec<PathBuf> = entries.map(|entry| entry.expect("one").path()).collect();
        made.sort();
        made
    };
    let mut killed = reader(folder.path(), temporary.path());
    let left = made();
    assert_eq!(left.len(), 1);
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    assert_eq!(made(), left, "it could not remove it");
    let [mut first, mut second] = [(), ()].map(|()| reader(folder.path(), temporary.path()));
    assert_eq!(made().len(), 2, "each of the two that read has its own");
    assert!(made().iter().all(|path| !left.contains(path)), "what was left is gone");
    for reader in [&mut first, &mut second] {
        drop(reader.stdin.take());
        assert!(reader.wait().expect("ended").success());
    }
    assert!(made().is_empty());
}

#[tokio::test]
async fn damaged_and_lost_locks_do_not_keep_a_log_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", 0)]).await.expect("appended");
    drop(log);
    for lock in ["in-use", "lock"] {
        let lock = folder.path().join(lock);
        std::fs::write(&lock, b"left over").expect("written");
        drop(open(folder.path(), Sync::Always).expect("a log"));
        std::fs::remove_file(&lock).expect("removed");
        let log = open(folder.path(), Sync::Always).expect("a log");
        assert!(open(folder.path(), Sync::Always).is_err(), "the new lock holds");
        let partition = ingest::log::partition(&*log, TOPIC, "kept");
        assert_eq!(log.end(TOPIC, partition).expect("an end"), 1);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_a_log_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, b"not a folder").expect("written");
    let odd = folder.path().join("odd");
    std::fs::create_dir_all(odd.join("in-use")).expect("a folder");
    for path in [file, odd] {
        let refused = open(&path, Sync::Always).map(drop).expect_err("no log");
        assert!(
            matches!(&refused, LogError::Open { path: named, .. } if *named == path),
            "{refused}"
        );
    }
}

/// `kill -9` at any instant of the very first start leaves a folder that opens.
#[tokio::test]
async fn a_start_cut_off_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut unfinished = 0;
    for kill in 0..12 * scale() {
        let log: PathBuf = folder.path().join(kill.to_string());
        let running = Running::start(&log, false);
        std::thread::sleep(std::time::Duration::from_micros(1_500 + (kill * 7_919) % 27_000));
        let acknowledged = running.kill();
        unfinished += u64::from(!log.join("keyspaces").join("12").exists());
        let found = found(&log).await.unwrap_or_else(|error| panic!("kill {kill}: {error:?}"));
        assert!(found.iter().zip(&acknowledged).all(|(found, known)| found >= known));
        std::fs::remove_dir_all(&log).expect("removed");
    }
    assert!(unfinished > 0, "no start was ever cut off");
}
