//! What readers and the writer share: every stream's blocks and how far they are durable.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, Readable, Slice,
    compaction::Leveled, config::CompressionPolicy,
};
use tokio::sync::watch;

use super::{
    block::{Block, KEY_BYTES, Unpacker, key, offset},
    ends::Known,
    space::{Refused, Space},
};
use crate::{
    error::LogError,
    log::READ_BATCH,
    record::{Position, Stored},
    topic::Topic,
    wire,
};

/// What the store keeps in memory of each stream's writes before they become a table.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// How much it writes of a table or a file before it syncs and begins the next: appends that sync
/// meanwhile wait for all of it to be on the disk, as they share the file system's journal.
const SYNCED_AT_ONCE: u64 = 4 << 20;

/// Why a partition cannot be read where it has no rows although it reaches further.
pub(super) const MISSING: &str = "records are missing";

/// The streams of one folder.
pub(super) struct Streams {
    database: Database,
    space: Space,
    streams: Vec<Stream>,
    sync_failed: AtomicBool,
    /// Held while the ends of one write are shown, so that they are seen all or not at all by
    /// whoever asks for all of them.
    showing: Mutex<()>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}

/// One topic: its blocks, how far its partitions are durable, and who waits for growth.
pub(super) struct Stream {
    pub topic: Topic,
    pub blocks: Keyspace,
    pub partitions: Vec<Partition>,
    pub grown: watch::Sender<u64>,
}

/// What is there of one partition.
pub(super) struct Partition {
    /// The first offset that is left.
    pub start: AtomicU64,
    /// The offset of the next record.
    pub end: AtomicU64,
    /// The newest record time, in microseconds since 1970.
    pub latest: AtomicI64,
}

/// Makes a partition of what the store has of it, with the end that it was known to reach.
pub(super) type OpenPartition = fn(&Keyspace, Topic, u32, u64) -> Result<Partition, LogError>;

/// A row of the store.
pub(super) struct Row {
    pub key: Slice,
    pub value: Slice,
}

impl Stream {
    pub(super) fn partition(&self, partition: u32) -> &Partition {
        &self.partitions[partition as usize]
    }
}

impl Streams {
    /// Opens every stream, each partition as `partition` does with the end that was `known`.
    pub(super) fn open(
        database: &Database,
        folder: &Path,
        known: &Known,
        space: Space,
        partition: OpenPartition,
    ) -> Result<Self, LogError> {
        let opened = |source: fjall::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        // Blocks are written once, compressed by us, and lie beside the tree of their keys: small
        // ones, too, which merges of the tree would copy again and again.
        let beside = KvSeparationOptions::default()
            .compression(fjall::CompressionType::None)
            .separation_threshold(1)
            .file_target_size(SYNCED_AT_ONCE);
        let tree = Arc::new(Leveled::default().with_table_target_size(SYNCED_AT_ONCE));
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .with_kv_separation(Some(beside.clone()))
                .compaction_strategy(tree.clone())
        };
        let mut streams = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let blocks = database.keyspace(topic.name(), options).map_err(opened)?;
            let partitions = (0..topic.partitions()).map(|number| {
                let expected = known.get(&(topic, number)).copied().unwrap_or(0);
                partition(&blocks, topic, number, expected)
            });
            let partitions = partitions.collect::<Result<_, _>>()?;
            streams.push(Stream { topic, blocks, partitions, grown: watch::Sender::new(0) });
        }
        let (sync_failed, showing) = (AtomicBool::new(false), Mutex::new(()));
        Ok(Self { database: database.clone(), space, streams, sync_failed, showing })
    }

    pub(super) fn stream(&self, topic: Topic) -> &Stream {
        // The streams lie in the order of the topics.
        &self.streams[topic as usize]
    }

    /// Lets nothing be appended any more.
    pub(super) fn stop(&self) {
        self.sync_failed.store(true, Ordering::Release);
    }

    /// Why nothing is taken any more.
    pub(super) fn stopped(&self) -> Refused {
        Refused::Stopped { sync_failed: self.sync_failed.load(Ordering::Acquire) }
    }

    /// Whether so many bytes would be taken.
    pub(super) fn takes(&self, bytes: usize) -> Result<(), Refused> {
        self.goes_on().and_then(|()| self.space.has_room_for(bytes))
    }

    /// Whether what is not kept any more would be let go of.
    pub(super) fn lets_go(&self) -> Result<(), Refused> {
        self.goes_on().and_then(|()| self.space.has_room_to_remove())
    }

    /// Whether anything is taken at all.
    pub(super) fn goes_on(&self) -> Result<(), Refused> {
        if self.sync_failed.load(Ordering::Acquire) { Err(self.stopped()) } else { Ok(()) }
    }

    pub(super) fn end(&self, topic: Topic, partition: u32) -> u64 {
        let partition = self.stream(topic).partitions.get(partition as usize);
        partition.map_or(0, |partition| partition.end.load(Ordering::Acquire))
    }

    pub(super) fn start(&self, topic: Topic, partition: u32) -> u64 {
        let partition = self.stream(topic).partitions.get(partition as usize);
        partition.map_or(0, |partition| partition.start.load(Ordering::Acquire))
    }

    /// The newest record time of a partition, in microseconds since 1970.
    pub(super) fn latest(&self, topic: Topic, partition: u32) -> i64 {
        self.stream(topic).partition(partition).latest.load(Ordering::Acquire)
    }

    /// The keys of a partition's blocks, in order.
    pub(super) fn keys(
        &self,
        topic: Topic,
        partition: u32,
    ) -> impl Iterator<Item = Result<[u8; KEY_BYTES], LogError>> {
        let engine = move |source| LogError::Engine { attempted: "read", topic, source };
        let rows = self.stream(topic).blocks.prefix(partition.to_be_bytes());
        rows.map(move |guard| {
            let key = guard.key().map_err(engine)?;
            key.as_ref()
                .try_into()
                .map_err(|_| LogError::damaged(topic, partition, 0, "a key is not one of ours"))
        })
    }

    /// Where the newest blocks begin that take at most so many bytes together; one at least.
    pub(super) fn newest(&self, topic: Topic, partition: u32, bytes: u64) -> Result<u64, LogError> {
        let engine = |source| LogError::Engine { attempted: "read", topic, source };
        let blocks = &self.stream(topic).blocks;
        let (view, prefix) = (self.database.snapshot(), partition.to_be_bytes());
        // A block's size is told without reading it, and its key by another walk.
        let sizes = view.prefix(blocks, prefix).rev();
        let (mut taken, mut begins) = (0, self.end(topic, partition));
        for (size, row) in sizes.zip(view.prefix(blocks, prefix).rev()) {
            taken += u64::from(size.size().map_err(engine)?);
            if taken > bytes {
                break;
            }
            begins = offset(&row.key().map_err(engine)?).unwrap_or(0);
        }
        Ok(begins)
    }

    /// Why the store cannot tell the newest row of a partition, where it cannot.
    pub(super) fn newest_error(&self, topic: Topic, partition: u32) -> Option<fjall::Error> {
        let newest = self.stream(topic).blocks.prefix(partition.to_be_bytes()).next_back();
        newest.and_then(|row| row.key().err())
    }

    /// The ends of all partitions.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Topic, u32, u64)> {
        self.streams.iter().flat_map(|stream| {
            let ends = (0_u32..).zip(&stream.partitions);
            ends.map(|(number, partition)| {
                (stream.topic, number, partition.end.load(Ordering::Acquire))
            })
        })
    }

    /// While it is held no ends change.
    pub(super) fn showing(&self) -> MutexGuard<'_, ()> {
        self.showing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ends of all partitions between two writes.
    pub(super) fn cut(&self) -> Vec<(Topic, u32, u64)> {
        let _showing = self.showing();
        self.ends().collect()
    }

    pub(super) fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let (stored, read) = self.read_up_to(topic, partition, from, most);
        read.map(|()| stored)
    }

    /// As [`Self::read`], with what stands before that which cannot be read.
    pub(super) fn read_up_to(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> (Vec<Stored>, Result<(), LogError>) {
        let mut stored = Vec::with_capacity(most.min(1_024));
        let read = self.each(topic, partition, from, most, |offset, bytes| {
            let record = wire::decode(bytes)
                .map_err(|error| LogError::unread(topic, partition, offset, error))?;
            stored.push(Stored { position: Position { partition, offset }, record });
            Ok(())
        });
        (stored, read)
    }

    /// Tells offset and bytes of at most so many records from `from` on.
    pub(super) fn each(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        // Only what is durable is seen.
        let end = self.end(topic, partition);
        let start = self.start(topic, partition);
        if from < start {
            return Err(LogError::Gone { topic, partition, from, start });
        }
        let missing = |at| match self.start(topic, partition) {
            // They went between the look at the start and the one at the blocks.
            start if from < start => LogError::Gone { topic, partition, from, start },
            _ => LogError::damaged(topic, partition, at, MISSING),
        };
        let (mut next, mut left, mut unpacker) = (from, most, Unpacker::default());
        for row in self.rows(topic, partition, from, end)? {
            if left == 0 {
                break;
            }
            let row = row?;
            let damaged = |reason| LogError::damaged(topic, partition, next, reason);
            let block = Block::parse(&row.key, &row.value).map_err(damaged)?;
            if block.first() > next {
                return Err(missing(next));
            }
            let mut records = block.records(&mut unpacker).map_err(damaged)?;
            while let Some(record) = records.next() {
                let (offset, bytes) = record.map_err(damaged)?;
                // A disk may have lost that a block was removed when another took its records up.
                if offset < next {
                    continue;
                }
                if offset >= end || left == 0 {
                    break;
                }
                each(offset, bytes)?;
                left -= 1;
            }
            next = next.max(block.end());
        }
        if left > 0 && next < end {
            return Err(missing(next));
        }
        Ok(())
    }

    /// The rows of the blocks that hold offsets from `from` to before `end`, in order.
    pub(super) fn rows(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        end: u64,
    ) -> Result<impl Iterator<Item = Result<Row, LogError>>, LogError> {
        let engine = move |source| LogError::Engine { attempted: "read", topic, source };
        let blocks = &self.stream(topic).blocks;
        // One view for both: blocks may be put together meanwhile.
        let view = self.database.snapshot();
        let before = view.range(blocks, key(partition, 0)..=key(partition, from)).next_back();
        let first = match before.filter(|_| from < end) {
            Some(guard) => {
                guard.key().map_err(engine)?.as_ref().try_into().unwrap_or([0; KEY_BYTES])
            }
            None => key(partition, from),
        };
        let rows = view.range(blocks, first..key(partition, end.max(from)));
        Ok(rows.map(move |guard| {
            let (key, value) = guard.into_inner().map_err(engine)?;
            Ok(Row { key, value })
        }))
    }

    /// The first offset of a record that was recorded at or after an instant, in microseconds since
    /// 1970; the end where there is none.
    pub(super) fn at(&self, topic: Topic, partition: u32, instant: i64) -> Result<u64, LogError> {
        let (start, end) = (self.start(topic, partition), self.end(topic, partition));
        // The newest record time up to a block's end only ever rises, so blocks are halved.
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(row) = self.rows(topic, partition, middle, end)?.next() else { break };
            let row = row?;
            let damaged = |reason| LogError::damaged(topic, partition, middle, reason);
            let block = Block::parse(&row.key, &row.value).map_err(damaged)?;
            match block.latest() < instant {
                // Of what a disk has lost there are no blocks.
                true if block.end() <= low => break,
                true => low = block.end(),
                // What stood before it was let go of meanwhile, or it is lost, which is told.
                false if block.first() > middle => {
                    low = self.start(topic, partition);
                    break;
                }
                false => high = block.first().max(low),
            }
        }
        self.first_since(topic, partition, low.min(end), instant)
    }

    /// The first record from `from` on that was recorded at or after an instant. It stands in the
    /// first block, unless a clock was ahead and the register has since let go of what was recorded
    /// by it: then what follows is looked through, so many at once, up to the first.
    fn first_since(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        instant: i64,
    ) -> Result<u64, LogError> {
        let end = self.end(topic, partition);
        let (mut next, mut found) = (from, None);
        while next < end && found.is_none() {
            let before = next;
            let read = self.each(topic, partition, before, READ_BATCH, |offset, bytes| {
                let recorded_at = wire::recorded_at(bytes)
                    .map_err(|error| LogError::unread(topic, partition, offset, error))?;
                if found.is_none() && recorded_at >= instant {
                    found = Some(offset);
                }
                next = offset + 1;
                Ok(())
            });
            // What cannot be read behind it is told to whoever reads on.
            if found.is_none() {
                read?;
            }
            if next == before {
                break;
            }
        }
        Ok(found.unwrap_or(end))
    }
}

impl Partition {
    /// What the store has of a partition that was known to reach to `expected`; an error where it has
    /// less.
    pub(super) fn open(
        blocks: &Keyspace,
        topic: Topic,
        partition: u32,
        expected: u64,
    ) -> Result<Self, LogError> {
        let engine = |source| LogError::Engine { attempted: "read", topic, source };
        let (mut start, mut end, mut latest) = (0, 0, i64::MIN);
        let mut rows = blocks.prefix(partition.to_be_bytes());
        if let Some(first) = rows.next() {
            let (key, _) = first.into_inner().map_err(engine)?;
            start = offset(&key).unwrap_or(0);
        }
        if let Some(last) = blocks.prefix(partition.to_be_bytes()).next_back() {
            let (key, value) = last.into_inner().map_err(engine)?;
            let first = offset(&key).unwrap_or(0);
            let block = Block::parse(&key, &value)
                .map_err(|reason| LogError::damaged(topic, partition, first, reason))?;
            (end, latest) = (block.end(), block.latest());
        }
        if end < expected {
            let reason = format!("{} acknowledged records are missing", expected - end);
            return Err(LogError::damaged(topic, partition, end, &reason));
        }
        Ok(Self { start: start.into(), end: end.into(), latest: latest.into() })
    }

    /// What a partition had, as far as that can be told; what it has not any more is an error for
    /// whoever reads as far.
    pub(super) fn told(
        blocks: &Keyspace,
        _: Topic,
        partition: u32,
        expected: u64,
    ) -> Result<Self, LogError> {
        let rows = || blocks.prefix(partition.to_be_bytes());
        let first = rows().next().and_then(|row| row.key().ok());
        let start = first.and_then(|key| offset(&key)).unwrap_or(0);
        let last = rows().next_back().and_then(|row| row.key().ok());
        // A row that cannot be read had a record at least.
        let begun = last.and_then(|key| offset(&key)).map_or(0, |first| first.saturating_add(1));
        let whole = rows().next_back().and_then(|row| row.into_inner().ok());
        let whole =
            whole.and_then(|(key, value)| Block::parse(&key, &value).ok().map(|block| block.end()));
        let end = expected.max(begun).max(whole.unwrap_or(0));
        Ok(Self { start: start.into(), end: end.into(), latest: i64::MIN.into() })
    }
}
