//! DAGR, the state's data aggregator: people, as a snapshot and as changes.

pub mod snapshot;
pub mod translate;

use std::sync::{Arc, Mutex, PoisonError};

use ingest::{clock::Clock, record::Record, spread, topic::Topic, vault::Vault};

use self::snapshot::Snapshot;
use crate::connector::{Connector, Refusal};

/// Takes person changes; what a snapshot says of itself is kept beside.
#[derive(Debug)]
pub struct PersonChanges {
    /// Enrols people and seals what is said of them.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
    /// Filled while loading, where the first line begins a snapshot.
    pub snapshot: Arc<Mutex<Snapshot>>,
}

impl Connector for PersonChanges {
    fn name(&self) -> &'static str {
        "dagr"
    }

    fn topic(&self) -> Topic {
        Topic::PersonChanges
    }

    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let parsed = spread::map(messages.to_vec(), translate::person_change);
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let records = translate::records(&self.vault, parsed, self.clock.now(), &mut snapshot);
        snapshot.lines += messages.len() as u64;
        records
    }
}
