//! The authorisations used a short while ago, in memory: a capture mostly follows its reservation
//! within seconds. One leaves only after the index has its newest record, so that reading it from
//! there gives all of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::id::AuthorisationId;

use crate::history::History;

/// Authorisations kept.
const MOST: usize = 16_384;

/// Histories by authorisation, with the batch of their newest record.
#[derive(Debug, Default)]
pub struct Kept {
    histories: HashMap<AuthorisationId, (u64, History)>,
    order: VecDeque<(u64, AuthorisationId)>,
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
        self.order.clear();
    }

    /// Keeps a history whose newest record is of a batch.
    pub fn put(&mut self, id: AuthorisationId, history: History, batch: u64) {
        self.histories.insert(id, (batch, history));
        self.order.push_back((batch, id));
        let indexed = self.indexed.load(Ordering::Acquire);
        while self.order.len() > MOST {
            let Some((oldest, id)) = self.order.front().copied() else { break };
            if oldest > indexed {
                break;
            }
            self.order.pop_front();
            // One that has changed since stands further back, too.
            if self.histories.get(&id).is_some_and(|(batch, _)| *batch == oldest) {
                self.histories.remove(&id);
            }
        }
    }
}
