//! What readers and the writer share: every stream's records and how far they are durable.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tokio::sync::watch;

use super::{
    ends::Known,
    value::{key, offset, unchecked},
};
use crate::{
    error::LogError,
    record::{Position, Stored},
    topic::Topic,
    wire,
};

/// What the store keeps in memory of each stream's writes before they become a table.
const MEMTABLE_BYTES: u64 = 4 << 20;

/// The streams of one folder.
pub(super) struct Streams {
    streams: Vec<Stream>,
    stopped: AtomicBool,
    sync_failed: AtomicBool,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}

/// One topic: its records, the durable ends of its partitions, and who waits for growth.
pub(super) struct Stream {
    pub topic: Topic,
    pub records: Keyspace,
    pub ends: Vec<AtomicU64>,
    pub grown: watch::Sender<u64>,
}

impl Streams {
    /// Opens every stream, and compares its ends with those that were `known`.
    pub(super) fn open(
        database: &Database,
        folder: &Path,
        known: &Known,
    ) -> Result<Self, LogError> {
        let opened = |source: fjall::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let mut streams = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let records = database.keyspace(topic.name(), options).map_err(opened)?;
            let mut ends = Vec::new();
            for partition in 0..topic.partitions() {
                let end = last_end(&records, partition).map_err(opened)?;
                let expected = known.get(&(topic, partition)).copied().unwrap_or(0);
                if end < expected {
                    let reason = format!("{} acknowledged records are missing", expected - end);
                    return Err(LogError::Damaged { topic, partition, offset: end, reason });
                }
                ends.push(AtomicU64::new(end));
            }
            streams.push(Stream { topic, records, ends, grown: watch::Sender::new(0) });
        }
        let (stopped, sync_failed) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { streams, stopped, sync_failed })
    }

    pub(super) fn stream(&self, topic: Topic) -> &Stream {
        // The streams lie in the order of the topics.
        &self.streams[topic as usize]
    }

    /// Lets nothing be appended any more.
    pub(super) fn stop(&self) {
        self.sync_failed.store(true, Ordering::Release);
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Why nothing is taken.
    pub(super) fn stopped(&self) -> LogError {
        LogError::Stopped { sync_failed: self.sync_failed.load(Ordering::Acquire) }
    }

    pub(super) fn end(&self, topic: Topic, partition: u32) -> u64 {
        let ends = &self.stream(topic).ends;
        ends.get(partition as usize).map_or(0, |end| end.load(Ordering::Acquire))
    }

    /// The ends of all partitions.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Topic, u32, u64)> {
        self.streams.iter().flat_map(|stream| {
            let ends = (0_u32..).zip(&stream.ends);
            ends.map(|(partition, end)| (stream.topic, partition, end.load(Ordering::Acquire)))
        })
    }

    pub(super) fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Result<Vec<Stored>, LogError> {
        // Only what is durable is seen.
        let end = self.end(topic, partition).min(from.saturating_add(most as u64));
        if from >= end {
            return Ok(Vec::new());
        }
        let engine = |source| LogError::Engine { attempted: "read", topic, source };
        let damaged = |offset, reason: &str| LogError::Damaged {
            topic,
            partition,
            offset,
            reason: reason.into(),
        };
        let range = key(partition, from)..key(partition, end);
        let mut stored = Vec::with_capacity(usize::try_from(end - from).unwrap_or(0));
        for (guard, offset) in self.stream(topic).records.range(range).zip(from..) {
            let (found, value) = guard.into_inner().map_err(engine)?;
            if found.as_ref() != key(partition, offset) {
                return Err(damaged(offset, "the record is missing"));
            }
            let bytes =
                unchecked(&found, &value).ok_or_else(|| damaged(offset, "the checksum differs"))?;
            let record =
                wire::decode(bytes).map_err(|error| damaged(offset, &error.to_string()))?;
            stored.push(Stored { position: Position { partition, offset }, record });
        }
        if stored.len() as u64 == end - from {
            return Ok(stored);
        }
        Err(damaged(from + stored.len() as u64, "the record is missing"))
    }
}

fn last_end(records: &Keyspace, partition: u32) -> Result<u64, fjall::Error> {
    let Some(last) = records.prefix(partition.to_be_bytes()).next_back() else { return Ok(0) };
    Ok(offset(&last.key()?).map_or(0, |offset| offset + 1))
}
