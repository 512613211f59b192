//! What operators see of the connectors.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::call_event::{Availability, CallStep};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use crate::vpvkac::{board::Board, call::Stage};

/// Messages that came, by connector and what became of them.
pub const REQUESTS: &str = "avis_connectors_requests_total";
/// How long a request takes, by protocol, method, route and class of its status, in seconds; of a streamed
/// answer, until it begins.
pub const REQUEST_DURATION: &str = "avis_connectors_request_duration_seconds";
/// Requests that are being answered, by protocol.
pub const IN_FLIGHT: &str = "avis_connectors_requests_in_flight";
/// How many requests of terminals may be decided at once.
pub const DECIDED_LIMIT: &str = "avis_connectors_decided_at_once_limit";
/// Runs of people's changes that have not come: above 0 the register is to be asked for them again.
pub const GAPS: &str = "avis_connectors_person_change_gaps";
/// When it was last known how many have not come; 0 where it is not yet.
pub const GAPS_CHECKED: &str = "avis_connectors_gaps_checked_timestamp_seconds";
/// Calls that are open, by where they stand.
pub const CALLS: &str = "avis_connectors_calls";
/// Steps that calls have made at the desk, by which.
pub const CALL_STEPS: &str = "avis_connectors_call_steps_total";
/// How long a client waits until an official takes the call, in seconds.
pub const CALL_WAIT: &str = "avis_connectors_call_wait_seconds";
/// Officials, by whether they can be reached.
pub const OFFICIALS: &str = "avis_connectors_officials";
/// Who listens to the board of calls.
pub const LISTENERS: &str = "avis_connectors_board_listeners";
/// How many may listen to the board of calls.
pub const LISTENERS_LIMIT: &str = "avis_connectors_board_listeners_limit";

/// Bounds of an answer's time: fine below a millisecond, one at the service level of 10 ms.
const ANSWERS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];
/// Bounds of a client's wait: an offer lasts 20 seconds, the strictest criterion is minutes.
const CALL_WAITS: [f64; 11] =
    [2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 3_600.0];
/// The protocols that requests come by.
const PROTOCOLS: [&str; 2] = ["http", "grpc"];
/// What is counted of every node from its start.
const FIRST: [Asked<'static>; 2] =
    [Asked { protocol: "http", method: "GET", route: "/readyz" }, Asked::STREAMED];
/// The classes of statuses, by their first figure.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What an official can be.
const STANDINGS: [Availability; 4] =
    [Availability::Available, Availability::Busy, Availability::Away, Availability::Offline];
/// The steps of a call.
const STEPS: [CallStep; 7] = [
    CallStep::Requested,
    CallStep::Offered,
    CallStep::Accepted,
    CallStep::Connected,
    CallStep::Ended,
    CallStep::Abandoned,
    CallStep::Rated,
];

/// The connectors' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    decided_limit: IntGauge,
    gaps: IntGauge,
    gaps_checked: Gauge,
    calls: IntGaugeVec,
    call_steps: IntCounterVec,
    call_wait: Histogram,
    officials: IntGaugeVec,
    listeners: IntGauge,
    listeners_limit: IntGauge,
}

/// What a request asks for, in words of closed sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// `http` or `grpc`.
    pub(crate) protocol: &'static str,
    /// One of the methods that there are.
    pub(crate) method: &'static str,
    /// The template of its path: what the description says, never an id.
    pub(crate) route: &'a str,
}

impl Asked<'_> {
    /// A message of a terminal's stream.
    pub(crate) const STREAMED: Self =
        Self { protocol: "grpc", method: "POST", route: "/avis.terminal.v1.Terminal/Authorise" };
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Answering(IntGauge);

impl Drop for Answering {
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
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let took = HistogramOpts::new(REQUEST_DURATION, "duration of a request");
        let waited = HistogramOpts::new(CALL_WAIT, "wait until an official takes a call");
        let metrics = Self {
            requests: counters(REQUESTS, "messages that came", &["connector", "status"])?,
            duration: HistogramVec::new(
                took.buckets(ANSWERS.to_vec()),
                &["protocol", "method", "route", "status"],
            )?,
            in_flight: gauges(IN_FLIGHT, "requests that are being answered", &["protocol"])?,
            decided_limit: IntGauge::new(
                DECIDED_LIMIT,
                "requests of terminals that may be decided at once",
            )?,
            gaps: IntGauge::new(GAPS, "runs of changes of people that have not come")?,
            gaps_checked: Gauge::new(GAPS_CHECKED, "when gaps were last looked for")?,
            calls: gauges(CALLS, "calls that are open", &["stage"])?,
            call_steps: counters(CALL_STEPS, "steps that calls have made", &["step"])?,
            call_wait: Histogram::with_opts(waited.buckets(CALL_WAITS.to_vec()))?,
            officials: gauges(OFFICIALS, "officials of the board", &["availability"])?,
            listeners: IntGauge::new(LISTENERS, "who listens to the board")?,
            listeners_limit: IntGauge::new(LISTENERS_LIMIT, "how many may listen to the board")?,
        };
        let all: [Box<dyn Collector>; 12] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.duration.clone()),
            Box::new(metrics.in_flight.clone()),
            Box::new(metrics.decided_limit.clone()),
            Box::new(metrics.gaps.clone()),
            Box::new(metrics.gaps_checked.clone()),
            Box::new(metrics.calls.clone()),
            Box::new(metrics.call_steps.clone()),
            Box::new(metrics.call_wait.clone()),
            Box::new(metrics.officials.clone()),
            Box::new(metrics.listeners.clone()),
            Box::new(metrics.listeners_limit.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))?;
        metrics.begin();
        Ok(metrics)
    }

    /// What can be counted is there from the start, at 0.
    fn begin(&self) {
        for protocol in PROTOCOLS {
            let _ = self.in_flight.with_label_values(&[protocol]);
            for status in ["200", "429", "500", "503"] {
                let _ = self.requests.with_label_values(&[protocol, status]);
            }
        }
        for Asked { protocol, method, route } in FIRST {
            for class in ["2xx", "5xx"] {
                let _ = self.duration.with_label_values(&[protocol, method, route, class]);
            }
        }
        for step in STEPS {
            let _ = self.call_steps.with_label_values(&[step.code()]);
        }
        self.board(&Board::default());
    }

    /// A request has come by a protocol, and is being answered.
    pub(crate) fn came(&self, protocol: &str) -> Answering {
        let gauge = self.in_flight.with_label_values(&[protocol]);
        gauge.inc();
        Answering(gauge)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, asked: Asked<'_>, status: u32, took: Duration) {
        let Asked { protocol, method, route } = asked;
        // Of the hundred statuses that there are, few are ever given.
        self.requests.with_label_values(&[protocol, &status.to_string()]).inc();
        let first = usize::try_from(status / 100).unwrap_or_default();
        let class = first.checked_sub(1).and_then(|at| CLASSES.get(at).copied()).unwrap_or("5xx");
        let labels = [protocol, method, route, class];
        self.duration.with_label_values(&labels).observe(took.as_secs_f64());
    }

    /// So many requests of terminals may be decided at once.
    pub(crate) fn may_be_decided(&self, limit: usize) {
        self.decided_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// A call has made a step.
    pub(crate) fn stepped(&self, step: &str) {
        let known = STEPS.into_iter().find(|known| known.code() == step);
        known.into_iter().for_each(|step| self.call_steps.with_label_values(&[step.code()]).inc());
    }

    /// An official has taken a call, for which the client waited so long.
    pub(crate) fn taken_after(&self, waited: Duration) {
        self.call_wait.observe(waited.as_secs_f64());
    }

    /// How many calls and officials stand where on the board.
    pub(crate) fn board(&self, board: &Board) {
        let mut stages = [0_i64; 4];
        for of_matter in board.counts().values() {
            for (sum, count) in stages.iter_mut().zip(of_matter) {
                *sum += i64::from(*count);
            }
        }
        for (stage, count) in Stage::ALL.into_iter().zip(stages) {
            self.calls.with_label_values(&[stage.code()]).set(count);
        }
        for availability in STANDINGS {
            let of = board.standings().filter(|(_, of)| of.availability == availability);
            let count = i64::try_from(of.count()).unwrap_or(i64::MAX);
            self.officials.with_label_values(&[availability.code()]).set(count);
        }
    }

    /// So many listen to the board, and so many may.
    pub(crate) fn listening(&self, listeners: usize, limit: usize) {
        self.listeners.set(i64::try_from(listeners).unwrap_or(i64::MAX));
        self.listeners_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    pub(crate) fn taken(&self, connector: &str, messages: u64) {
        self.requests.with_label_values(&[connector, "taken"]).inc_by(messages);
    }

    pub(crate) fn already_there(&self, connector: &str) {
        self.requests.with_label_values(&[connector, "already_there"]).inc();
    }

    pub(crate) fn older(&self, connector: &str) {
        self.requests.with_label_values(&[connector, "older"]).inc();
    }

    /// As of now so many runs of people's changes have not come.
    pub(crate) fn gaps(&self, open: usize, now: DateTime<Utc>) {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        self.gaps_checked.set(now.timestamp_millis() as f64 / 1_000.0);
        self.gaps.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, connector: &str) {
        self.requests.with_label_values(&[connector, "refused"]).inc();
    }
}
