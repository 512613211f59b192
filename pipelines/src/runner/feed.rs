//! Reads and decodes one stream, and hands each batch to every pipeline over it.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use ingest::{log::Log, topic::Topic};
use tokio::sync::mpsc;

use super::Until;
use crate::{decode::Decoder, error::PipelineError};

/// How long newly grown streams are left alone, so that many small appends make one batch.
const LINGER: Duration = Duration::from_millis(100);

/// Consecutive records of one partition, decoded.
#[derive(Debug)]
pub struct Batch {
    /// The partition.
    pub partition: usize,
    /// The offset of the first row; the others follow without holes.
    pub first: u64,
    /// The offset after the last row.
    pub next: u64,
    /// When the first was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The rows.
    pub rows: RecordBatch,
}

pub struct Feed {
    pub log: Arc<dyn Log>,
    pub topic: Topic,
    pub decoder: Decoder,
    /// The next offset of every partition.
    pub next: Vec<u64>,
    /// Records read at once.
    pub batch: usize,
    pub queues: Vec<mpsc::Sender<Arc<Batch>>>,
}

impl Feed {
    /// Reads until there is no more to read, or no pipeline left to read for.
    pub async fn run(mut self, until: Until) -> Result<(), PipelineError> {
        let mut reached: Vec<Option<DateTime<Utc>>> = vec![None; self.next.len()];
        loop {
            let Some(partition) = self.behind(&until, &reached)? else {
                match until.clone() {
                    Until::Ends(_) => return Ok(()),
                    Until::Stopped(mut stop) => {
                        if self.wait(&mut stop).await? {
                            return Ok(());
                        }
                        continue;
                    }
                }
            };
            if let Until::Stopped(stop) = &until
                && *stop.borrow()
            {
                return Ok(());
            }
            let Some((batch, last)) = self.read(partition, &until).await? else { return Ok(()) };
            reached[partition] = Some(last);
            if !self.hand_over(Arc::new(batch)).await {
                return Ok(());
            }
        }
    }

    /// The partition to read next: of those with more to read the one that time has come least far
    /// in, so that windows over all of them hold few rows.
    fn behind(
        &self,
        until: &Until,
        reached: &[Option<DateTime<Utc>>],
    ) -> Result<Option<usize>, PipelineError> {
        let mut least: Option<usize> = None;
        for partition in 0..self.next.len() {
            let more = self.next[partition] < self.end(partition, until)?;
            if more && least.is_none_or(|least| reached[partition] < reached[least]) {
                least = Some(partition);
            }
        }
        Ok(least)
    }

    fn end(&self, partition: usize, until: &Until) -> Result<u64, PipelineError> {
        let log_end = self.log.end(self.topic, number(partition))?;
        Ok(match until {
            Until::Ends(ends) => ends.get(partition).map_or(log_end, |end| log_end.min(*end)),
            Until::Stopped(_) => log_end,
        })
    }

    async fn read(
        &mut self,
        partition: usize,
        until: &Until,
    ) -> Result<Option<(Batch, DateTime<Utc>)>, PipelineError> {
        let first = self.next[partition];
        let wanted = self.end(partition, until)?.saturating_sub(first);
        let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.batch);
        let records = self.log.read(self.topic, number(partition), first, most).await?;
        let (Some(oldest), Some(newest)) = (records.first(), records.last()) else {
            return Ok(None);
        };
        let batch = Batch {
            partition,
            first,
            next: newest.position.offset.saturating_add(1),
            recorded_at: oldest.record.recorded_at,
            rows: self.decoder.decode(&records)?,
        };
        self.next[partition] = batch.next;
        Ok(Some((batch, newest.record.event_time)))
    }

    /// Whether every pipeline still takes batches: one that failed ends the stream for all, so that
    /// none runs ahead of a restart.
    async fn hand_over(&mut self, batch: Arc<Batch>) -> bool {
        for queue in &self.queues {
            if queue.send(Arc::clone(&batch)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits for growth; answers whether to stop.
    async fn wait(
        &mut self,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<bool, PipelineError> {
        let mut growth = self.log.subscribe(self.topic);
        growth.mark_unchanged();
        // What came between the last look and the subscription is seen by looking once more.
        for partition in 0..self.next.len() {
            if self.next[partition] < self.log.end(self.topic, number(partition))? {
                return Ok(*stop.borrow());
            }
        }
        if *stop.borrow() {
            return Ok(true);
        }
        let failed = self.queues.first().map(mpsc::Sender::closed);
        let failed = async {
            match failed {
                Some(closed) => closed.await,
                None => std::future::pending().await,
            }
        };
        let stopped = stop.clone();
        tokio::select! {
            changed = growth.changed() => {
                if changed.is_err() {
                    return Ok(true);
                }
                tokio::time::sleep(LINGER).await;
                Ok(*stopped.borrow())
            }
            // The guard that comes back must not live across the pause above.
            () = async { drop(stop.wait_for(|stop| *stop).await) } => Ok(true),
            () = failed => Ok(true),
        }
    }
}

/// Partitions are few; the log counts them in 32 bits.
fn number(partition: usize) -> u32 {
    u32::try_from(partition).unwrap_or(u32::MAX)
}
