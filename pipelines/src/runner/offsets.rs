//! Offsets of a pipeline's streams, and the names by which a table's commits carry them.

use std::collections::BTreeMap;

use ingest::{error::LogError, log::Log, topic::Topic};
use warehouse::table::Positions;

use crate::{error::PipelineError, pipeline::Pipeline};

/// The next offset of every partition, by stream.
pub type Offsets = BTreeMap<Topic, Vec<u64>>;

/// An offset of every partition of some streams.
pub fn each<'a>(
    log: &dyn Log,
    topics: impl IntoIterator<Item = &'a Topic>,
    offset: impl Fn(Topic, u32) -> Result<u64, LogError>,
) -> Result<Offsets, PipelineError> {
    let of = |topic: &Topic| {
        let offsets = (0..log.partitions(*topic)).map(|partition| offset(*topic, partition));
        Ok((*topic, offsets.collect::<Result<_, LogError>>()?))
    };
    topics.into_iter().map(of).collect()
}

/// Where streams end now.
pub fn ends<'a>(
    log: &dyn Log,
    topics: impl IntoIterator<Item = &'a Topic>,
) -> Result<Offsets, PipelineError> {
    each(log, topics, |topic, partition| log.end(topic, partition))
}

/// Records between offsets and where the streams end now.
pub fn lag(log: &dyn Log, offsets: &Offsets) -> Result<u64, PipelineError> {
    let mut lag = 0_u64;
    for (topic, offsets) in offsets {
        for (partition, next) in (0_u32..).zip(offsets) {
            lag = lag.saturating_add(log.end(*topic, partition)?.saturating_sub(*next));
        }
    }
    Ok(lag)
}

/// What stands in a commit for offsets: `<pipeline>/<partition>`, with the stream between where
/// there are several.
pub fn applications(pipeline: &Pipeline, offsets: &Offsets) -> Positions {
    let mut applications = Positions::new();
    for (topic, offsets) in offsets {
        for (partition, next) in offsets.iter().enumerate() {
            applications.insert(application(pipeline, *topic, partition), number_of(*next));
        }
    }
    applications
}

/// Puts the offsets that a table's commits have in the place of others.
pub fn take_up(pipeline: &Pipeline, offsets: &mut Offsets, kept: &Positions) {
    for (topic, offsets) in offsets {
        for (partition, next) in offsets.iter_mut().enumerate() {
            if let Some(kept) = kept.get(&application(pipeline, *topic, partition)) {
                *next = u64::try_from(*kept).unwrap_or(0);
            }
        }
    }
}

fn application(pipeline: &Pipeline, topic: Topic, partition: usize) -> String {
    match pipeline.topics().len() {
        1 => format!("{}/{partition}", pipeline.name),
        _ => format!("{}/{topic}/{partition}", pipeline.name),
    }
}

/// An offset as a commit carries it.
pub fn number_of(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
