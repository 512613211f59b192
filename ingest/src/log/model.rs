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

use super::{Log, Pending};
use crate::{
    error::LogError,
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
};

/// Streams in memory.
#[derive(Debug, Default)]
pub struct ModelLog {
    streams: Mutex<HashMap<(Topic, u32), Vec<Record>>>,
    grown: Mutex<HashMap<Topic, watch::Sender<u64>>>,
    /// Appends that still succeed before the fault; below zero there is none to come.
    until_fault: AtomicI64,
    fault: Mutex<Option<Fault>>,
    stopped: AtomicBool,
    held: watch::Sender<bool>,
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
            stream.push(record.clone());
            Position { partition, offset: stream.len() as u64 - 1 }
        });
        let positions = positions.collect();
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.entry(topic).or_default().send_modify(|total| *total += count);
        positions
    }

    fn stored(&self, topic: Topic, partition: u32, from: u64, most: usize) -> Vec<Stored> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let records = streams.get(&(topic, partition)).map(Vec::as_slice).unwrap_or_default();
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let wanted = records.iter().zip(0_u64..).skip(skipped).take(most);
        wanted
            .map(|(record, offset)| Stored {
                position: Position { partition, offset },
                record: record.clone(),
            })
            .collect()
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
        Box::pin(std::future::ready(Ok(self.stored(topic, partition, from, most))))
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(streams.get(&(topic, partition)).map_or(0, |stream| stream.len() as u64))
    }

    fn start(&self, _: Topic, _: u32) -> Result<u64, LogError> {
        Ok(0)
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        let records = self.stored(topic, partition, 0, usize::MAX);
        let end = records.len() as u64;
        let found = records.iter().find(|stored| stored.record.recorded_at >= instant);
        Box::pin(std::future::ready(Ok(found.map_or(end, |stored| stored.position.offset))))
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.entry(topic).or_default().subscribe()
    }
}
