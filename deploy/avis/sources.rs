//! The connectors of files, made from a node's registry, keys and clock.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
};

use connectors::{
    dagr::{PersonChanges, snapshot::Snapshot},
    grantor::{self, MembershipLists},
    issuer::MeansFiles,
    load::{self, Account},
    portal::PortalEvents,
    terminal::{Terminals, TransactionFiles},
    vpvkac::CentreEvents,
};
use domain::registry::Registry;
use ingest::{clock::Clock, vault::Vault};

use crate::{failure::Failure, node::Node};

/// What is looked at of a file to tell whose events it has.
const LONGEST_FIRST: usize = 64 << 10;

/// The connectors of files, as a node has them now.
#[derive(Debug)]
pub struct Sources {
    registry: Arc<Registry>,
    vault: Vault,
    clock: Arc<dyn Clock>,
}

impl Sources {
    /// Those of a node with this registry.
    pub fn of(node: &Node, registry: Arc<Registry>) -> Self {
        Self { registry, vault: node.vault.clone(), clock: Arc::clone(&node.clock) }
    }

    /// Of person changes; a snapshot's lines are noted.
    pub fn persons(&self, snapshot: &Arc<Mutex<Snapshot>>) -> PersonChanges {
        let (vault, clock) = (self.vault.clone(), Arc::clone(&self.clock));
        PersonChanges { vault, clock, snapshot: Arc::clone(snapshot) }
    }

    /// Of identification means.
    pub fn means(&self) -> MeansFiles {
        let issuers = self.registry.issuers.iter().map(|issuer| issuer.id.clone()).collect();
        MeansFiles { issuers, vault: self.vault.clone(), clock: Arc::clone(&self.clock) }
    }

    /// Of lists of members.
    pub fn memberships(&self) -> MembershipLists {
        let groups = grantor::lists(&self.registry);
        let (vault, clock) = (self.vault.clone(), Arc::clone(&self.clock));
        MembershipLists { groups, only: None, vault, clock }
    }

    /// Of offline transactions.
    pub fn transactions(&self) -> TransactionFiles {
        let terminals = Arc::new(Terminals::of(&self.registry));
        let (vault, clock) = (self.vault.clone(), Arc::clone(&self.clock));
        TransactionFiles { terminals, vault, clock }
    }

    /// Of service centres' events.
    pub fn centre_events(&self) -> CentreEvents {
        let centres = self.registry.centres.iter().map(|centre| centre.id.clone()).collect();
        CentreEvents { centres, vault: self.vault.clone(), clock: Arc::clone(&self.clock) }
    }

    /// Of the portal's events.
    pub fn portal_events(&self) -> PortalEvents {
        PortalEvents { vault: self.vault.clone(), clock: Arc::clone(&self.clock) }
    }

    /// Loads a file of events, which are the portal's where the first one says so, else those of
    /// service centres.
    ///
    /// # Errors
    /// Where the file or a stream fails.
    pub async fn load_events(
        &self,
        node: &Node,
        reader: impl Read + Send + 'static,
        origin: &str,
        told: impl FnMut(u64),
    ) -> Result<Account, Failure> {
        let mut reader = BufReader::with_capacity(LONGEST_FIRST, reader);
        let first =
            reader.fill_buf().map_err(|source| Failure::Read { path: origin.into(), source })?;
        let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_portal = String::from_utf8_lossy(line).contains("\"lv.portal.");
        Ok(if is_portal {
            load::load(&node.loading, self.portal_events(), reader, origin, told).await?
        } else {
            load::load(&node.loading, self.centre_events(), reader, origin, told).await?
        })
    }

    /// Loads a file of person changes; one that is a snapshot removes who is not in it.
    ///
    /// # Errors
    /// Where the file or the streams fail, or it would remove more than 1 % of the people without
    /// `yes`.
    pub async fn load_persons(
        &self,
        node: &Node,
        reader: impl Read + Send + 'static,
        origin: &str,
        yes: bool,
        told: impl FnMut(u64),
    ) -> Result<Account, Failure> {
        let snapshot = Arc::default();
        let connector = self.persons(&snapshot);
        let account = load::load(&node.loading, connector, reader, origin, told).await?;
        let snapshot =
            std::mem::take(&mut *snapshot.lock().unwrap_or_else(PoisonError::into_inner));
        snapshot.finish(&node.log, &*node.clock, &account, yes).await?;
        Ok(account)
    }
}
