//! Reads streams together, of their partitions the one that time has come least far in.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::future::select_all;
use ingest::{log::Log, topic::Topic};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Until,
    batch::{self, Batch, number},
};
use crate::{decode::Decoder, error::PipelineError};

/// How long newly grown streams are left alone, so that many small appends make one batch.
const LINGER: Duration = Duration::from_millis(100);

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

/// One partition that is read. While its last batch is worked on, the next is read and decoded, so
/// partitions are read at the same time and come in one order.
pub struct Partition {
    /// The next offset.
    next: u64,
    /// The event time of the last record that was read.
    reached: Option<DateTime<Utc>>,
    /// None while it is at work.
    decoder: Option<Decoder>,
    /// The batch from `next` on, where somebody is at it.
    ahead: Option<Ahead>,
}

/// A batch that is being read, and its decoder again.
type Ahead = JoinHandle<Result<(Decoder, Option<Batch>), PipelineError>>;

impl Partition {
    /// One that is read from an offset on.
    pub const fn new(next: u64, decoder: Decoder) -> Self {
        Self { next, reached: None, decoder: Some(decoder), ahead: None }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

impl Reader {
    /// The next batch; none once there is no more to read.
    pub async fn next(&mut self) -> Result<Option<Batch>, PipelineError> {
        while !self.until.is_stopped() {
            if let Some((stream, partition)) = self.behind()? {
                return self.read(stream, partition).await;
            }
            if self.until.ends.is_some() || self.wait().await? {
                break;
            }
        }
        Ok(None)
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
    ) -> Result<Option<Batch>, PipelineError> {
        self.read_ahead(stream, partition)?;
        let read = &mut self.streams[stream].partitions[partition];
        let Some(ahead) = &mut read.ahead else { return Ok(None) };
        let ended = ahead.await?;
        read.ahead = None;
        let (decoder, batch) = ended?;
        read.decoder = Some(decoder);
        let Some(batch) = batch else { return Ok(None) };
        (read.next, read.reached) = (batch.next, Some(batch.reached));
        self.read_ahead(stream, partition)?;
        Ok(Some(batch))
    }

    /// Begins to read what is next in a partition, unless somebody is at it or there is no more.
    fn read_ahead(&mut self, stream: usize, at: usize) -> Result<(), PipelineError> {
        let end = self.end(stream, at)?;
        let topic = self.streams[stream].topic;
        let partition = &mut self.streams[stream].partitions[at];
        let from = partition.next;
        if partition.ahead.is_some() || from >= end {
            return Ok(());
        }
        let Some(mut decoder) = partition.decoder.take() else { return Ok(()) };
        let most = usize::try_from(end - from).unwrap_or(usize::MAX).min(self.batch);
        let log = Arc::clone(&self.log);
        partition.ahead = Some(tokio::spawn(async move {
            let batch = batch::read(log, (topic, at), (from, most), &mut decoder).await?;
            Ok((decoder, batch))
        }));
        Ok(())
    }

    /// Waits for growth; answers whether to stop.
    async fn wait(&self) -> Result<bool, PipelineError> {
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
