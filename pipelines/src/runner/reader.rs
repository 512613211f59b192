//! Reads streams together, of their partitions the one that time has come least far in.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::future::select_all;
use ingest::{log::Log, record::Stored, topic::Topic};
use tokio::sync::{mpsc, watch};

use super::Until;
use crate::error::PipelineError;

/// How long newly grown streams are left alone, so that many small appends make one batch.
const LINGER: Duration = Duration::from_millis(100);

/// Consecutive records of one partition: at least one.
pub struct Read {
    /// The place of the stream among those that are read.
    pub stream: usize,
    pub partition: usize,
    pub records: Vec<Stored>,
    /// The offset after the last.
    pub next: u64,
}

/// Streams that are read together.
pub struct Reader {
    pub log: Arc<dyn Log>,
    pub streams: Vec<Stream>,
    /// Records read at once.
    pub batch: usize,
    pub until: Until,
}

/// One stream that is read.
pub struct Stream {
    pub topic: Topic,
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

impl Reader {
    /// Reads until there is no more to read, or nobody left to read for.
    pub async fn run(mut self, to: mpsc::Sender<Read>) -> Result<(), PipelineError> {
        loop {
            if self.until.is_stopped() {
                return Ok(());
            }
            let Some((stream, partition)) = self.behind()? else {
                if self.until.ends.is_some() || self.wait(&to).await? {
                    return Ok(());
                }
                continue;
            };
            let Some(read) = self.read(stream, partition).await? else { return Ok(()) };
            if to.send(read).await.is_err() {
                return Ok(());
            }
        }
    }

    /// The partition to read next: of those with more to read the one that time has come least far
    /// in, so that windows and joins over all of them hold few rows; and before all others those of
    /// a stream in which is looked up.
    fn behind(&self) -> Result<Option<(usize, usize)>, PipelineError> {
        let mut least: Option<(usize, usize)> = None;
        let rank = |(stream, at): (usize, usize)| {
            let read = &self.streams[stream];
            (!read.looked_up, read.partitions[at].reached)
        };
        for (stream, read) in self.streams.iter().enumerate() {
            for (at, partition) in read.partitions.iter().enumerate() {
                let more = partition.next < self.end(stream, at)?;
                let here = (stream, at);
                if more && least.is_none_or(|least| rank(here) < rank(least)) {
                    least = Some(here);
                }
            }
        }
        Ok(least)
    }

    fn end(&self, stream: usize, partition: usize) -> Result<u64, PipelineError> {
        let topic = self.streams[stream].topic;
        let log_end = self.log.end(topic, number(partition))?;
        let end = self.until.ends.as_ref().and_then(|ends| ends.get(&topic)?.get(partition));
        Ok(end.map_or(log_end, |end| log_end.min(*end)))
    }

    async fn read(
        &mut self,
        stream: usize,
        partition: usize,
    ) -> Result<Option<Read>, PipelineError> {
        let wanted = self.end(stream, partition)?;
        let read = &mut self.streams[stream];
        let first = read.partitions[partition].next;
        let wanted = wanted.saturating_sub(first);
        let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.batch);
        let records = self.log.read(read.topic, number(partition), first, most).await?;
        let Some(newest) = records.last() else { return Ok(None) };
        let next = newest.position.offset.saturating_add(1);
        read.partitions[partition] = Partition { next, reached: Some(newest.record.event_time) };
        Ok(Some(Read { stream, partition, records, next }))
    }

    /// Waits for growth; answers whether to stop.
    async fn wait(&self, to: &mpsc::Sender<Read>) -> Result<bool, PipelineError> {
        let topics = self.streams.iter().map(|stream| stream.topic);
        let mut growth: Vec<_> = topics.map(|topic| self.log.subscribe(topic)).collect();
        for growth in &mut growth {
            growth.mark_unchanged();
        }
        // What came between the last look and the subscription is seen by looking once more.
        if self.behind()?.is_some() || self.until.is_stopped() {
            return Ok(self.until.is_stopped());
        }
        let grown = select_all(growth.iter_mut().map(|growth| Box::pin(growth.changed())));
        tokio::select! {
            (changed, ..) = grown => {
                if changed.is_err() {
                    return Ok(true);
                }
                tokio::time::sleep(LINGER).await;
                Ok(self.until.is_stopped())
            }
            () = told(self.until.stop.clone()) => Ok(true),
            () = to.closed() => Ok(true),
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
