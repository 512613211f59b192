//! Hands each batch that is read of streams to every pipeline over it.

use std::sync::Arc;

use futures::future::select_all;
use ingest::topic::Topic;
use tokio::sync::mpsc;

use super::{batch::Batch, reader::Reader};
use crate::error::PipelineError;

/// Streams that are read together, for pipelines that read some of them.
pub struct Feed {
    pub reader: Reader,
    pub queues: Vec<Queue>,
}

/// Where batches of some streams go.
pub struct Queue {
    pub topics: Vec<Topic>,
    pub to: mpsc::Sender<Arc<Batch>>,
}

impl Feed {
    /// Reads until there is no more to read, or no pipeline left to read for.
    pub async fn run(self) -> Result<(), PipelineError> {
        let Self { mut reader, queues } = self;
        let mut gone = select_all(queues.iter().map(|queue| Box::pin(queue.to.closed())));
        loop {
            let batch = tokio::select! {
                // Nobody is read for in vain; and the same comes of the same, for simulation.
                biased;
                _ = &mut gone => None,
                batch = reader.next() => batch?,
            };
            let Some(batch) = batch else { return Ok(()) };
            if !hand_over(&queues, Arc::new(batch)).await {
                return Ok(());
            }
        }
    }
}

/// Whether every pipeline still takes batches: one that failed ends the reading for all, so that
/// none runs ahead of a restart.
async fn hand_over(queues: &[Queue], batch: Arc<Batch>) -> bool {
    for queue in queues.iter().filter(|queue| queue.topics.contains(&batch.topic)) {
        if queue.to.send(Arc::clone(&batch)).await.is_err() {
            return false;
        }
    }
    true
}
