//! What operators see of the authoriser.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::invariant::Broken;
use ingest::{record::Stored, wire::v1::Event};
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, core::Collector,
};

use crate::command::Refusal;

/// What a terminal waits for: from its request here to its durable answer, in seconds.
pub const DECISION_DURATION: &str = "avis_authoriser_decision_duration_seconds";
/// Decisions on the stream, online and uploaded, by what was decided.
pub const DECISIONS: &str = "avis_authoriser_decisions_total";
/// Changes of authorisations on the stream, by what they did.
pub const CHANGES: &str = "avis_authoriser_changes_total";
/// Requests that were refused, by what was asked and why.
pub const REFUSALS: &str = "avis_authoriser_refusals_total";
/// The rules' own time for a basket, in seconds.
pub const EVALUATION_DURATION: &str = "avis_authoriser_evaluation_duration_seconds";
/// Requests that were decided together.
pub const BATCH: &str = "avis_authoriser_batch_requests";
/// Time in which the one decision loop was at work, in seconds.
pub const BUSY: &str = "avis_authoriser_busy_seconds_total";
/// Requests that wait to be decided.
pub const QUEUE: &str = "avis_authoriser_queue_requests";
/// How many requests may wait to be decided.
pub const QUEUE_LIMIT: &str = "avis_authoriser_queue_limit_requests";
/// When rules, means and memberships were last read up to their streams' ends.
pub const REFRESHED: &str = "avis_authoriser_refreshed_timestamp_seconds";
/// Up to which offset of `registry-changes` the rules in force have it.
pub const REGISTRY_OFFSET: &str = "avis_authoriser_registry_offset";
/// Money given in benefits by decisions, before refunds, in cents.
pub const BENEFIT: &str = "avis_authoriser_benefit_cents_total";
/// Money that offline terminals gave beyond what the rules give, in cents.
pub const EXCESS: &str = "avis_authoriser_excess_cents_total";
/// Decisions that break an invariant, such as a limit that is exceeded: none, ever.
pub const BROKEN: &str = "avis_authoriser_broken_invariants_total";
/// Limits that are exceeded in the sum of the stream, of whomever: none, ever.
pub const OVERSPENT: &str = "avis_authoriser_overspent_limits";
/// When the stream was last added up against limits; 0 where it has not been yet.
pub const LIMITS_CHECKED: &str = "avis_authoriser_limits_checked_timestamp_seconds";
/// Batches that were decided on counters which were lost meanwhile, and were not recorded.
pub const COUNTERS_LOST: &str = "avis_authoriser_counters_lost_total";
/// The duration of what the cache was asked, by backend and operation, in seconds.
pub const CACHE_REQUEST_DURATION: &str = "avis_cache_request_duration_seconds";

/// Bounds of a wait: fine below a millisecond, one at the service level of 10 ms.
const WAITS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.05, 0.1,
    0.25, 1.0, 5.0,
];
/// The transitions that an authorisation makes.
const TRANSITIONS: [&str; 4] = ["capture", "void", "expire", "refund"];
/// What is decided of a basket.
const OUTCOMES: [&str; 3] = ["approved", "no_benefit", "declined"];
/// What terminals ask.
const COMMANDS: [&str; 3] = ["authorise", "change", "reverse"];

/// The authoriser's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: HistogramVec,
    decisions: IntCounterVec,
    changes: IntCounterVec,
    refusals: IntCounterVec,
    evaluation: Histogram,
    batch: Histogram,
    busy: Counter,
    queue: IntGauge,
    queue_limit: IntGauge,
    refreshed: Gauge,
    registry_offset: IntGauge,
    benefit: IntCounter,
    excess: IntCounter,
    broken: IntCounter,
    overspent: IntGauge,
    limits_checked: Gauge,
    counters_lost: IntCounter,
    cache_requests: HistogramVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let spread = |name: &str, help: &str, buckets: Vec<f64>| {
            HistogramOpts::new(name, help).buckets(buckets)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let wait = "wait of a terminal's basket from its arrival to its durable answer";
        let duration =
            HistogramVec::new(spread(DECISION_DURATION, wait, WAITS.to_vec()), &["decision"])?;
        let cache_requests = HistogramVec::new(
            spread(
                CACHE_REQUEST_DURATION,
                "duration of a batch asked of the cache",
                prometheus::exponential_buckets(1e-5, 4.0, 10)?,
            ),
            &["backend", "operation"],
        )?;
        let metrics = Self {
            duration,
            decisions: counters(DECISIONS, "decisions on the stream", &["decision"])?,
            changes: counters(CHANGES, "changes of authorisations on the stream", &["transition"])?,
            refusals: counters(REFUSALS, "requests refused", &["command", "reason"])?,
            evaluation: Histogram::with_opts(spread(
                EVALUATION_DURATION,
                "the rules' own time for a basket",
                prometheus::exponential_buckets(1e-6, 4.0, 9)?,
            ))?,
            batch: Histogram::with_opts(spread(
                BATCH,
                "requests decided together",
                prometheus::exponential_buckets(1.0, 2.0, 10)?,
            ))?,
            busy: Counter::new(BUSY, "time in which the decision loop was at work")?,
            queue: IntGauge::new(QUEUE, "requests that wait to be decided")?,
            queue_limit: IntGauge::new(QUEUE_LIMIT, "requests that may wait to be decided")?,
            refreshed: Gauge::new(
                REFRESHED,
                "when rules, means and memberships were last brought up to date",
            )?,
            registry_offset: IntGauge::new(
                REGISTRY_OFFSET,
                "offset of registry-changes up to which the rules in force have it",
            )?,
            benefit: IntCounter::new(BENEFIT, "given in benefits, before refunds")?,
            excess: IntCounter::new(EXCESS, "given offline beyond what the rules give")?,
            broken: IntCounter::new(BROKEN, "decisions that break an invariant")?,
            overspent: IntGauge::new(
                OVERSPENT,
                "limits that are exceeded in the sum of the stream",
            )?,
            limits_checked: Gauge::new(
                LIMITS_CHECKED,
                "when the stream was last added up against limits",
            )?,
            counters_lost: IntCounter::new(
                COUNTERS_LOST,
                "batches not recorded because their counters were lost",
            )?,
            cache_requests,
        };
        metrics.enter(registry)?;
        metrics.begin();
        Ok(metrics)
    }

    fn enter(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 18] = [
            Box::new(self.duration.clone()),
            Box::new(self.decisions.clone()),
            Box::new(self.changes.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.evaluation.clone()),
            Box::new(self.batch.clone()),
            Box::new(self.busy.clone()),
            Box::new(self.queue.clone()),
            Box::new(self.queue_limit.clone()),
            Box::new(self.refreshed.clone()),
            Box::new(self.registry_offset.clone()),
            Box::new(self.benefit.clone()),
            Box::new(self.excess.clone()),
            Box::new(self.broken.clone()),
            Box::new(self.overspent.clone()),
            Box::new(self.limits_checked.clone()),
            Box::new(self.counters_lost.clone()),
            Box::new(self.cache_requests.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))
    }

    /// Everything that can be counted is there from the start, at 0: a rate over what appears with its
    /// first failure misses that failure.
    fn begin(&self) {
        for outcome in OUTCOMES {
            let _ = self.duration.with_label_values(&[outcome]);
            let _ = self.decisions.with_label_values(&[outcome]);
        }
        for transition in TRANSITIONS {
            let _ = self.changes.with_label_values(&[transition]);
        }
        for command in COMMANDS {
            for reason in Refusal::CODES {
                let _ = self.refusals.with_label_values(&[command, reason]);
            }
        }
    }

    /// A basket was decided by the rules.
    pub(crate) fn evaluated(&self, took: Duration) {
        self.evaluation.observe(took.as_secs_f64());
    }

    /// A terminal has the decision of its basket.
    pub(crate) fn answered(&self, decision: &str, waited: Duration) {
        self.duration.with_label_values(&[decision]).observe(waited.as_secs_f64());
    }

    /// Something was not done.
    pub(crate) fn refused(&self, command: &str, refusal: &Refusal) {
        self.refusals.with_label_values(&[command, refusal.code()]).inc();
    }

    /// A batch is on the stream.
    pub(crate) fn recorded(&self, stored: &[Stored]) {
        for stored in stored {
            match &stored.record.event {
                Event::AuthorisationDecided(event) => {
                    self.decisions.with_label_values(&[event.decision.as_str()]).inc();
                    self.benefit.inc_by(u64::try_from(event.benefit_cents).unwrap_or(0));
                    self.excess.inc_by(u64::try_from(event.excess_cents).unwrap_or(0));
                }
                Event::AuthorisationChanged(event) => {
                    self.changes.with_label_values(&[event.transition.as_str()]).inc();
                }
                _ => {}
            }
        }
    }

    /// A turn of the decision loop is over.
    pub(crate) fn turned(&self, requests: usize, took: Duration) {
        self.busy.inc_by(took.as_secs_f64());
        if requests > 0 {
            self.batch.observe(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)));
        }
    }

    /// The registers were read up to their streams' ends.
    pub(crate) fn refreshed(&self, now: DateTime<Utc>, registry_offset: u64) {
        set(&self.refreshed, now);
        self.registry_offset.set(i64::try_from(registry_offset).unwrap_or(i64::MAX));
    }

    /// So many requests wait, and so many may.
    pub(crate) fn queued(&self, waiting: usize, limit: usize) {
        self.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.queue_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// A decision is not what decisions have to be.
    pub(crate) fn broken(&self, broken: &Broken) {
        self.broken.inc();
        tracing::error!(%broken, "a decision breaks an invariant");
    }

    /// The stream was added up: so many limits are exceeded.
    pub fn overspent(&self, limits: usize, now: DateTime<Utc>) {
        self.overspent.set(i64::try_from(limits).unwrap_or(i64::MAX));
        set(&self.limits_checked, now);
    }

    /// What was decided stands on counters that were lost.
    pub(crate) fn counters_lost(&self, records: usize) {
        self.counters_lost.inc();
        tracing::warn!(records, "decided on counters that were lost");
    }

    /// The cache answered a batch, or did not.
    pub fn cache_asked(&self, backend: &str, operation: &str, took: Duration) {
        self.cache_requests.with_label_values(&[backend, operation]).observe(took.as_secs_f64());
    }
}

fn set(gauge: &Gauge, instant: DateTime<Utc>) {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    gauge.set(instant.timestamp_millis() as f64 / 1_000.0);
}
