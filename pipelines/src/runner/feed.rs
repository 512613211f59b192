//! Decodes what is read of streams, and hands each batch to every pipeline over it, while the next
//! records are read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use futures::future::select_all;
use ingest::{
    record::Stored,
    topic::Topic,
    traces::{self, Trace},
};
use tokio::sync::mpsc;

use super::reader::{Read, Reader};
use crate::{decode::Decoder, error::PipelineError};

/// Reads that may wait for decoding.
const AHEAD: usize = 2;

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
    /// The traces of those that are told of, by their offsets.
    pub traces: Vec<(u64, Trace)>,
    /// When the first was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Streams that are read together, for pipelines that read some of them.
pub struct Feed {
    pub reader: Reader,
    /// The decoders of the reader's streams, in their order.
    pub decoders: Vec<(Topic, Decoder)>,
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
        let Self { reader, mut decoders, queues } = self;
        let (to, mut reads) = mpsc::channel(AHEAD);
        let reading = tokio::spawn(reader.run(to));
        let mut gone = select_all(queues.iter().map(|queue| Box::pin(queue.to.closed())));
        loop {
            let read = tokio::select! {
                // Nobody is read for in vain; and the same comes of the same, for simulation.
                biased;
                _ = &mut gone => None,
                read = reads.recv() => read,
            };
            let Some(read) = read else { break };
            let (topic, decoder) = &mut decoders[read.stream];
            let batch = Arc::new(decoded(*topic, decoder, &read)?);
            if !hand_over(&queues, batch).await {
                break;
            }
        }
        drop(reads);
        reading.await?
    }
}

fn decoded(topic: Topic, decoder: &mut Decoder, read: &Read) -> Result<Batch, PipelineError> {
    Ok(Batch {
        topic,
        partition: read.partition,
        offsets: read.records.iter().map(|stored| stored.position.offset).collect(),
        next: read.next,
        traces: traces_of(&read.records),
        recorded_at: read.records.first().map_or_else(Utc::now, |first| first.record.recorded_at),
        rows: decoder.decode(&read.records)?,
    })
}

fn traces_of(records: &[Stored]) -> Vec<(u64, Trace)> {
    if !traces::are_told() {
        return Vec::new();
    }
    let of =
        |stored: &Stored| Some((stored.position.offset, traces::of_event(&stored.record.event)?));
    records.iter().filter_map(of).collect()
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
