//! Up to where each partition of a backup is restored.
//!
//! By record time first: a partition ends before its first record of after the instant. Then whatever
//! follows from something that is not there goes, too: decisions by their numbers, so that no partition of
//! `authorisations` is ahead of another, and closings, evaluations and uploads by the offsets that they name.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, Utc};
use ingest::{
    backup::{
        BackupError,
        manifest::{Manifest, Stream},
        segment,
    },
    record::Record,
    topic::Topic,
    wire::v1::Event,
};

use super::decoded;
use crate::failure::Failure;

/// The cuts by partition.
#[derive(Debug, Default)]
pub struct Cuts(BTreeMap<(Topic, u32), u64>);

/// The partitions of a backup, those first that others follow from.
///
/// # Errors
/// Where it has a stream that this version does not know.
pub fn streams(manifest: &Manifest) -> Result<Vec<(Topic, &Stream)>, Failure> {
    let mut streams = Vec::new();
    for stream in &manifest.streams {
        let unknown = || Failure::State(format!("the backup has a stream {}", stream.stream));
        streams.push((Topic::parse(&stream.stream).ok_or_else(unknown)?, stream));
    }
    let place = |topic: &Topic| Topic::FOLLOWING.iter().rev().position(|of| of == topic);
    streams.sort_by_key(|(topic, stream)| (place(topic), stream.partition));
    Ok(streams)
}

impl Cuts {
    /// Those of an instant; without one the backup's own, which is an instant already.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn find(
        folder: &Path,
        manifest: &Manifest,
        to: Option<DateTime<Utc>>,
    ) -> Result<Self, Failure> {
        let streams = streams(manifest)?;
        let Some(to) = to else {
            let ends = streams.iter().map(|(topic, of)| ((*topic, of.partition), of.end));
            return Ok(Self(ends.collect()));
        };
        let mut cuts = Self::default();
        for (topic, stream) in &streams {
            // Who did what stays known, whatever is undone.
            let end = match topic {
                Topic::Audit => stream.end,
                _ => first(folder, *topic, stream, |record| record.recorded_at > to)?
                    .unwrap_or(stream.end),
            };
            cuts.0.insert((*topic, stream.partition), end);
            cuts.shorten(folder, *topic, stream)?;
        }
        // The number of the first decision that is not there, over all partitions.
        let of_decisions = || streams.iter().filter(|(topic, _)| *topic == Topic::Authorisations);
        let mut lowest: Option<u64> = None;
        for (topic, stream) in of_decisions() {
            let cut = cuts.of(*topic, stream.partition);
            let numbered = numbered_from(folder, *topic, stream, cut)?;
            lowest = lowest.into_iter().chain(numbered).min();
        }
        if let Some(lowest) = lowest {
            for (topic, stream) in of_decisions() {
                let later = |record: &Record| number(record).is_some_and(|of| of >= lowest);
                if let Some(offset) = first(folder, *topic, stream, later)? {
                    cuts.lower(*topic, stream.partition, offset);
                }
            }
        }
        for (topic, stream) in streams.iter().filter(|(topic, _)| *topic == Topic::Settlements) {
            cuts.shorten(folder, *topic, stream)?;
        }
        Ok(cuts)
    }

    /// Where a partition ends.
    #[must_use]
    pub fn of(&self, topic: Topic, partition: u32) -> u64 {
        self.0.get(&(topic, partition)).copied().unwrap_or(0)
    }

    fn lower(&mut self, topic: Topic, partition: u32, to: u64) {
        let cut = self.0.entry((topic, partition)).or_insert(to);
        *cut = (*cut).min(to);
    }

    /// Ends a partition before its first record that names an offset which is not there.
    fn shorten(&mut self, folder: &Path, topic: Topic, stream: &Stream) -> Result<(), Failure> {
        if !matches!(topic, Topic::Settlements | Topic::Entitlements | Topic::Authorisations) {
            return Ok(());
        }
        let ahead = |record: &Record| match &record.event {
            Event::PeriodClosed(event) => {
                let ends = (0_u32..).zip(&event.end_offsets);
                ends.into_iter().any(|(of, end)| *end > self.of(Topic::Authorisations, of))
            }
            Event::EntitlementEvaluated(event) => {
                event.changes_next.is_some_and(|next| next > self.of(Topic::PersonChanges, 0))
            }
            Event::AuthorisationDecided(event) => {
                let uploads = self.of(Topic::TerminalTransactions, 0);
                event.uploads_next.is_some_and(|next| next > uploads)
            }
            _ => false,
        };
        if let Some(offset) = first(folder, topic, stream, ahead)? {
            self.lower(topic, stream.partition, offset);
        }
        Ok(())
    }
}

/// A decision's number among all partitions, and that of what became of one.
fn number(record: &Record) -> Option<u64> {
    let is_numbered = matches!(
        record.event,
        Event::AuthorisationDecided(_) | Event::AuthorisationChanged(_) | Event::KeyBlocked(_)
    );
    Some(record.sequence).filter(|number| is_numbered && *number > 0)
}

/// The offset of the first record of which something holds.
fn first(
    folder: &Path,
    topic: Topic,
    stream: &Stream,
    holds: impl Fn(&Record) -> bool,
) -> Result<Option<u64>, Failure> {
    let mut found = None;
    for segment in &stream.segments {
        segment::each(folder, segment, |offset, bytes| {
            let record = decoded(topic, stream.partition, offset, bytes)?;
            if holds(&record) {
                found = Some(offset);
            }
            Ok::<_, BackupError>(found.is_none())
        })?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

/// The lowest number among the numbered records of a partition from an offset on: the first one's.
fn numbered_from(
    folder: &Path,
    topic: Topic,
    stream: &Stream,
    from: u64,
) -> Result<Option<u64>, Failure> {
    let mut found = None;
    for segment in stream.segments.iter().filter(|segment| segment.end > from) {
        segment::each(folder, segment, |offset, bytes| {
            if offset >= from {
                let record = decoded(topic, stream.partition, offset, bytes)?;
                found = number(&record);
            }
            Ok::<_, BackupError>(found.is_none())
        })?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}
