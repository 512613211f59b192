//! What operators see of the connectors.

use prometheus::{IntCounterVec, Opts, Registry};

/// Messages that came, by connector and what became of them.
pub const REQUESTS: &str = "avis_connectors_requests_total";

/// The connectors' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(REQUESTS, "messages that came");
        let requests = IntCounterVec::new(options, &["connector", "status"])?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { requests })
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

    pub(crate) fn refused(&self, connector: &str) {
        self.requests.with_label_values(&[connector, "refused"]).inc();
    }
}
