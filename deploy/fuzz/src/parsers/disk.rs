//! What is read from disks, which may have been damaged, or written by somebody else.

use std::{
    fs,
    path::{Component, Path},
};

use authoriser::index::row;
use chrono::DateTime;
use ingest::{
    backup::{
        self, BackupError,
        manifest::{self, Segment},
        segment,
    },
    log::embedded,
};

use super::golden;
use crate::kept;

/// Length of a block's key.
const KEY_BYTES: usize = 12;
/// What a file of records begins with, and a frame of `zstd` whose one block is stored as it is.
const BEGINNING: &[u8] = b"avisrec1\x28\xb5\x2f\xfd\x00\x58";
/// The most that such a block has.
const STORED_BYTES: usize = 128 << 10;

/// Rows of before blocks, which are a record each, behind a key; and blocks.
pub(super) fn blocks() -> Vec<Vec<u8>> {
    let rows = golden().into_iter().map(|record| [vec![0; KEY_BYTES], record].concat());
    rows.chain(kept::of("blocks")).collect()
}

/// A block's key, and what stands behind its checksum.
pub(super) fn read_block(input: &[u8]) -> Result<bool, String> {
    let Some((key, bytes)) = input.split_at_checked(KEY_BYTES) else { return Ok(false) };
    let value = [&blake3::hash(input).as_bytes()[..8], bytes].concat();
    let first = key.last_chunk().map_or(0, |offset| u64::from_be_bytes(*offset));
    let mut before = None;
    let read = embedded::each_of_row(key, &value, |offset, _| {
        if offset < first {
            before = Some(offset);
        }
    });
    match before {
        Some(offset) => Err(format!("a record at {offset} in a block from {first} on")),
        None => Ok(read.is_ok()),
    }
}

/// A file of records that covers the offsets from 10 to 1000: how many it is said to have, then they as
/// they are before compression.
pub(super) fn read_segment(input: &[u8]) -> Result<bool, String> {
    let Some((records, plain)) = input.split_first() else { return Ok(false) };
    let plain = &plain[..plain.len().min(STORED_BYTES)];
    // Its length, and that it is the last of the frame.
    let head = ((plain.len() << 3) | 1).to_le_bytes();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("records");
    let written = fs::write(path, [BEGINNING, &head[..3], plain].concat());
    written.map_err(|error| error.to_string())?;
    let segment = Segment {
        file: "records".into(),
        first: 10,
        end: 1_000,
        records: u64::from(*records),
        bytes: 0,
        newest: DateTime::default(),
        checksum: String::new(),
    };
    let (mut next, mut fault) = (segment.first, None);
    let read = segment::each(folder.path(), &segment, |offset, _| {
        if offset < next || offset >= segment.end {
            fault = Some(offset);
        }
        next = offset + 1;
        Ok::<_, BackupError>(true)
    });
    match fault {
        Some(offset) => Err(format!("a record at {offset} is out of order")),
        None => Ok(read.is_ok()),
    }
}

/// A backup's manifest, of which all is read but its checksum.
pub(super) fn read_manifest(input: &[u8]) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let checksum = blake3::hash(input).to_hex();
    let written =
        fs::write(folder.path().join("manifest"), [checksum.as_bytes(), b"\n", input].concat());
    written.map_err(|error| error.to_string())?;
    let Ok(read) = backup::read(folder.path()) else { return Ok(false) };
    let is_inside =
        |file: &str| Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    match read.files().find(|file| !is_inside(file)) {
        Some(file) => Err(format!("{file} is outside of the backup")),
        None => Ok(read.format == manifest::FORMAT && read.records() < u64::MAX),
    }
}

/// Rows of the index: what a key did, whose a counter is, and whose points are.
pub(super) fn read_row(input: &[u8]) -> Result<bool, String> {
    let used = row::used(input);
    let counter = row::counter_key(input);
    let points = row::points_key(input);
    let is_same = used.as_ref().is_none_or(|used| row::of_used(used)[..] == *input)
        && counter.as_ref().is_none_or(|key| row::counter_key(&row::counter(key)) == counter)
        && points.as_ref().is_none_or(|(who, benefit)| row::points(*who, benefit) == input);
    match is_same {
        true => Ok(used.is_some() || counter.is_some() || points.is_some()),
        false => Err(format!("{used:?}, {counter:?} or {points:?} is written otherwise")),
    }
}
