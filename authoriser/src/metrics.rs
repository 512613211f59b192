//! What operators see of the authoriser.

use std::time::Duration;

use domain::decision::Outcome;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// The duration of decisions, by what was decided, in seconds.
pub const DECISION_DURATION: &str = "avis_authoriser_decision_duration_seconds";
/// Decisions, by what was decided.
pub const DECISIONS: &str = "avis_authoriser_decisions_total";
/// The duration of what the cache was asked, by backend and operation, in seconds.
pub const CACHE_REQUEST_DURATION: &str = "avis_cache_request_duration_seconds";

/// The authoriser's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: HistogramVec,
    decisions: IntCounterVec,
    cache_requests: HistogramVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(1e-6, 4.0, 12)?;
        let duration = HistogramVec::new(
            HistogramOpts::new(DECISION_DURATION, "duration of a decision").buckets(buckets),
            &["decision"],
        )?;
        let decisions = IntCounterVec::new(Opts::new(DECISIONS, "decisions"), &["decision"])?;
        let buckets = prometheus::exponential_buckets(1e-5, 4.0, 10)?;
        let help = "duration of a batch asked of the cache";
        let cache_requests = HistogramVec::new(
            HistogramOpts::new(CACHE_REQUEST_DURATION, help).buckets(buckets),
            &["backend", "operation"],
        )?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(decisions.clone()))?;
        registry.register(Box::new(cache_requests.clone()))?;
        Ok(Self { duration, decisions, cache_requests })
    }

    /// A decision was made.
    pub fn decided(&self, outcome: Outcome, took: Duration) {
        self.duration.with_label_values(&[outcome.code()]).observe(took.as_secs_f64());
        self.decisions.with_label_values(&[outcome.code()]).inc();
    }

    /// The cache answered a batch, or did not.
    pub fn cache_asked(&self, backend: &str, operation: &str, took: Duration) {
        self.cache_requests.with_label_values(&[backend, operation]).observe(took.as_secs_f64());
    }
}
