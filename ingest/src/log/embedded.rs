//! The embedded log, on `fjall`: one journal, one sync for all that arrived meanwhile.
//!
//! One thread writes. It takes every batch that is waiting, writes them as one atomic batch with one
//! sync, and only then lets readers see them and tells the callers. A failed sync stops the log for
//! good: what the disk then holds is unknown, so nothing is tried again and called durable.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Instant,
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{oneshot, watch};

use super::{Log, Pending};
use crate::{
    error::LogError,
    metrics::Metrics,
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
    wire,
};

/// Batches that may wait for the writer; more make their callers wait.
const QUEUE: usize = 1_024;
/// Records that the writer puts under one sync at most.
const GROUP: usize = 8_192;
/// What fjall may keep in memory: blocks read, and each stream's writes not yet in a table.
const BLOCK_CACHE_BYTES: u64 = 16 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
const CHECKSUM_BYTES: usize = 8;

/// Whether what was written is synced before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sync {
    /// Always; the only setting for data that matters.
    #[default]
    Always,
    /// Never: for the test that shows what a power cut does then.
    Never,
}

/// Streams in a folder of this machine.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    queue: Option<mpsc::SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    streams: Vec<Stream>,
    stopped: AtomicBool,
    sync_failed: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// One topic: its records, the durable ends of its partitions, and who waits for growth.
struct Stream {
    topic: Topic,
    records: Keyspace,
    ends: Vec<AtomicU64>,
    grown: watch::Sender<u64>,
}

/// A batch on its way to the writer, already encoded.
struct Job {
    topic: Topic,
    /// Partition and wire form of each record.
    records: Vec<(u32, Vec<u8>)>,
    reply: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, and makes it where there is none.
    ///
    /// # Errors
    /// Where another process has the folder, or it cannot be read.
    pub fn open(folder: &Path, sync: Sync, metrics: Metrics) -> Result<Self, LogError> {
        let opened = |source: fjall::Error| match source {
            fjall::Error::Locked => LogError::InUse { path: folder.to_path_buf() },
            source => LogError::Open { path: folder.to_path_buf(), source: Box::new(source) },
        };
        let database = Database::builder(folder)
            .cache_size(BLOCK_CACHE_BYTES)
            .worker_threads(1)
            .open()
            .map_err(opened)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let mut streams = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let records = database.keyspace(topic.name(), options).map_err(opened)?;
            let ends = (0..topic.partitions()).map(|partition| {
                last_end(&records, partition).map(AtomicU64::new)
            });
            let ends = ends.collect::<Result<_, _>>().map_err(opened)?;
            streams.push(Stream { topic, records, ends, grown: watch::Sender::new(0) });
        }
        let shared = Arc::new(Shared {
            streams,
            stopped: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
        });
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let writer = Writer { shared: Arc::clone(&shared), database, sync, metrics };
        let spawned = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(&jobs))
            .map_err(|source| LogError::Open {
                path: PathBuf::from(folder),
                source: Box::new(source),
            })?;
        Ok(Self { shared, queue: Some(queue), writer: Some(spawned) })
    }

    async fn send(&self, topic: Topic, records: Vec<Record>) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = topic.partitions();
        let encoded = records.iter().map(|record| {
            (partition_of(&record.key, partitions), wire::encode(record))
        });
        let (reply, answer) = oneshot::channel();
        let mut job = Job { topic, records: encoded.collect(), reply };
        let queue = self.queue.as_ref().ok_or_else(|| self.shared.stopped())?;
        loop {
            match queue.try_send(job) {
                Ok(()) => break,
                // Waiting without blocking the runtime's thread; the writer empties the queue with
                // every sync.
                Err(mpsc::TrySendError::Full(back)) => {
                    job = back;
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(self.shared.stopped()),
            }
        }
        answer.await.map_err(|_| self.shared.stopped())?
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has stopped the log; there is nothing left to wait for.
            let _ = writer.join();
        }
    }
}

impl Log for EmbeddedLog {
    fn append(&self, topic: Topic, records: Vec<Record>) -> Pending<'_, Vec<Position>> {
        Box::pin(self.send(topic, records))
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        Box::pin(std::future::ready(self.shared.read(topic, partition, from, most)))
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        Ok(self.shared.end(topic, partition))
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.shared.stream(topic).grown.subscribe()
    }
}

impl Shared {
    fn stream(&self, topic: Topic) -> &Stream {
        // The streams lie in the order of the topics.
        &self.streams[topic as usize]
    }

    fn stopped(&self) -> LogError {
        LogError::Stopped { sync_failed: self.sync_failed.load(Ordering::Acquire) }
    }

    fn end(&self, topic: Topic, partition: u32) -> u64 {
        let ends = &self.stream(topic).ends;
        ends.get(partition as usize).map_or(0, |end| end.load(Ordering::Acquire))
    }

    fn read(
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
        let range = key(partition, from)..key(partition, end);
        let mut stored = Vec::with_capacity(usize::try_from(end - from).unwrap_or(0));
        for (guard, offset) in self.stream(topic).records.range(range).zip(from..) {
            let (found, value) = guard.into_inner().map_err(engine)?;
            let damaged = |reason: &str| LogError::Damaged {
                topic,
                partition,
                offset,
                reason: reason.into(),
            };
            if found.as_ref() != key(partition, offset) {
                return Err(damaged("the record is missing"));
            }
            let bytes = unchecked(&found, &value).ok_or_else(|| damaged("the checksum differs"))?;
            let record = wire::decode(bytes).map_err(|error| damaged(&error.to_string()))?;
            stored.push(Stored { position: Position { partition, offset }, record });
        }
        if stored.len() as u64 == end - from {
            return Ok(stored);
        }
        let offset = from + stored.len() as u64;
        let reason = "the record is missing".into();
        Err(LogError::Damaged { topic, partition, offset, reason })
    }
}

struct Writer {
    shared: Arc<Shared>,
    database: Database,
    sync: Sync,
    metrics: Metrics,
}

impl Writer {
    fn run(&self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            let mut records = group[0].records.len();
            while records < GROUP {
                let Ok(next) = jobs.try_recv() else { break };
                records += next.records.len();
                group.push(next);
            }
            if self.shared.stopped.load(Ordering::Acquire) {
                group.into_iter().for_each(|job| {
                    // Who does not wait any more needs no answer.
                    let _ = job.reply.send(Err(self.shared.stopped()));
                });
                continue;
            }
            self.write(group);
        }
    }

    /// Writes a group as one atomic batch with one sync, then shows and acknowledges it.
    fn write(&self, mut group: Vec<Job>) {
        let started = Instant::now();
        let mut batch = self.database.batch();
        if self.sync == Sync::Always {
            batch = batch.durability(Some(PersistMode::SyncAll));
        }
        let mut ends: std::collections::HashMap<(Topic, u32), u64> = Default::default();
        let mut positions = Vec::with_capacity(group.len());
        for job in &mut group {
            let stream = self.shared.stream(job.topic);
            let mut of_job = Vec::with_capacity(job.records.len());
            for (partition, bytes) in std::mem::take(&mut job.records) {
                let end = ends
                    .entry((job.topic, partition))
                    .or_insert_with(|| self.shared.end(job.topic, partition));
                let key = key(partition, *end);
                batch.insert(&stream.records, key, checked(&key, &bytes));
                of_job.push(Position { partition, offset: *end });
                *end += 1;
            }
            positions.push(of_job);
        }
        let written = batch.commit();
        self.metrics.synced(started.elapsed(), positions.iter().map(Vec::len).sum());
        match written {
            Ok(()) => self.acknowledge(group, positions, &ends),
            Err(error) => self.stop(group, &error),
        }
    }

    fn acknowledge(
        &self,
        group: Vec<Job>,
        positions: Vec<Vec<Position>>,
        ends: &std::collections::HashMap<(Topic, u32), u64>,
    ) {
        for ((topic, partition), end) in ends {
            let stream = self.shared.stream(*topic);
            if let Some(known) = stream.ends.get(*partition as usize) {
                known.store(*end, Ordering::Release);
            }
        }
        for (job, positions) in group.into_iter().zip(positions) {
            let stream = self.shared.stream(job.topic);
            self.metrics.appended(stream.topic, positions.len());
            stream.grown.send_modify(|count| *count += positions.len() as u64);
            // Who does not wait any more needs no answer; the records are there all the same.
            let _ = job.reply.send(Ok(positions));
        }
    }

    fn stop(&self, group: Vec<Job>, error: &fjall::Error) {
        tracing::error!(%error, "a write to the log failed; nothing is taken any more");
        self.shared.sync_failed.store(true, Ordering::Release);
        self.shared.stopped.store(true, Ordering::Release);
        for job in group {
            let _ = job.reply.send(Err(self.shared.stopped()));
        }
    }
}

fn key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn last_end(records: &Keyspace, partition: u32) -> Result<u64, fjall::Error> {
    let Some(last) = records.prefix(partition.to_be_bytes()).next_back() else { return Ok(0) };
    let key = last.key()?;
    let offset = key.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    Ok(offset.map_or(0, |offset| offset + 1))
}

/// The first bytes of a hash of key and value: a record that moved or changed is noticed.
fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

fn checked(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + bytes.len());
    value.extend_from_slice(&checksum(key, bytes));
    value.extend_from_slice(bytes);
    value
}

fn unchecked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (found, bytes) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*found == checksum(key, bytes)).then_some(bytes)
}
