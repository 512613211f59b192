//! The authorisations used a short while ago, in memory: a capture mostly follows its reservation
//! within seconds, and after a sale mostly nothing follows. One leaves only after the index has its
//! newest record, so that reading it from there gives all of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{authorisation::Status, id::AuthorisationId};

use crate::history::History;

/// Reservations kept that nothing has ended.
const MOST_RESERVED: usize = 16_384;
/// Others kept, beyond those that the index has not.
const MOST_OTHERS: usize = 1_024;

/// Histories by authorisation, with the batch of their newest record.
#[derive(Debug, Default)]
pub struct Kept {
    histories: HashMap<AuthorisationId, (u64, History)>,
    reserved: VecDeque<(u64, AuthorisationId)>,
    others: VecDeque<(u64, AuthorisationId)>,
    indexed: Arc<AtomicU64>,
}

impl Kept {
    /// Up to which batch the index has everything; whoever writes the index raises it.
    #[must_use]
    pub fn indexed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.indexed)
    }

    /// One that is in memory.
    #[must_use]
    pub fn get(&self, id: AuthorisationId) -> Option<&History> {
        self.histories.get(&id).map(|(_, history)| history)
    }

    /// Forgets one: another authoriser may have changed it.
    pub fn forget(&mut self, id: AuthorisationId) {
        self.histories.remove(&id);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.histories.clear();
        self.reserved.clear();
        self.others.clear();
    }

    /// Keeps a history whose newest record is of a batch.
    pub fn put(&mut self, id: AuthorisationId, history: History, batch: u64) {
        let is_reserved = history.status() == Status::Reserved;
        self.histories.insert(id, (batch, history));
        let Self { histories, reserved, others, .. } = self;
        let (order, most) =
            if is_reserved { (reserved, MOST_RESERVED) } else { (others, MOST_OTHERS) };
        order.push_back((batch, id));
        let indexed = self.indexed.load(Ordering::Acquire);
        while order.len() > most {
            let Some((oldest, id)) = order.front().copied() else { break };
            if oldest > indexed {
                break;
            }
            order.pop_front();
            // One that has changed since stands further back, or among the others.
            if histories.get(&id).is_some_and(|(batch, _)| *batch == oldest) {
                histories.remove(&id);
            }
        }
    }
}
