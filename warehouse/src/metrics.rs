//! What operators see of the warehouse.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntGaugeVec, Opts, Registry};

/// How long a commit takes, by table, in seconds.
pub const COMMIT_DURATION: &str = "avis_warehouse_commit_duration_seconds";
/// Files that a table's newest version holds.
pub const LIVE_FILES: &str = "avis_warehouse_live_files";

/// The warehouse's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    commit: HistogramVec,
    live_files: IntGaugeVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.002, 2.0, 14)?;
        let options = HistogramOpts::new(COMMIT_DURATION, "duration of a commit").buckets(buckets);
        let commit = HistogramVec::new(options, &["table"])?;
        let live_files = IntGaugeVec::new(Opts::new(LIVE_FILES, "live files"), &["table"])?;
        registry.register(Box::new(commit.clone()))?;
        registry.register(Box::new(live_files.clone()))?;
        Ok(Self { commit, live_files })
    }

    /// A table is there, whether or not anything is ever committed to it.
    pub(crate) fn opened(&self, table: &str, live_files: usize) {
        let _ = self.commit.with_label_values(&[table]);
        self.live_files(table, live_files);
    }

    pub(crate) fn committed(&self, table: &str, took: Duration, live_files: usize) {
        self.commit.with_label_values(&[table]).observe(took.as_secs_f64());
        self.live_files(table, live_files);
    }

    pub(crate) fn live_files(&self, table: &str, live_files: usize) {
        let files = i64::try_from(live_files).unwrap_or(i64::MAX);
        self.live_files.with_label_values(&[table]).set(files);
    }
}
