//! Reads and decodes streams, and hands each batch to every pipeline over it.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use ingest::{log::Log, topic::Topic};
use tokio::sync::{mpsc, watch};

use super::Until;
use crate::{decode::Decoder, error::PipelineError};

/// How long newly grown streams are left alone, so that many small appends make one batch.
const LINGER: Duration = Duration::from_millis(100);

/// Consecutive records of one partition, decoded.
#[derive(Debug)]
pub struct Batch {
    /// The stream.
    pub topic: Topic,
    /// The partition.
    pub partition: usize,
    /// The rows' offsets, which rise, and may leave some out.
    pub offsets: Vec<u64>,
    /// The offset after the last row.
    pub next: u64,
    /// When the first was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Streams that are read together, for pipelines that read some of them.
pub struct Feed {
    pub log: Arc<dyn Log>,
    pub streams: Vec<Stream>,
    /// Records read at once.
    pub batch: usize,
    pub queues: Vec<Queue>,
}

/// One stream that is read.
pub struct Stream {
    pub topic: Topic,
    pub decoder: Decoder,
    /// Whether rows of other streams are looked up in it: then it is read first.
    pub looked_up: bool,
    pub partitions: Vec<Partition>,
}

/// One partition that is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Partition {
    /// The next offset.
    pub next: u64,
    /// The event time of the last record that was read.
    pub reached: Option<DateTime<Utc>>,
}

/// Where batches of some streams go.
pub struct Queue {
    pub topics: Vec<Topic>,
    pub to: mpsc::Sender<Arc<Batch>>,
}

impl Feed {
    /// Reads until there is no more to read, or no pipeline left to read for.
    pub async fn run(mut self, until: Until) -> Result<(), PipelineError> {
        loop {
            if until.is_stopped() {
                return Ok(());
            }
            let Some((stream, partition)) = self.behind(&until)? else {
                if until.ends.is_some() || self.wait(&until).await? {
                    return Ok(());
                }
                continue;
            };
            let Some(batch) = self.read(stream, partition, &until).await? else { return Ok(()) };
            if !self.hand_over(Arc::new(batch)).await {
                return Ok(());
            }
        }
    }

    /// The partition to read next: of those with more to read the one that time has come least far
    /// in, so that windows and joins over all of them hold few rows; and before all others those of
    /// a stream in which is looked up.
    fn behind(&self, until: &Until) -> Result<Option<(usize, usize)>, PipelineError> {
        let mut least: Option<(usize, usize)> = None;
        let rank = |(stream, at): (usize, usize)| {
            let read = &self.streams[stream];
            (!read.looked_up, read.partitions[at].reached)
        };
        for (stream, read) in self.streams.iter().enumerate() {
            for (at, partition) in read.partitions.iter().enumerate() {
                let more = partition.next < self.end(stream, at, until)?;
                let here = (stream, at);
                if more && least.is_none_or(|least| rank(here) < rank(least)) {
                    least = Some(here);
                }
            }
        }
        Ok(least)
    }

    fn end(&self, stream: usize, partition: usize, until: &Until) -> Result<u64, PipelineError> {
        let topic = self.streams[stream].topic;
        let log_end = self.log.end(topic, number(partition))?;
        let end = until.ends.as_ref().and_then(|ends| ends.get(&topic)?.get(partition));
        Ok(end.map_or(log_end, |end| log_end.min(*end)))
    }

    async fn read(
        &mut self,
        stream: usize,
        partition: usize,
        until: &Until,
    ) -> Result<Option<Batch>, PipelineError> {
        let wanted = self.end(stream, partition, until)?;
        let read = &mut self.streams[stream];
        let first = read.partitions[partition].next;
        let wanted = wanted.saturating_sub(first);
        let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.batch);
        let records = self.log.read(read.topic, number(partition), first, most).await?;
        let (Some(oldest), Some(newest)) = (records.first(), records.last()) else {
            return Ok(None);
        };
        let next = newest.position.offset.saturating_add(1);
        let batch = Batch {
            topic: read.topic,
            partition,
            offsets: records.iter().map(|stored| stored.position.offset).collect(),
            next,
            recorded_at: oldest.record.recorded_at,
            rows: read.decoder.decode(&records)?,
        };
        read.partitions[partition] = Partition { next, reached: Some(newest.record.event_time) };
        Ok(Some(batch))
    }

    /// Whether every pipeline still takes batches: one that failed ends the reading for all, so that
    /// none runs ahead of a restart.
    async fn hand_over(&mut self, batch: Arc<Batch>) -> bool {
        for queue in self.queues.iter().filter(|queue| queue.topics.contains(&batch.topic)) {
            if queue.to.send(Arc::clone(&batch)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits for growth; answers whether to stop.
    async fn wait(&mut self, until: &Until) -> Result<bool, PipelineError> {
        let topics = self.streams.iter().map(|stream| stream.topic);
        let mut growth: Vec<_> = topics.map(|topic| self.log.subscribe(topic)).collect();
        for growth in &mut growth {
            growth.mark_unchanged();
        }
        // What came between the last look and the subscription is seen by looking once more.
        if self.behind(until)?.is_some() || until.is_stopped() {
            return Ok(until.is_stopped());
        }
        let grown = growth.iter_mut().map(|growth| Box::pin(growth.changed()));
        let grown = futures::future::select_all(grown);
        let failed = self.queues.iter().map(|queue| Box::pin(queue.to.closed()));
        let failed = futures::future::select_all(failed);
        let stop = until.stop.clone();
        tokio::select! {
            (changed, ..) = grown => {
                if changed.is_err() {
                    return Ok(true);
                }
                tokio::time::sleep(LINGER).await;
                Ok(until.is_stopped())
            }
            () = told(stop) => Ok(true),
            _ = failed => Ok(true),
        }
    }
}

/// Waits until told to stop, for ever where nobody tells.
async fn told(stop: Option<watch::Receiver<bool>>) {
    match stop {
        // A teller that is gone has no more to say.
        Some(mut stop) => drop(stop.wait_for(|stop| *stop).await),
        None => std::future::pending().await,
    }
}

/// Partitions are few; the log counts them in 32 bits.
pub fn number(partition: usize) -> u32 {
    u32::try_from(partition).unwrap_or(u32::MAX)
}
