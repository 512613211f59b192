//! What operators see of the pipelines.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Records that a pipeline has not landed yet.
pub const LAG: &str = "avis_pipelines_lag_records";
/// How long the oldest record of a table's newest commit had waited for it, in seconds.
pub const FRESHNESS: &str = "avis_pipelines_freshness_seconds";
/// Records that came after their window had closed.
pub const LATE: &str = "avis_pipelines_late_records_total";

/// The pipelines' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    lag: IntGaugeVec,
    freshness: GaugeVec,
    late: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let lag = Opts::new(LAG, "records that a pipeline has not landed yet");
        let fresh = Opts::new(FRESHNESS, "wait of the oldest record of a table's newest commit");
        let late = Opts::new(LATE, "records that came after their window had closed");
        let metrics = Self {
            lag: IntGaugeVec::new(lag, &["pipeline"])?,
            freshness: GaugeVec::new(fresh, &["table"])?,
            late: IntCounterVec::new(late, &["pipeline"])?,
        };
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.freshness.clone()))?;
        registry.register(Box::new(metrics.late.clone()))?;
        Ok(metrics)
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
        tracing::warn!(pipeline, records, "records came after their window had closed");
    }
}
