//! Issuers of identification means.

pub mod http;
mod ledger;
mod request;
pub mod translate;

use std::{collections::HashSet, sync::Arc};

use domain::id::{IssuerId, RecordId};
use ingest::{
    clock::Clock,
    record::{Record, outside_id},
    spread,
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};

use crate::{
    connector::{Again, Connector, Refusal},
    problem::Problem,
};

/// Whether a body registers a means, or else changes one, as it has to.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn check(body: &[u8], is_new: bool, vault: &Vault) -> Result<(), Problem> {
    match is_new {
        true => request::register(body, vault).map(|_| ()),
        false => request::changed(body).map(|_| ()),
    }
}

/// Takes files of means.
#[derive(Debug)]
pub struct MeansFiles {
    /// The issuers of the registry.
    pub issuers: HashSet<IssuerId>,
    /// For keyed hashes, and for finding holders.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
}

impl Connector for MeansFiles {
    fn name(&self) -> &'static str {
        "issuer"
    }

    fn topic(&self) -> Topic {
        Topic::MeansChanges
    }

    fn again(&self) -> Again {
        Again::Changes
    }

    /// A means is its token; what else is said of it may change.
    fn identity(&self, record: &Record) -> RecordId {
        match &record.event {
            Event::MeansChanged(change) => outside_id("means", &change.token),
            _ => record.id,
        }
    }

    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let now = self.clock.now();
        let one = |message: &[u8]| translate::means(message, &self.issuers, &self.vault, now);
        spread::map(messages.to_vec(), one)
    }
}
