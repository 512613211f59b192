//! Disks that lose or change what was synced: never a wrong record, never a silent loss.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use ingest::{
    error::LogError,
    log::{
        Log,
        embedded::{StoppedLog, Sync},
    },
    record::Stored,
    topic::Topic,
};

use crate::{open, record, scale};

const TOPIC: Topic = Topic::Audit;
const BLOCK: usize = 4_096;

/// A log with `count` records, each synced by itself, and closed.
async fn filled(folder: &Path, count: u64) {
    let log = open(folder, Sync::Always).expect("a log");
    for number in 0..count {
        log.append(TOPIC, &[record("kept", number)]).await.expect("appended");
    }
}

/// What the log in `folder` holds.
async fn held(folder: &Path) -> Result<Vec<Stored>, LogError> {
    open(folder, Sync::Always)?.read(TOPIC, 0, 0, 100_000).await
}

/// What can be read of the log in `folder`, which is left as it is, and why not more.
async fn readable(folder: &Path, at_once: usize) -> (Vec<Stored>, Option<LogError>) {
    let before = stand(folder);
    let log = StoppedLog::open(folder).expect("readable");
    let mut held: Vec<Stored> = Vec::new();
    let why = loop {
        match log.read(TOPIC, 0, held.len() as u64, at_once).await {
            Ok(read) if read.is_empty() => break None,
            Ok(read) => held.extend(read),
            Err(why) => break Some(why),
        }
    };
    drop(log);
    assert_eq!(stand(folder), before, "something was changed");
    (held, why)
}

/// Whether `count` records are told, or fewer with the place where they end, in this file or folder;
/// how many are.
fn is_told(
    (held, why): &(Vec<Stored>, Option<LogError>),
    count: u64,
    within: &Path,
) -> Result<u64, String> {
    let read = held.len() as u64;
    if !are_whole(held, read) {
        return Err("a wrong record".into());
    }
    match why {
        None if read == count => Ok(read),
        Some(why @ LogError::Damaged { topic: TOPIC, partition: 0, offset, .. })
            if *offset == read && read < count =>
        {
            let named = why.to_string().contains(&within.display().to_string());
            if named { Ok(read) } else { Err(format!("{why} names no {}", within.display())) }
        }
        other => Err(format!("{read} records and {other:?}")),
    }
}

fn are_whole(held: &[Stored], count: u64) -> bool {
    held.len() as u64 == count
        && held.iter().zip(0..).all(|(stored, number)| stored.record == record("kept", number))
}

/// A copy of the log in `from`, cheaply, journals being mostly holes.
fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    command.args(["-r", "--sparse=always"]).arg(from).arg(to);
    assert!(command.status().expect("cp").success());
}

fn copy_file(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("copied");
}

/// Everything in the log's folder, how long it is, and when it was changed.
fn stand(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let known = path.symlink_metadata().expect("metadata");
            if known.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (known.len(), known.modified().expect("an instant")));
        }
    }
    found
}

/// The files of the log whose name ends so, and what is in them but for zeros at the end.
fn files(folder: &Path, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let mut bytes = std::fs::read(&path).expect("a file");
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(used);
                found.push((path, bytes));
            }
        }
    }
    found
}

#[tokio::test]
async fn a_flipped_byte_of_a_journal_is_refused_or_harmless() {
    const COUNT: u64 = 20;
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, damaged) = (folder.path().join("whole"), folder.path().join("damaged"));
    let log = open(&whole, Sync::Always).expect("a log");
    let mut ends = Vec::new();
    for number in 0..COUNT {
        log.append(TOPIC, &[record("kept", number)]).await.expect("appended");
        ends.push(files(&whole, ".jnl").pop().expect("a journal").1.len());
    }
    drop(log);
    let (journal, bytes) = files(&whole, ".jnl").pop().expect("a journal");
    let journal = damaged.join(journal.strip_prefix(&whole).expect("inside"));
    let step = usize::try_from(397 / scale().min(397)).expect("small");
    let (mut refused, mut harmless) = (0, 0);
    for at in (0..bytes.len()).step_by(step) {
        copy(&whole, &damaged);
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        std::fs::write(&journal, &changed).expect("written");
        let (readable, known) = (readable(&damaged, 7).await, damaged.join("ends"));
        let before = ends.iter().filter(|end| **end <= at).count() as u64;
        let told =
            is_told(&readable, COUNT, &journal).unwrap_or_else(|why| panic!("byte {at}: {why}"));
        assert!(told == before || told == COUNT, "byte {at}: {told} of {before} before it");
        if told < COUNT && before + 1 < COUNT {
            // Where it is not known how far the log went, that is said.
            std::fs::remove_file(known).expect("removed");
            let (held, why) = self::readable(&damaged, 7).await;
            assert!(are_whole(&held, before), "byte {at}: {} records", held.len());
            let why = why.expect("told").to_string();
            assert!(why.ends_with("whether more followed is not known"), "byte {at}: {why}");
            copy_file(&whole.join("ends"), &damaged.join("ends"));
        }
        match held(&damaged).await {
            Ok(held) => {
                assert!(are_whole(&held, COUNT), "byte {at}: {} records in silence", held.len());
                harmless += 1;
            }
            Err(error) => {
                if matches!(error, LogError::DamagedJournal { .. }) {
                    let left = std::fs::read(&journal).expect("a journal");
                    assert!(left == changed, "byte {at}: a damaged journal was changed");
                }
                refused += 1;
            }
        }
        std::fs::remove_dir_all(&damaged).expect("removed");
    }
    println!("{refused} flipped bytes refused, {harmless} harmless");
    assert!(refused > 0, "no flipped byte was noticed");
}

#[tokio::test]
async fn a_flipped_byte_of_a_table_is_never_a_wrong_record() {
    const COUNT: u64 = 6_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, damaged) = (folder.path().join("whole"), folder.path().join("damaged"));
    let stream = with_tables(&whole, COUNT).await;
    let (mut refused, mut begun, mut found) = (0, BTreeMap::new(), BTreeMap::new());
    for kind in ["tables", "blobs"] {
        for (table, _) in files(&stream.join(kind), "") {
            // With the zeros that it ends with.
            let bytes = std::fs::read(&table).expect("a file");
            let table = damaged.join(table.strip_prefix(&whole).expect("inside"));
            let ends = ends(&bytes);
            let (first, last) = (ends[0], *ends.last().expect("rows or blocks"));
            // What describes the rows or blocks, the list of the file's parts, and its foot.
            let behind = [last, bytes.len() - 48, bytes.len() - 38];
            for at in (0..last).step_by(last / 4 + 1).chain(behind) {
                copy(&whole, &damaged);
                let mut changed = bytes.clone();
                changed[at] ^= 0x40;
                std::fs::write(&table, changed).expect("written");
                // What is damaged lies within a block that is read in parts.
                let readable = readable(&damaged, 61).await;
                let within = damaged.join(stream.strip_prefix(&whole).expect("inside"));
                let told = is_told(&readable, COUNT, &within);
                let told = told.unwrap_or_else(|why| panic!("byte {at} of {kind}: {why}"));
                // All that stands before the damage, and all where no row and no block is damaged.
                let least = if at < first { 0 } else { 1 };
                let least = if at < last { least } else { COUNT };
                assert!(told >= least, "byte {at} of {kind}: {told} records");
                *begun.entry(kind).or_insert(0) += u64::from(0 < told && told < COUNT);
                *found.entry(kind).or_insert(0) += u64::from(told == COUNT);
                match held(&damaged).await {
                    Ok(held) => {
                        assert!(are_whole(&held, COUNT), "byte {at}: {} records", held.len());
                    }
                    Err(_) => refused += 1,
                }
                std::fs::remove_dir_all(&damaged).expect("removed");
            }
        }
    }
    assert!(refused > 0, "no flipped byte was noticed");
    println!("read up to the damage: {begun:?}, in spite of it: {found:?}");
    for kind in ["tables", "blobs"] {
        assert!(begun[kind] > 0, "nothing of {kind} was ever read up to the damage");
    }
}

#[tokio::test]
async fn what_a_killed_node_left_unfinished_is_not_damaged() {
    const COUNT: u64 = 6_000;
    let folder = tempfile::tempdir().expect("a folder");
    let stream = with_tables(folder.path(), COUNT).await;
    for kind in ["tables", "blobs"] {
        let (file, bytes) = files(&stream.join(kind), "").pop().expect("a file");
        // Of a number that is not given yet.
        let unfinished = file.with_file_name("1000000");
        std::fs::write(unfinished, &bytes[..bytes.len() / 2]).expect("written");
    }
    let log = StoppedLog::open(folder.path()).expect("readable");
    assert!(log.damages().is_empty(), "{:?}", log.damages());
    drop(log);
    let readable = readable(folder.path(), 61).await;
    assert_eq!(is_told(&readable, COUNT, &stream), Ok(COUNT));
}

/// Where each block of rows of a table ends, or each block of a file of them.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 38) {
        let four = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| head[at + byte]));
        at += match &head[..5] {
            b"LSM\x03\x00" => 33 + four(21) as usize,
            [b'B', b'L', b'O', b'B', _] => {
                38 + usize::from(u16::from_le_bytes([head[28], head[29]])) + four(34) as usize
            }
            _ => break,
        };
        ends.push(at);
    }
    ends
}

/// A log of so many records, closed; the folder of their stream, of which the store has made tables.
async fn with_tables(folder: &Path, count: u64) -> PathBuf {
    let log = open(folder, Sync::Always).expect("a log");
    // So few at once that blocks are not compressed, and more than the store holds in memory.
    for first in (0..count).step_by(8) {
        let records: Vec<_> = (first..first + 8).map(|number| record("kept", number)).collect();
        log.append(TOPIC, &records).await.expect("appended");
    }
    let stream = stream_with_tables(folder).await;
    drop(log);
    stream
}

/// The folder of a stream of which the store has made tables, which it does when it comes to it.
async fn stream_with_tables(folder: &Path) -> PathBuf {
    let begun = std::time::Instant::now();
    loop {
        let mut found = files(&folder.join("keyspaces"), "").into_iter();
        let large = found.find(|(path, bytes)| {
            bytes.len() > 20_000 && path.parent().is_some_and(|parent| parent.ends_with("blobs"))
        });
        if let Some(stream) = large.and_then(|(path, _)| Some(path.parent()?.parent()?.into())) {
            return stream;
        }
        assert!(begun.elapsed().as_secs() < 60, "the store makes no table");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_torn_last_batch_is_cut_off_and_kept_aside() {
    const COUNT: u64 = 15;
    let folder = tempfile::tempdir().expect("a folder");
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    filled(&before, COUNT).await;
    copy(&before, &after);
    // Longer than some blocks, and not yet acknowledged when the power goes.
    let log = open(&after, Sync::Always).expect("a log");
    log.append(TOPIC, &[record("kept", COUNT)]).await.expect("appended");
    drop(log);
    let (_, known) = files(&before, ".jnl").pop().expect("a journal");
    let (journal, bytes) = files(&after, ".jnl").pop().expect("a journal");
    let journal = before.join(journal.strip_prefix(&after).expect("inside"));
    // Of what was not synced any block may be missing, and any number of bytes at the end.
    let blocks = (known.len() / BLOCK + 1..bytes.len() / BLOCK).map(|block| block * BLOCK);
    let holes = blocks.map(|at| (at, (at + BLOCK).min(bytes.len())));
    let sectors = [(known.len(), known.len() + 512), (known.len() + 1_000, known.len() + 1_512)];
    let ends = [1, 3, 12, 300].map(|left| (known.len() + left, bytes.len()));
    for (from, to) in holes.chain(sectors).chain(ends) {
        let torn = folder.path().join("torn");
        copy(&before, &torn);
        let mut changed = bytes.clone();
        changed[from..to].fill(0);
        let path = torn.join(journal.strip_prefix(&before).expect("inside"));
        std::fs::write(&path, &changed).expect("written");
        let held = held(&torn).await.expect("the log opens");
        assert!(are_whole(&held, COUNT), "torn at {from}: {} records", held.len());
        let kept = std::fs::read(path.with_extension("torn")).map_or(0, |kept| kept.len());
        let left = changed[known.len()..].iter().rposition(|byte| *byte != 0);
        assert_eq!(kept, left.map_or(0, |last| last + 1), "torn at {from}");
        std::fs::remove_dir_all(&torn).expect("removed");
    }
}

#[tokio::test]
async fn a_lost_journal_is_not_an_empty_log() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path(), 5).await;
    for (journal, _) in files(folder.path(), ".jnl") {
        std::fs::remove_file(journal).expect("removed");
    }
    let refused = open(folder.path(), Sync::Always).map(drop).expect_err("records are missing");
    assert_eq!(
        refused.to_string(),
        "audit partition 0 is damaged at offset 0: 5 acknowledged records are missing"
    );
}
