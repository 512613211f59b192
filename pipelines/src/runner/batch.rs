//! Consecutive records of one partition, read and decoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use ingest::{
    log::Log,
    record::Stored,
    topic::Topic,
    traces::{self, Trace},
};

use crate::{decode::Decoder, error::PipelineError};

/// Consecutive records of one partition, decoded: at least one.
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
    /// The event time of the last.
    pub reached: DateTime<Utc>,
    /// The traces of those that are told of, by their offsets.
    pub traces: Vec<(u64, Trace)>,
    /// When the first was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Reads so many records from an offset on, fewer where there are no more; none where there are none.
pub async fn read(
    log: Arc<dyn Log>,
    (topic, partition): (Topic, usize),
    (from, most): (u64, usize),
    decoder: &mut Decoder,
) -> Result<Option<Batch>, PipelineError> {
    let records = log.read(topic, number(partition), from, most).await?;
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(None) };
    Ok(Some(Batch {
        topic,
        partition,
        offsets: records.iter().map(|stored| stored.position.offset).collect(),
        next: last.position.offset.saturating_add(1),
        reached: last.record.event_time,
        traces: traces_of(&records),
        recorded_at: first.record.recorded_at,
        rows: decoder.decode(&records)?,
    }))
}

fn traces_of(records: &[Stored]) -> Vec<(u64, Trace)> {
    let of =
        |stored: &Stored| Some((stored.position.offset, traces::of_event(&stored.record.event)?));
    records.iter().filter_map(of).collect()
}

/// Partitions are few; the log counts them in 32 bits.
pub fn number(partition: usize) -> u32 {
    u32::try_from(partition).unwrap_or(u32::MAX)
}
