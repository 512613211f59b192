//! What operators see of the connectors.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Messages that came, by connector and what became of them.
pub const REQUESTS: &str = "avis_connectors_requests_total";
/// Runs of people's changes that have not come: above 0 the register is to be asked for them again.
pub const GAPS: &str = "avis_connectors_person_change_gaps";

/// The connectors' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    gaps: IntGauge,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(REQUESTS, "messages that came");
        let requests = IntCounterVec::new(options, &["connector", "status"])?;
        let gaps = IntGauge::new(GAPS, "runs of changes of people that have not come")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(gaps.clone()))?;
        Ok(Self { requests, gaps })
    }

    /// A request over HTTP was answered.
    pub(crate) fn answered(&self, status: u16) {
        // Of the hundred statuses that there are, few are ever given.
        self.requests.with_label_values(&["http", &status.to_string()]).inc();
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

    pub(crate) fn gaps(&self, open: usize) {
        self.gaps.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, connector: &str) {
        self.requests.with_label_values(&[connector, "refused"]).inc();
    }
}
