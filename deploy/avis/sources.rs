//! The connectors of files, made from a node's registry, keys and clock.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
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
/// What only the portal's events have.
const PORTAL: &str = "\"lv.portal.";

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

    /// Loads a file of events, service centres' and the portal's in any order: each connector reads
    /// what is its own, and empty lines in place of the others, so that lines have their numbers.
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
        let failed = |source| Failure::Read { path: origin.into(), source };
        let (centres, to_centres) = io::pipe().map_err(failed)?;
        let (portal, to_portal) = io::pipe().map_err(failed)?;
        let dividing = std::thread::spawn(move || divide(reader, to_centres, to_portal));
        let told = Mutex::new(told);
        let tell = |lines| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            (*told)(lines);
        };
        let (of_centres, of_portal) = futures::join!(
            load::load(&node.loading, self.centre_events(), centres, origin, tell),
            load::load(&node.loading, self.portal_events(), portal, origin, tell),
        );
        let (mut account, of_portal) = (of_centres?, of_portal?);
        // It ends where both have: a panic of it is none of the file's faults.
        dividing.join().unwrap_or(Ok(())).map_err(failed)?;
        account.add(of_portal);
        Ok(account)
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

/// Writes each line to whose it is, and an empty one to the other; no long line is held whole.
fn divide(reader: impl Read, centres: impl Write, portal: impl Write) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(LONGEST_FIRST, reader);
    let (mut centres, mut portal) = (BufWriter::new(centres), BufWriter::new(portal));
    let (mut part, mut is_portal) = (Vec::<u8>::new(), None);
    while reader.by_ref().take(LONGEST_FIRST as u64).read_until(b'\n', &mut part)? > 0 {
        let is_end = part.ends_with(b"\n");
        let of_portal =
            *is_portal.get_or_insert_with(|| String::from_utf8_lossy(&part).contains(PORTAL));
        let end = &part[part.len() - usize::from(is_end)..];
        if of_portal {
            portal.write_all(&part)?;
            centres.write_all(end)?;
        } else {
            centres.write_all(&part)?;
            portal.write_all(end)?;
        }
        if is_end {
            is_portal = None;
        }
        part.clear();
    }
    centres.flush()?;
    portal.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_whose_they_are_and_keep_their_numbers() {
        let long = "x".repeat(3 * LONGEST_FIRST);
        let text =
            format!("{{\"type\":\"lv.portal.login\"}}\n{long}\n\n\"lv.portal.login\" {long}");
        let (mut centres, mut portal) = (Vec::<u8>::new(), Vec::<u8>::new());
        divide(text.as_bytes(), &mut centres, &mut portal).expect("divided");
        assert_eq!(centres, format!("\n{long}\n\n").as_bytes());
        let own = format!("{{\"type\":\"lv.portal.login\"}}\n\n\n\"lv.portal.login\" {long}");
        assert_eq!(portal, own.as_bytes());
    }
}
