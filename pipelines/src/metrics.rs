//! What operators see of the pipelines.

use std::{
    collections::HashMap,
    fmt::{Debug, Display},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Records that a pipeline has not landed yet.
pub const LAG: &str = "avis_pipelines_lag_records";
/// How long the oldest record of a table's newest commit had waited for it, in seconds.
pub const FRESHNESS: &str = "avis_pipelines_freshness_seconds";
/// How long the oldest record of a batch waited until queries saw its rows, in seconds.
pub const VISIBLE_DURATION: &str = "avis_pipelines_visible_duration_seconds";
/// Since when the oldest record that has not landed waits; 0 where none does.
pub const WAITING_SINCE: &str = "avis_pipelines_waiting_since_timestamp_seconds";
/// How often pipelines began again after a failure that may pass.
pub const RESTARTS: &str = "avis_pipelines_restarts_total";
/// Records that came after their window had closed.
pub const LATE: &str = "avis_pipelines_late_records_total";

/// The pipelines' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    lag: IntGaugeVec,
    freshness: GaugeVec,
    late: IntCounterVec,
    visible: HistogramVec,
    waiting_since: GaugeVec,
    restarts: IntCounter,
    late_told: Arc<Mutex<HashMap<String, LateTold>>>,
}

/// What the log was told of a pipeline's late records.
#[derive(Debug)]
struct LateTold {
    at: Instant,
    /// Those since then.
    untold: u64,
}

/// The log is told of a pipeline's late records so often at most: thousands of batches may have some.
const LATE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Bounds of freshness: one at the service level of 2 seconds.
const FRESHNESS_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0];

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let lag = Opts::new(LAG, "records that a pipeline has not landed yet");
        let fresh = Opts::new(FRESHNESS, "wait of the oldest record of a table's newest commit");
        let late = Opts::new(LATE, "records that came after their window had closed");
        let visible =
            HistogramOpts::new(VISIBLE_DURATION, "wait until queries see a record's rows");
        let since = Opts::new(WAITING_SINCE, "since when the oldest record waits to land");
        let metrics = Self {
            lag: IntGaugeVec::new(lag, &["pipeline"])?,
            freshness: GaugeVec::new(fresh, &["table"])?,
            late: IntCounterVec::new(late, &["pipeline"])?,
            visible: HistogramVec::new(visible.buckets(FRESHNESS_BOUNDS.into()), &["pipeline"])?,
            waiting_since: GaugeVec::new(since, &["pipeline"])?,
            restarts: IntCounter::new(RESTARTS, "pipelines began again after a failure")?,
            late_told: Arc::default(),
        };
        let all: [Box<dyn Collector>; 6] = [
            Box::new(metrics.lag.clone()),
            Box::new(metrics.freshness.clone()),
            Box::new(metrics.late.clone()),
            Box::new(metrics.visible.clone()),
            Box::new(metrics.waiting_since.clone()),
            Box::new(metrics.restarts.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))?;
        Ok(metrics)
    }

    /// A pipeline begins, so many records behind; what can be counted is there from the start.
    pub(crate) fn begins(&self, pipeline: &str, lag: u64) {
        self.lag(pipeline, lag);
        let _ = self.freshness.with_label_values(&[pipeline]);
        let _ = self.late.with_label_values(&[pipeline]);
        let _ = self.visible.with_label_values(&[pipeline]);
        self.waiting_since(pipeline, None);
    }

    /// Queries see the rows of a batch, so long after its oldest record was recorded.
    pub(crate) fn visible(&self, pipeline: &str, waited: Duration) {
        self.visible.with_label_values(&[pipeline]).observe(waited.as_secs_f64());
    }

    /// The oldest record that has not landed waits since then; none does.
    pub(crate) fn waiting_since(&self, pipeline: &str, since: Option<DateTime<Utc>>) {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        let since = since.map_or(0.0, |since| since.timestamp_millis() as f64 / 1_000.0);
        self.waiting_since.with_label_values(&[pipeline]).set(since);
    }

    /// Pipelines over some streams begin again after a failure, so often still.
    pub(crate) fn restarted(&self, topics: &dyn Debug, error: &dyn Display, left: u32) {
        self.restarts.inc();
        tracing::warn!(?topics, %error, left, "pipelines start again");
    }

    /// A pipeline landed; so many records are still to come, and the oldest landed one waited.
    pub fn landed(&self, pipeline: &str, lag: u64, waited_seconds: f64) {
        self.lag(pipeline, lag);
        self.freshness.with_label_values(&[pipeline]).set(waited_seconds);
    }

    /// So many records of a stream are not landed by a pipeline.
    pub fn lag(&self, pipeline: &str, lag: u64) {
        self.lag.with_label_values(&[pipeline]).set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Records came after their window had closed, and are in none.
    pub fn late(&self, pipeline: &str, records: u64) {
        self.late.with_label_values(&[pipeline]).inc_by(records);
        if let Some(records) = self.to_tell(pipeline, records, Instant::now()) {
            tracing::warn!(pipeline, records, "records came after their window had closed");
        }
    }

    /// How many late records the log is told of now, with those that it was not told of before; none
    /// where it was told of some a moment ago.
    fn to_tell(&self, pipeline: &str, records: u64, now: Instant) -> Option<u64> {
        let mut told = self.late_told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = told.get_mut(pipeline) else {
            told.insert(pipeline.to_owned(), LateTold { at: now, untold: 0 });
            return Some(records);
        };
        last.untold += records;
        if now.duration_since(last.at) < LATE_TOLD_EVERY {
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_of_all_late_records_and_of_some_at_once() {
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(metrics.to_tell("a", 3, now), Some(3));
        assert_eq!(metrics.to_tell("b", 1, now), Some(1), "each pipeline for itself");
        for after in 1..60 {
            assert_eq!(metrics.to_tell("a", 2, now + after * second), None);
        }
        assert_eq!(metrics.to_tell("a", 2, now + 60 * second), Some(120));
        assert_eq!(metrics.to_tell("a", 5, now + 61 * second), None);
    }
}
