//! Terminals (IDS): what they ask over HTTP and gRPC, and what they did while offline.

mod admission;
pub mod answer;
pub(crate) mod basket;
pub mod batch;
pub mod enrolment;
pub mod grpc;
pub mod http;
pub mod kit;
pub mod openapi;
pub(crate) mod pace;
mod plain;
pub mod request;
pub mod translate;
pub mod wire;

use std::sync::Arc;

use ingest::{clock::Clock, record::Record, topic::Topic, vault::Vault};

use crate::connector::{Connector, Refusal};

pub use translate::Terminals;

/// Takes files of offline transactions.
#[derive(Debug)]
pub struct TransactionFiles {
    /// The terminals of the registry.
    pub terminals: Arc<Terminals>,
    /// For the keyed hashes of means.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
}

impl Connector for TransactionFiles {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn topic(&self) -> Topic {
        Topic::TerminalTransactions
    }

    /// Two halves at once: parsing is the most expensive step of an upload.
    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let now = self.clock.now();
        let (terminals, vault) = (&*self.terminals, &self.vault);
        let is_known = |terminal: &_| terminals.has(terminal);
        let one = |message: &&[u8]| translate::transaction(message, &is_known, vault, now);
        let (first, second) = messages.split_at(messages.len() / 2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| second.iter().map(one).collect::<Vec<_>>());
            let mut translated: Vec<_> = first.iter().map(one).collect();
            translated.extend(other.join().unwrap_or_default());
            translated
        })
    }
}
