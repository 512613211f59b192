//! What operators see of the streams.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use crate::{dead_letter::Reason, topic::Topic};

/// Records appended, by stream.
pub const APPENDED: &str = "avis_ingest_appended_total";
/// The offset that the next record gets, by stream and partition: what a consumer's lag is against.
pub const END_OFFSET: &str = "avis_ingest_end_offset";
/// How long a write with its sync takes, in seconds.
pub const SYNC_DURATION: &str = "avis_ingest_sync_duration_seconds";
/// Records under one sync.
pub const SYNC_RECORDS: &str = "avis_ingest_sync_records";
/// Appends that were begun and are not acknowledged yet.
pub const WAITING: &str = "avis_ingest_waiting_appends";
/// Appends that may wait for the one writer; more wait outside.
pub const WAITING_LIMIT: &str = "avis_ingest_waiting_appends_limit";
/// Appends that were refused before anything was written, by why.
pub const REFUSED: &str = "avis_ingest_refused_appends_total";
/// 1 once a write or sync has failed: nothing is taken any more until the node starts again.
pub const STOPPED: &str = "avis_ingest_stopped";
/// What was refused, by connector and reason.
pub const DEAD_LETTERS: &str = "avis_ingest_dead_letters_total";

/// Connections made to Fluvio; more than a few a day mean that it goes away.
pub const FLUVIO_CONNECTIONS: &str = "avis_ingest_fluvio_connections_total";
/// Places where the client skipped offsets, which were then read again.
pub const FLUVIO_HOLES: &str = "avis_ingest_fluvio_holes_total";
/// Records not taken from Fluvio: `again` are those published twice, `early` those that came before
/// a record of the same outbox that is missing.
pub const FLUVIO_DROPPED: &str = "avis_ingest_fluvio_dropped_total";
/// Records of the outbox that were not read back yet.
pub const FLUVIO_WAITING: &str = "avis_ingest_fluvio_waiting_records";
/// 1 where a stream has stopped for good: evicted, another cluster, unreadable. An operator must
/// act.
pub const FLUVIO_STOPPED: &str = "avis_ingest_fluvio_stopped";

/// Why nothing is written.
const REFUSALS: [&str; 3] = ["disk_full", "read_only", "stopped"];

/// The metrics of the streams.
#[derive(Clone, Debug)]
pub struct Metrics {
    appended: IntCounterVec,
    end_offset: IntGaugeVec,
    sync_duration: Histogram,
    sync_records: Histogram,
    waiting: IntGauge,
    waiting_limit: IntGauge,
    refused: IntCounterVec,
    stopped: IntGauge,
    dead_letters: IntCounterVec,
}

/// An append that is on its way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(IntGauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
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
            waiting: IntGauge::new(WAITING, "appends that are not acknowledged yet")?,
            waiting_limit: IntGauge::new(WAITING_LIMIT, "appends that may wait for the writer")?,
            refused: counters(REFUSED, "appends refused before a write", &["reason"])?,
            stopped: IntGauge::new(STOPPED, "1 once a write or sync has failed")?,
            dead_letters: counters(DEAD_LETTERS, "what was refused", &["source", "reason"])?,
        };
        let all: [Box<dyn Collector>; 9] = [
            Box::new(metrics.appended.clone()),
            Box::new(metrics.end_offset.clone()),
            Box::new(metrics.sync_duration.clone()),
            Box::new(metrics.sync_records.clone()),
            Box::new(metrics.waiting.clone()),
            Box::new(metrics.waiting_limit.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.stopped.clone()),
            Box::new(metrics.dead_letters.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))?;
        metrics.begin();
        Ok(metrics)
    }

    /// What can be counted is there from the start, at 0.
    fn begin(&self) {
        for topic in Topic::ALL {
            let _ = self.appended.with_label_values(&[topic.name()]);
        }
        for reason in REFUSALS {
            let _ = self.refused.with_label_values(&[reason]);
        }
    }

    /// For a log that stands in front of a cluster, and for the copy that is read instead of it:
    /// appends are counted where they are synced, ends are those that readers see.
    pub(crate) fn in_two(self) -> Result<(Self, Self), prometheus::Error> {
        let apart = Self::register(&Registry::new())?;
        let copy = Self { end_offset: self.end_offset, ..apart.clone() };
        Ok((Self { end_offset: apart.end_offset, ..self }, copy))
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

    /// So many appends may wait for the writer.
    pub(crate) fn limited(&self, limit: usize) {
        self.waiting_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// An append is on its way.
    pub(crate) fn begun(&self) -> Waiting {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }

    /// Nothing was written of so many appends: one of [`REFUSALS`] says why.
    pub(crate) fn not_written(&self, reason: &str, appends: usize) {
        self.refused.with_label_values(&[reason]).inc_by(appends as u64);
    }

    /// A write or sync has failed.
    pub(crate) fn failed(&self, error: &dyn std::fmt::Display) {
        self.stopped.set(1);
        tracing::error!(%error, "a write to the log failed; nothing is taken any more");
    }

    /// Something was refused.
    pub fn refused(&self, connector: &str, reason: Reason) {
        self.dead_letters.with_label_values(&[connector, reason.code()]).inc();
    }
}

/// The metrics of streams that are kept on Fluvio.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    connections: IntCounter,
    holes: IntCounterVec,
    dropped: IntCounterVec,
    waiting: IntGaugeVec,
    stopped: IntGaugeVec,
}

impl ClusterMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let metrics = Self {
            connections: IntCounter::new(FLUVIO_CONNECTIONS, "connections made to Fluvio")?,
            holes: counters(FLUVIO_HOLES, "places where offsets were skipped", &["stream"])?,
            dropped: counters(FLUVIO_DROPPED, "records not taken", &["stream", "reason"])?,
            waiting: gauges(FLUVIO_WAITING, "records not read back", &["stream", "partition"])?,
            stopped: gauges(FLUVIO_STOPPED, "1 where a stream has stopped", &["stream"])?,
        };
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.holes.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.stopped.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn hole(&self, topic: Topic) {
        self.holes.with_label_values(&[topic.name()]).inc();
    }

    pub(crate) fn dropped(&self, topic: Topic, reason: &str, records: u64) {
        self.dropped.with_label_values(&[topic.name(), reason]).inc_by(records);
    }

    pub(crate) fn waiting(&self, topic: Topic, partition: u32, records: u64) {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        self.waiting.with_label_values(&[topic.name(), &partition.to_string()]).set(records);
    }

    pub(crate) fn stopped(&self, topic: Topic) {
        self.stopped.with_label_values(&[topic.name()]).set(1);
    }

    /// Places where the client skipped offsets so far.
    #[must_use]
    pub fn holes(&self, topic: Topic) -> u64 {
        self.holes.with_label_values(&[topic.name()]).get()
    }
}
