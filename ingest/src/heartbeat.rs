//! Heartbeats: records that tell a silent partition how far time has come, so that windows close at
//! night and where only some partitions get records.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::Clock,
    error::LogError,
    log::Log,
    record::{Record, outside_id},
    topic::{Topic, key_for},
    wire::v1::{Event, Heartbeat},
};

/// The streams of which time is told: those of events, which pipelines may group by time.
pub const TIMED: [Topic; 3] = [Topic::Authorisations, Topic::ServiceEvents, Topic::PortalEvents];

/// How much later than it happened a record may come and still find its window open.
const LATENESS: TimeDelta = TimeDelta::minutes(5);
/// The pause between two beats after records came; it doubles while none come.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Tells every partition of a stream that does not know it yet that all before `until` has come.
/// How many were told.
///
/// # Errors
/// Where the stream cannot be read or appended to.
pub async fn tell(
    log: &Arc<dyn Log>,
    topic: Topic,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<usize, LogError> {
    let partitions = log.partitions(topic);
    let mut records = Vec::new();
    for partition in 0..partitions {
        let last = log.end(topic, partition)?.saturating_sub(1);
        let last = log.read(topic, partition, last, 1).await?;
        if last.first().is_some_and(|last| last.record.event_time >= until) {
            continue;
        }
        let name = format!("{topic}/{partition}/{}", until.timestamp_micros());
        records.push(Record {
            id: outside_id("heartbeat", &name),
            key: key_for(partition, partitions),
            source: "heartbeat".into(),
            sequence: 0,
            event_time: until,
            recorded_at: now,
            event: Event::Heartbeat(Heartbeat { until: until.timestamp_micros() }),
        });
    }
    if !records.is_empty() {
        log.append(topic, &records).await?;
    }
    Ok(records.len())
}

/// Tells time as it passes, often while records come and seldom while none do.
#[derive(Debug)]
pub struct Heartbeats {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    /// Of each stream: where its partitions ended after the last beat.
    ends: BTreeMap<Topic, Vec<u64>>,
    pause: Duration,
}

impl Heartbeats {
    /// Over a node's streams, by its clock.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, ends: BTreeMap::new(), pause: SHORTEST_PAUSE }
    }

    /// Beats for ever.
    ///
    /// # Errors
    /// Where a stream cannot be read, or is stopped.
    pub async fn run(mut self) -> Result<(), LogError> {
        loop {
            tokio::time::sleep(self.pause).await;
            match self.beat().await {
                // It goes on when the disk has room again.
                Err(error) if error.retry() => tracing::warn!(%error, "time is not told"),
                done => done?,
            }
        }
    }

    /// Tells all streams the time once, and decides when to do it again.
    async fn beat(&mut self) -> Result<(), LogError> {
        let now = self.clock.now();
        let mut grown = false;
        for topic in TIMED {
            let ends = self.ends_of(topic)?;
            grown |= self.ends.get(&topic).is_none_or(|before| *before != ends);
            tell(&self.log, topic, now - LATENESS, now).await?;
            self.ends.insert(topic, self.ends_of(topic)?);
        }
        self.pause = if grown { SHORTEST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        Ok(())
    }

    fn ends_of(&self, topic: Topic) -> Result<Vec<u64>, LogError> {
        (0..self.log.partitions(topic)).map(|partition| self.log.end(topic, partition)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, log::model::ModelLog};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[tokio::test]
    async fn partitions_that_know_it_are_left_alone() {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let (noon, later) = (at("2025-03-03T12:00:00Z"), at("2025-03-03T12:05:00Z"));
        let told = tell(&log, Topic::Authorisations, noon, later).await.expect("told");
        assert_eq!(told, 4);
        let again = tell(&log, Topic::Authorisations, noon, later).await.expect("told");
        assert_eq!(again, 0);
    }

    #[tokio::test]
    async fn the_pause_grows_while_nothing_comes() {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let clock = Arc::new(ManualClock::at(at("2025-03-03T12:00:00Z")));
        let mut beats = Heartbeats::new(Arc::clone(&log), Arc::clone(&clock) as _);
        let mut pauses = Vec::new();
        for minutes in [1, 2, 4, 8] {
            clock.advance_to(clock.now() + TimeDelta::minutes(minutes));
            beats.beat().await.expect("a beat");
            pauses.push(beats.pause.as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8]);
        tell(&log, Topic::ServiceEvents, clock.now(), clock.now()).await.expect("a record");
        beats.beat().await.expect("a beat");
        assert_eq!(beats.pause, SHORTEST_PAUSE);
    }
}
