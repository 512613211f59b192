//! The customer service centres (VPVKAC): calls, officials' availability, services.

pub mod translate;

use std::{collections::HashSet, sync::Arc};

use domain::id::CentreId;
use ingest::{clock::Clock, record::Record, topic::Topic, vault::Vault};

use crate::connector::{Connector, Refusal};

/// Takes files of service-centre events.
#[derive(Debug)]
pub struct CentreEvents {
    /// The centres of the registry.
    pub centres: HashSet<CentreId>,
    /// For keyed hashes of staff.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
}

impl Connector for CentreEvents {
    fn name(&self) -> &'static str {
        "vpvkac"
    }

    fn topic(&self) -> Topic {
        Topic::ServiceEvents
    }

    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let now = self.clock.now();
        let one = |message: &&[u8]| translate::event(message, &self.centres, &self.vault, now);
        messages.iter().map(one).collect()
    }
}
