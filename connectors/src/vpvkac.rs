//! The customer service centres (VPVKAC): calls, officials' availability, services.
//!
//! What systems of the centres tell comes in files (`translate`) and is landed. Calls between a
//! centre and a remote official are given here, live: `board` is the view that the stream makes,
//! `decide` who gets a call, `desk` the one who decides, `live` and `http` how it is told.
//!
//! **Invariant:** an official has one call at most, a call one official at most, and what was
//! answered is on the stream. Events from outside never move the board.

pub mod answer;
pub mod board;
pub mod call;
pub mod decide;
pub mod desk;
pub mod elsewhere;
pub mod http;
pub mod live;
pub mod request;
pub mod roster;
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
