//! The state portal: e-services of merchants, logins to them, and what they show in clients' workspaces.

pub mod login;
pub mod panels;
pub mod translate;

use std::sync::Arc;

use ingest::{clock::Clock, record::Record, topic::Topic, vault::Vault};

use crate::connector::{Connector, Refusal};

/// Takes files of portal events.
#[derive(Debug)]
pub struct PortalEvents {
    /// For keyed hashes of users.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
}

impl Connector for PortalEvents {
    fn name(&self) -> &'static str {
        "portal"
    }

    fn topic(&self) -> Topic {
        Topic::PortalEvents
    }

    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let now = self.clock.now();
        let one = |message: &&[u8]| translate::event(message, &self.vault, now);
        messages.iter().map(one).collect()
    }
}
