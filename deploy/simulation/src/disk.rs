//! The streams on a disk that keeps what it has acknowledged, and of the rest what it likes.
//!
//! Batches are written one after the other. Until a batch is written nobody reads it; a power cut
//! leaves some first part of those that wait, each whole, of which nobody was told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use ingest::{
    error::LogError,
    log::{Log, Pending, model::ModelLog},
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
};
use tokio::sync::watch;

use crate::{
    faults::{Life, Machine, Planted},
    witness::Watching,
};

/// Batches that are not written yet, in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    batches: BTreeMap<u64, (Topic, Vec<Record>)>,
}

/// The disk; it outlives every process.
#[derive(Debug)]
pub struct Disk {
    streams: ModelLog,
    waiting: Mutex<Waiting>,
    /// Who writes, in order of arrival.
    turn: tokio::sync::Mutex<()>,
    /// Who is told of growth, each apart: a channel wakes its receivers in an order that it draws.
    told: Mutex<Vec<(Topic, watch::Sender<u64>)>>,
    watching: Watching,
}

impl Disk {
    /// An empty disk, watched.
    #[must_use]
    pub fn new(watching: Watching) -> Arc<Self> {
        let (streams, waiting, turn) = (ModelLog::default(), Mutex::default(), <_>::default());
        Arc::new(Self { streams, waiting, turn, told: Mutex::default(), watching })
    }

    /// The power goes: a first part of what waits is there nevertheless.
    pub fn power_cut(&self, machine: &Machine) {
        let batches = std::mem::take(&mut self.waiting().batches);
        let kept = machine.dice.place(batches.len() + 1);
        for (topic, records) in batches.into_values().take(kept) {
            self.keep(topic, &records);
        }
    }

    /// Writes records at once.
    pub fn keep(&self, topic: Topic, records: &[Record]) -> Vec<Position> {
        let positions = self.streams.append(topic, records).now_or_never();
        let positions = positions.and_then(Result::ok).unwrap_or_default();
        let stored = records
            .iter()
            .zip(&positions)
            .map(|(record, position)| Stored { position: *position, record: record.clone() });
        self.watching.stored(topic, &stored.collect::<Vec<_>>());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(_, told)| !told.is_closed());
        for (_, told) in told.iter().filter(|(of, _)| *of == topic) {
            told.send_modify(|total| *total += records.len() as u64);
        }
        drop(told);
        positions
    }

    /// Every record of a stream, partition by partition.
    #[must_use]
    pub fn all(&self, topic: Topic) -> Vec<Stored> {
        let partitions = 0..self.streams.partitions(topic);
        let read = |partition| self.streams.read(topic, partition, 0, usize::MAX).now_or_never();
        let read = partitions.filter_map(|partition| read(partition)?.ok());
        read.flatten().collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, topic: Topic, records: &[Record]) -> u64 {
        let mut waiting = self.waiting();
        waiting.next += 1;
        let number = waiting.next;
        waiting.batches.insert(number, (topic, records.to_vec()));
        number
    }

    /// Where records will stand when all that waits is written.
    fn expected(&self, topic: Topic, records: &[Record]) -> Vec<Position> {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        let partition = |record: &Record| partition_of(&record.key, topic.partitions());
        let waiting = self.waiting();
        let before = waiting.batches.values().filter(|(of, _)| *of == topic);
        let mut place = |record: &Record| {
            let partition = partition(record);
            let end = || self.streams.end(topic, partition).unwrap_or(0);
            let next = ends.entry(partition).or_insert_with(end);
            *next += 1;
            Position { partition, offset: *next - 1 }
        };
        for record in before.flat_map(|(_, records)| records) {
            place(record);
        }
        records.iter().map(place).collect()
    }

    async fn write(&self, number: u64, node: &NodeLog) -> Result<Vec<Position>, LogError> {
        let _turn = self.turn.lock().await;
        node.machine.time.sleep(node.machine.write_time()).await;
        node.lasts()?;
        let found = self.waiting().batches.remove(&number);
        let Some((topic, records)) = found else { return Err(stopped()) };
        if node.machine.fails_once_in(400) {
            // A failed sync: what is on the disk nobody knows, and nothing more is taken.
            if node.machine.dice.once_in(2) {
                self.keep(topic, &records);
            }
            node.failed.end();
            return Err(LogError::Stopped { sync_failed: true });
        }
        Ok(self.keep(topic, &records))
    }
}

const fn stopped() -> LogError {
    LogError::Stopped { sync_failed: false }
}

/// The streams as one process has them.
#[derive(Clone, Debug)]
pub struct NodeLog {
    disk: Arc<Disk>,
    machine: Machine,
    life: Life,
    /// Ends when a sync fails.
    failed: Life,
    planted: Option<Planted>,
}

impl NodeLog {
    /// The streams as a process has them that begins now.
    #[must_use]
    pub fn new(disk: Arc<Disk>, machine: Machine, life: Life, planted: Option<Planted>) -> Self {
        Self { disk, machine, life, failed: Life::default(), planted }
    }

    fn lasts(&self) -> Result<(), LogError> {
        if self.life.lasts() && self.failed.lasts() { Ok(()) } else { Err(stopped()) }
    }
}

impl Log for NodeLog {
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
        Box::pin(async move {
            self.lasts()?;
            if self.planted == Some(Planted::AcknowledgeBeforeAppend) {
                let expected = self.disk.expected(topic, records);
                let (number, node) = (self.disk.enqueue(topic, records), self.clone());
                tokio::spawn(async move { node.disk.write(number, &node).await });
                return Ok(expected);
            }
            self.disk.write(self.disk.enqueue(topic, records), self).await
        })
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        Box::pin(async move {
            if self.machine.fails_once_in(200) {
                self.machine.time.sleep(self.machine.write_time()).await;
            }
            self.lasts()?;
            self.disk.streams.read(topic, partition, from, most).await
        })
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.lasts()?;
        self.disk.streams.end(topic, partition)
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.lasts()?;
        self.disk.streams.start(topic, partition)
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        self.disk.streams.at(topic, partition, instant)
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.disk.streams.partitions(topic)
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        let (teller, receiver) = watch::channel(0);
        let mut told = self.disk.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((topic, teller));
        receiver
    }
}
