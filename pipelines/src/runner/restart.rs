//! Landing a table again, from its streams' beginning or a later place.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ingest::log::Log;
use warehouse::table::Table;

use super::{
    lander::failed,
    offsets::{Offsets, applications},
};
use crate::{error::PipelineError, pipeline::Pipeline, states::States};

/// Where a pipeline that is landed again begins, in each partition of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the first record that is left.
    Earliest,
    /// At an offset.
    Offset(u64),
    /// At the first record that was recorded at or after an instant.
    Instant(DateTime<Utc>),
}

/// Notes in a pipeline's new and empty table where it begins, and forgets what it had gathered.
///
/// # Errors
/// Where a stream cannot be read or the table not be written.
pub async fn restart(
    log: &Arc<dyn Log>,
    pipeline: &Pipeline,
    table: &dyn Table,
    states: &States,
    begin: Begin,
) -> Result<(), PipelineError> {
    states.forget_before(&pipeline.name, u64::MAX);
    if begin == Begin::Earliest {
        return Ok(());
    }
    let mut from = Offsets::new();
    for topic in pipeline.topics() {
        let mut offsets = Vec::new();
        for partition in 0..log.partitions(topic) {
            let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
            let wanted = match begin {
                Begin::Earliest => start,
                Begin::Offset(offset) => offset,
                Begin::Instant(instant) => log.at(topic, partition, instant).await?,
            };
            offsets.push(wanted.clamp(start, end));
        }
        from.insert(topic, offsets);
    }
    let positions = applications(pipeline, &from);
    let committed = table.commit(Vec::new(), &positions).await;
    committed.map_err(|source| failed(&pipeline.name, "note the beginning in", source))
}
