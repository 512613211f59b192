//! The one thread that writes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

use fjall::{Database, OwnedWriteBatch, PersistMode};
use prost::bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Sync,
    block::{Builder, KEY_BYTES},
    ends::Ends,
    space::Refused,
    streams::{Partition, Streams},
};
use crate::{error::LogError, metrics::Metrics, record::Position, spread, topic::Topic};

/// Records and their bytes that the writer puts under one sync, until it is one batch above.
const GROUP_RECORDS: usize = 8_192;
const GROUP_BYTES: usize = 8 << 20;

/// A record on its way to the writer, already encoded.
#[derive(Clone, Debug)]
pub(in crate::log) struct Encoded {
    pub partition: u32,
    /// Where it has to stand, when that is given: a copy of another log keeps its offsets.
    pub offset: Option<u64>,
    /// In microseconds since 1970.
    pub recorded_at: i64,
    /// Counted, not copied, by whoever keeps them to append them again.
    pub bytes: Bytes,
}

/// A block as the store gets it.
type Row = ([u8; KEY_BYTES], Vec<u8>);

/// What the writer is asked to do.
pub(super) enum Job {
    /// To append a batch and tell where it stands.
    Append(Append),
    /// To put other rows in the place of some: what retention and compaction leave.
    Replace(Replace),
}

/// A batch to append.
pub(super) struct Append {
    pub topic: Topic,
    pub records: Vec<Encoded>,
    pub reply: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

/// Rows of one partition to be put in the place of others. Nothing is synced: what a crash undoes is
/// done again.
pub(super) struct Replace {
    pub topic: Topic,
    pub partition: u32,
    pub removed: Vec<[u8; KEY_BYTES]>,
    pub put: Vec<Row>,
    /// The first offset that is left, where that changes.
    pub start: Option<u64>,
    pub reply: oneshot::Sender<Result<(), LogError>>,
}

impl Append {
    fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.bytes.len()).sum()
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub streams: Arc<Streams>,
    pub database: Database,
    pub ends: Ends,
    pub sync: Sync,
    pub metrics: Metrics,
}

/// The blocks of one partition that a group fills.
struct Filling {
    builder: Builder,
    full: Vec<Builder>,
}

impl Filling {
    fn after(partition: &Partition) -> Self {
        let (end, latest) =
            (partition.end.load(Ordering::Acquire), partition.latest.load(Ordering::Acquire));
        Self { builder: Builder::new(end, latest), full: Vec::new() }
    }

    /// Puts a record at the end, or where it has to stand; its offset.
    fn push(&mut self, record: &Encoded) -> u64 {
        debug_assert!(record.offset.is_none_or(|offset| offset >= self.builder.end()), "rising");
        let offset = record.offset.unwrap_or(0).max(self.builder.end());
        while !self.builder.push(offset, record.recorded_at, &record.bytes) {
            let next = self.builder.next(offset);
            self.full.push(std::mem::replace(&mut self.builder, next));
        }
        offset
    }
}

type Fillings = HashMap<(Topic, u32), Filling>;

impl Writer {
    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        for (topic, partition, end) in self.streams.ends() {
            self.metrics.ends_at(topic, partition, end);
        }
        let mut next = None;
        while let Some(job) = next.take().or_else(|| jobs.recv().ok()) {
            match job {
                Job::Append(first) => next = self.take_group(first, jobs),
                Job::Replace(replace) => self.replace(replace),
            }
        }
        // What it was told not to sync it has then, for the next start.
        if let Err(error) = self.database.persist(PersistMode::SyncAll) {
            tracing::warn!(%error, "the log is not synced at its end");
        }
        if let Err(error) = self.ends.sync() {
            tracing::warn!(%error, "the log's ends are not synced; its records are");
        }
    }

    /// Writes a batch with all that came meanwhile; what came and is not of the group.
    fn take_group(&mut self, first: Append, jobs: &mpsc::Receiver<Job>) -> Option<Job> {
        let (mut records, mut bytes) = (first.records.len(), first.bytes());
        let (mut group, mut next) = (vec![first], None);
        while records < GROUP_RECORDS && bytes < GROUP_BYTES {
            match jobs.try_recv() {
                Ok(Job::Append(later)) => {
                    records += later.records.len();
                    bytes += later.bytes();
                    group.push(later);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.streams.takes(bytes) {
            Ok(()) => self.write(group),
            Err(refused) => {
                self.metrics.not_written(refused.code(), group.len());
                refuse(group, &refused);
            }
        }
        next
    }

    /// Writes a group as one atomic batch with one sync, then shows and acknowledges it.
    fn write(&mut self, group: Vec<Append>) {
        let started = Instant::now();
        let mut fillings = Fillings::new();
        let positions: Vec<_> =
            group.iter().map(|append| self.fill(append, &mut fillings)).collect();
        let (mut ends, mut blocks) = (HashMap::new(), Vec::new());
        for ((topic, partition), Filling { builder, full }) in fillings {
            ends.insert((topic, partition), (builder.end(), builder.latest()));
            let all = full.into_iter().chain([builder]);
            blocks.extend(all.map(|block| (topic, partition, block)));
        }
        let mut batch = self.batch();
        for (topic, (key, value)) in packed(blocks) {
            batch.insert(&self.streams.stream(topic).blocks, key, value);
        }
        let written = batch.commit();
        self.metrics.synced(started.elapsed(), positions.iter().map(Vec::len).sum());
        if let Err(error) = written {
            return self.stop(group, &error);
        }
        if let Err(error) = self.note(&ends) {
            return self.stop(group, &fjall::Error::Io(error));
        }
        self.acknowledge(group, positions);
    }

    fn batch(&self) -> OwnedWriteBatch {
        let batch = self.database.batch();
        match self.sync {
            Sync::Always => batch.durability(Some(PersistMode::SyncData)),
            Sync::Never => batch,
        }
    }

    fn fill(&self, append: &Append, fillings: &mut Fillings) -> Vec<Position> {
        let topic = append.topic;
        let records = append.records.iter().map(|record| {
            let partition = record.partition;
            let filling = fillings
                .entry((topic, partition))
                .or_insert_with(|| Filling::after(self.streams.stream(topic).partition(partition)));
            Position { partition, offset: filling.push(record) }
        });
        records.collect()
    }

    /// Notes the ends beside the store, and then shows what is durable to readers.
    fn note(&mut self, ends: &HashMap<(Topic, u32), (u64, i64)>) -> std::io::Result<()> {
        let now = self.streams.ends().map(|(topic, partition, end)| {
            (topic, partition, ends.get(&(topic, partition)).map_or(end, |(end, _)| *end))
        });
        self.ends.write(now)?;
        let _showing = self.streams.showing();
        for ((topic, partition), (end, latest)) in ends {
            let known = self.streams.stream(*topic).partition(*partition);
            known.latest.store(*latest, Ordering::Release);
            known.end.store(*end, Ordering::Release);
            self.metrics.ends_at(*topic, *partition, *end);
        }
        Ok(())
    }

    fn acknowledge(&self, group: Vec<Append>, positions: Vec<Vec<Position>>) {
        let mut appended: HashMap<Topic, usize> = HashMap::new();
        for (append, positions) in group.iter().zip(&positions) {
            *appended.entry(append.topic).or_default() += positions.len();
        }
        // Told before it is answered, so that who has the answer has also been told.
        for (topic, records) in appended {
            self.metrics.appended(topic, records);
            let grown = &self.streams.stream(topic).grown;
            grown.send_modify(|count| *count += records as u64);
        }
        for (append, positions) in group.into_iter().zip(positions) {
            // Who does not wait any more needs no answer; the records are there all the same.
            let _ = append.reply.send(Ok(positions));
        }
    }

    fn replace(&self, replace: Replace) {
        let Replace { topic, partition, removed, put, start, reply } = replace;
        let bytes = put.iter().map(|(_, value)| value.len()).sum();
        // What only goes makes room, also where nothing is taken any more for want of it.
        let may = if put.is_empty() { self.streams.lets_go() } else { self.streams.takes(bytes) };
        let done = may.map_err(LogError::from).and_then(|()| {
            let stream = self.streams.stream(topic);
            // Synced, as what is appended behind it is: a journal is torn at its end alone.
            let mut batch = self.batch();
            for key in removed {
                batch.remove(&stream.blocks, key);
            }
            for (key, value) in put {
                batch.insert(&stream.blocks, key, value);
            }
            if let Some(start) = start {
                // Nobody begins to read what is about to go.
                stream.partition(partition).start.store(start, Ordering::Release);
            }
            batch.commit().map_err(|source| {
                self.metrics.failed(&source);
                self.streams.stop();
                LogError::Engine { attempted: "shorten", topic, source }
            })
        });
        // Who does not wait any more will look again.
        let _ = reply.send(done);
    }

    fn stop(&self, group: Vec<Append>, error: &fjall::Error) {
        self.metrics.failed(error);
        self.streams.stop();
        refuse(group, &self.streams.stopped());
    }
}

/// Blocks as they are put, those that are worth it packed on all cores.
fn packed(blocks: Vec<(Topic, u32, Builder)>) -> impl Iterator<Item = (Topic, Row)> {
    let (large, small): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|(_, _, block)| block.is_large());
    let pack = |(topic, partition, block): (_, _, Builder)| (topic, block.finish(partition));
    spread::heavy(large, pack).into_iter().chain(small.into_iter().map(pack))
}

fn refuse(group: Vec<Append>, refused: &Refused) {
    for append in group {
        // Who does not wait any more needs no answer.
        let _ = append.reply.send(Err(refused.clone().into()));
    }
}
