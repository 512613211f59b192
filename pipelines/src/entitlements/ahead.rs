//! Reads changes of people ahead: while some are evaluated, the next are read and unsealed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ingest::{
    log::{Log, READ_BATCH},
    record::Stored,
    register::people::Change,
    spread,
    topic::Topic,
    vault::{Vault, VaultError},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::APPENDED_AT_ONCE;
use crate::error::PipelineError;

/// Batches that are read ahead: as many people as are evaluated at once.
const BATCHES: usize = APPENDED_AT_ONCE / READ_BATCH;

/// A record of `person-changes`.
pub(super) struct Read {
    pub(super) offset: u64,
    pub(super) at: DateTime<Utc>,
    /// What it changes; none where it is about nobody.
    pub(super) change: Result<Option<Change>, VaultError>,
}

/// The changes from an offset up to the stream's end.
pub(super) struct Ahead {
    batches: mpsc::Receiver<Vec<Read>>,
    reading: JoinHandle<Result<(), PipelineError>>,
}

impl Ahead {
    pub(super) fn from(log: Arc<dyn Log>, vault: Vault, offset: u64) -> Self {
        let (send, batches) = mpsc::channel(BATCHES);
        let reading = tokio::spawn(async move {
            let mut next = offset;
            while let Some(batch) = read(&*log, &vault, &mut next).await? {
                // Who takes them no longer has met an error of its own.
                if send.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self { batches, reading }
    }

    /// The next changes, in order; none at the end, after which nobody asks again.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Read>>, PipelineError> {
        match self.batches.recv().await {
            Some(batch) => Ok(Some(batch)),
            None => (&mut self.reading).await?.map(|()| None),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(
    log: &dyn Log,
    vault: &Vault,
    next: &mut u64,
) -> Result<Option<Vec<Read>>, PipelineError> {
    let batch = log.read(Topic::PersonChanges, 0, *next, READ_BATCH).await?;
    let Some(last) = batch.last() else { return Ok(None) };
    *next = last.position.offset + 1;
    let one = |stored: Stored| {
        let (offset, at) = (stored.position.offset, stored.record.event_time);
        Read { offset, at, change: Change::of(vault, &stored) }
    };
    Ok(Some(spread::map(batch, one)))
}
