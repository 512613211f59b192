//! The model log: the contract in memory, in a page of code, for simulation and for the suite.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::{Keep, Log, Pending};
use crate::{
    error::LogError,
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
    wire,
};

/// Streams in memory.
#[derive(Debug, Default)]
pub struct ModelLog {
    streams: Mutex<HashMap<(Topic, u32), Kept>>,
    grown: Mutex<HashMap<Topic, watch::Sender<u64>>>,
    /// Appends that still succeed before the fault; below zero there is none to come.
    until_fault: AtomicI64,
    fault: Mutex<Option<Fault>>,
    stopped: AtomicBool,
    held: watch::Sender<bool>,
    unreadable: AtomicBool,
}

/// What is left of a partition.
#[derive(Debug, Default)]
struct Kept {
    /// The first one's offset.
    start: u64,
    records: Vec<Record>,
}

impl Kept {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn keep(&mut self, keep: Keep) {
        let Some(newest) = self.records.len().checked_sub(1) else { return };
        let times = || self.records.iter().map(|record| record.recorded_at);
        let since = keep.age.and_then(|age| times().max()?.checked_sub_signed(age));
        let old = since.and_then(|since| times().position(|recorded_at| recorded_at >= since));
        let many = keep.bytes.map(|most| {
            let mut taken = 0;
            let fits = self.records.iter().rev().take_while(|record| {
                taken += wire::encode(record).len() as u64;
                taken <= most
            });
            self.records.len() - fits.count()
        });
        let gone = old.unwrap_or(0).max(many.unwrap_or(0)).min(newest);
        self.records.drain(..gone);
        self.start += gone as u64;
    }
}

/// How a machine can die around an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before anything was written.
    Before,
    /// After it was written and before anybody heard of it.
    After,
}

impl ModelLog {
    /// Lets the machine die at an append, so many after the next; nothing is taken afterwards.
    pub fn die_at(&self, appends: u32, fault: Fault) {
        self.until_fault.store(i64::from(appends), Ordering::SeqCst);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Whether it has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Starts the machine again, with what was written.
    pub fn revive(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.stopped.store(false, Ordering::SeqCst);
    }

    /// Lets appends wait, as for a disk that does not answer, or go on.
    pub fn hold(&self, holds: bool) {
        self.held.send_replace(holds);
    }

    /// Lets go now of what is too old or takes too much room, but for the newest record. What later
    /// records replaced stays.
    pub fn keep(&self, topic: Topic, keep: Keep) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in 0..topic.partitions() {
            streams.entry((topic, partition)).or_default().keep(keep);
        }
    }

    /// Lets reads fail, as of a disk that gives nothing back, or go on.
    pub fn fail_reads(&self, fails: bool) {
        self.unreadable.store(fails, Ordering::SeqCst);
    }

    fn take(&self, topic: Topic, records: &[Record]) -> Result<Vec<Position>, LogError> {
        let dead = LogError::Stopped { sync_failed: false };
        if self.is_dead() {
            return Err(dead);
        }
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = fault.is_some() && self.until_fault.fetch_sub(1, Ordering::SeqCst) == 0;
        match fault.take_if(|_| dies) {
            None => Ok(self.push(topic, records)),
            Some(fault) => {
                self.stopped.store(true, Ordering::SeqCst);
                if fault == Fault::After {
                    self.push(topic, records);
                }
                Err(dead)
            }
        }
    }

    fn push(&self, topic: Topic, records: &[Record]) -> Vec<Position> {
        let count = records.len() as u64;
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = records.iter().map(|record| {
            let partition = partition_of(&record.key, topic.partitions());
            let stream = streams.entry((topic, partition)).or_default();
            let offset = stream.end();
            stream.records.push(record.clone());
            Position { partition, offset }
        });
        let positions = positions.collect();
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.entry(topic).or_default().send_modify(|total| *total += count);
        positions
    }

    fn stored(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = streams.get(&(topic, partition)) else { return Ok(Vec::new()) };
        let start = kept.start;
        let skipped = from.checked_sub(start);
        let skipped = skipped.ok_or(LogError::Gone { topic, partition, from, start })?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let wanted = kept.records.iter().zip(start..).skip(skipped).take(most);
        let stored = wanted.map(|(record, offset)| Stored {
            position: Position { partition, offset },
            record: record.clone(),
        });
        Ok(stored.collect())
    }
}

impl Log for ModelLog {
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
        Box::pin(async move {
            // Its sender is ours, so it does not end before us.
            let _ = self.held.subscribe().wait_for(|holds| !holds).await;
            self.take(topic, records)
        })
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        let read = match self.unreadable.load(Ordering::SeqCst) {
            true => Err(LogError::Stopped { sync_failed: false }),
            false => self.stored(topic, partition, from, most),
        };
        Box::pin(std::future::ready(read))
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(streams.get(&(topic, partition)).map_or(0, Kept::end))
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(streams.get(&(topic, partition)).map_or(0, |kept| kept.start))
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let found = streams.get(&(topic, partition)).map_or(0, |kept| {
            let mut records = kept.records.iter().zip(kept.start..);
            let found = records.find(|(record, _)| record.recorded_at >= instant);
            found.map_or(kept.end(), |(_, offset)| offset)
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.entry(topic).or_default().subscribe()
    }
}
