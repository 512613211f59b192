//! The one thread that writes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

use fjall::{Database, PersistMode};
use tokio::sync::oneshot;

use super::{
    Sync,
    ends::Ends,
    folder::Claim,
    streams::Streams,
    value::{checked, key},
};
use crate::{error::LogError, metrics::Metrics, record::Position, topic::Topic};

/// Records and their bytes that the writer puts under one sync, until it is one batch above.
const GROUP_RECORDS: usize = 8_192;
const GROUP_BYTES: usize = 8 << 20;

/// A batch on its way to the writer, already encoded.
pub(super) struct Job {
    pub topic: Topic,
    /// Partition and wire form of each record.
    pub records: Vec<(u32, Vec<u8>)>,
    pub reply: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

impl Job {
    fn bytes(&self) -> usize {
        self.records.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// What the thread owns. The store closes before the folder is given back.
pub(super) struct Writer {
    pub streams: Arc<Streams>,
    pub database: Database,
    pub ends: Ends,
    pub sync: Sync,
    pub metrics: Metrics,
    /// Given back last.
    pub _claim: Claim,
}

impl Writer {
    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let (mut records, mut bytes) = (first.records.len(), first.bytes());
            let mut group = vec![first];
            while records < GROUP_RECORDS && bytes < GROUP_BYTES {
                let Ok(next) = jobs.try_recv() else { break };
                records += next.records.len();
                bytes += next.bytes();
                group.push(next);
            }
            if self.streams.is_stopped() {
                self.refuse(group);
            } else {
                self.write(group);
            }
        }
        if let Err(error) = self.ends.sync() {
            tracing::warn!(%error, "the log's ends are not synced; its records are");
        }
    }

    /// Writes a group as one atomic batch with one sync, then shows and acknowledges it.
    fn write(&mut self, mut group: Vec<Job>) {
        let started = Instant::now();
        let mut batch = self.database.batch();
        if self.sync == Sync::Always {
            batch = batch.durability(Some(PersistMode::SyncAll));
        }
        let mut ends: HashMap<(Topic, u32), u64> = HashMap::new();
        let mut positions = Vec::with_capacity(group.len());
        for job in &mut group {
            let stream = self.streams.stream(job.topic);
            let mut of_job = Vec::with_capacity(job.records.len());
            for (partition, bytes) in std::mem::take(&mut job.records) {
                let end = ends
                    .entry((job.topic, partition))
                    .or_insert_with(|| self.streams.end(job.topic, partition));
                let key = key(partition, *end);
                batch.insert(&stream.records, key, checked(&key, &bytes));
                of_job.push(Position { partition, offset: *end });
                *end += 1;
            }
            positions.push(of_job);
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

    /// Notes the ends beside the store, and then shows what is durable to readers.
    fn note(&mut self, ends: &HashMap<(Topic, u32), u64>) -> std::io::Result<()> {
        let now = self.streams.ends().map(|(topic, partition, end)| {
            (topic, partition, ends.get(&(topic, partition)).copied().unwrap_or(end))
        });
        self.ends.write(now)?;
        for ((topic, partition), end) in ends {
            if let Some(known) = self.streams.stream(*topic).ends.get(*partition as usize) {
                known.store(*end, Ordering::Release);
            }
        }
        Ok(())
    }

    fn acknowledge(&self, group: Vec<Job>, positions: Vec<Vec<Position>>) {
        let mut appended: HashMap<Topic, usize> = HashMap::new();
        for (job, positions) in group.iter().zip(&positions) {
            *appended.entry(job.topic).or_default() += positions.len();
        }
        // Told before it is answered, so that who has the answer has also been told.
        for (topic, records) in appended {
            self.metrics.appended(topic, records);
            let grown = &self.streams.stream(topic).grown;
            grown.send_modify(|count| *count += records as u64);
        }
        for (job, positions) in group.into_iter().zip(positions) {
            // Who does not wait any more needs no answer; the records are there all the same.
            let _ = job.reply.send(Ok(positions));
        }
    }

    fn stop(&self, group: Vec<Job>, error: &fjall::Error) {
        tracing::error!(%error, "a write to the log failed; nothing is taken any more");
        self.streams.stop();
        self.refuse(group);
    }

    fn refuse(&self, group: Vec<Job>) {
        for job in group {
            // Who does not wait any more needs no answer.
            let _ = job.reply.send(Err(self.streams.stopped()));
        }
    }
}
