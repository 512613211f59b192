//! What operators see of the streams.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::{dead_letter::Reason, topic::Topic};

/// Records appended, by stream.
pub const APPENDED: &str = "avis_ingest_appended_total";
/// The offset that the next record gets, by stream and partition: what a consumer's lag is against.
pub const END_OFFSET: &str = "avis_ingest_end_offset";
/// How long a write with its sync takes, in seconds.
pub const SYNC_DURATION: &str = "avis_ingest_sync_duration_seconds";
/// Records under one sync.
pub const SYNC_RECORDS: &str = "avis_ingest_sync_records";
/// What was refused, by connector and reason.
pub const DEAD_LETTERS: &str = "avis_ingest_dead_letters_total";

/// The metrics of the streams.
#[derive(Clone, Debug)]
pub struct Metrics {
    appended: IntCounterVec,
    end_offset: IntGaugeVec,
    sync_duration: Histogram,
    sync_records: Histogram,
    dead_letters: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        };
        let metrics = Self {
            appended: counters(APPENDED, "records appended", &["stream"])?,
            end_offset: IntGaugeVec::new(
                Opts::new(END_OFFSET, "offset that the next record gets"),
                &["stream", "partition"],
            )?,
            sync_duration: histogram(
                SYNC_DURATION,
                "duration of a write with its sync",
                prometheus::exponential_buckets(0.000_25, 2.0, 14)?,
            )?,
            sync_records: histogram(
                SYNC_RECORDS,
                "records under one sync",
                prometheus::exponential_buckets(1.0, 4.0, 8)?,
            )?,
            dead_letters: counters(DEAD_LETTERS, "what was refused", &["source", "reason"])?,
        };
        registry.register(Box::new(metrics.appended.clone()))?;
        registry.register(Box::new(metrics.end_offset.clone()))?;
        registry.register(Box::new(metrics.sync_duration.clone()))?;
        registry.register(Box::new(metrics.sync_records.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn appended(&self, topic: Topic, records: usize) {
        self.appended.with_label_values(&[topic.name()]).inc_by(records as u64);
    }

    pub(crate) fn ends_at(&self, topic: Topic, partition: u32, end: u64) {
        let labels = [topic.name(), &partition.to_string()];
        self.end_offset.with_label_values(&labels).set(i64::try_from(end).unwrap_or(i64::MAX));
    }

    pub(crate) fn synced(&self, took: Duration, records: usize) {
        self.sync_duration.observe(took.as_secs_f64());
        self.sync_records.observe(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    }

    /// Something was refused.
    pub fn refused(&self, connector: &str, reason: Reason) {
        self.dead_letters.with_label_values(&[connector, reason.code()]).inc();
    }
}
