//! An index's rows in memory: the contract in a page of code, for simulation and for the suite.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Part, Row, Rows, Store, Write};

/// Batches that can be lost: as many as a machine keeps in memory before it writes them.
const UNWRITTEN: usize = 64;

/// Rows in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<(Part, Vec<u8>), Vec<u8>>,
    /// What takes back each of the newest batches.
    undo: VecDeque<Vec<Write>>,
}

impl State {
    /// Changes a row; what changes it back.
    fn change(&mut self, write: Write) -> Write {
        let (part, key, before) = match write {
            Write::Put(part, key, value) => {
                let before = self.rows.insert((part, key.clone()), value);
                (part, key, before)
            }
            Write::Remove(part, key) => {
                let place = (part, key);
                let before = self.rows.remove(&place);
                (part, place.1, before)
            }
        };
        match before {
            Some(value) => Write::Put(part, key, value),
            None => Write::Remove(part, key),
        }
    }
}

impl Memory {
    /// Loses the newest batches, as a machine does that loses power.
    pub fn fall_back(&self, batches: usize) {
        let mut state = self.state();
        for _ in 0..batches {
            let Some(undo) = state.undo.pop_back() else { break };
            for write in undo.into_iter().rev() {
                state.change(write);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn between(&self, from: Bound<(Part, Vec<u8>)>, wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let state = self.state();
        let part = match &from {
            Bound::Included((part, _)) | Bound::Excluded((part, _)) => Some(*part),
            Bound::Unbounded => None,
        };
        let rows = state.rows.range((from, Bound::Unbounded));
        let rows = rows.take_while(|((of, _), _)| Some(*of) == part);
        rows.map(|((_, key), value)| (key.clone(), value.clone())).take_while(wanted).collect()
    }
}

impl Store for Memory {
    fn get(&self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>, fjall::Error> {
        Ok(self.state().rows.get(&(part, key.to_vec())).cloned())
    }

    fn prefix(&self, part: Part, prefix: &[u8]) -> Rows<'_> {
        let from = Bound::Included((part, prefix.to_vec()));
        let rows = self.between(from, |(key, _)| key.starts_with(prefix));
        Box::new(rows.into_iter().map(Ok))
    }

    fn range(&self, part: Part, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows<'_> {
        let from = match from {
            Bound::Included(key) => Bound::Included((part, key)),
            Bound::Excluded(key) => Bound::Excluded((part, key)),
            Bound::Unbounded => Bound::Included((part, Vec::new())),
        };
        let rows = self.between(from, |(key, _)| match &to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        });
        Box::new(rows.into_iter().map(Ok))
    }

    fn write(&self, batch: Vec<Write>) -> Result<(), fjall::Error> {
        let mut state = self.state();
        let undo = batch.into_iter().map(|write| state.change(write)).collect();
        state.undo.push_back(undo);
        if state.undo.len() > UNWRITTEN {
            state.undo.pop_front();
        }
        Ok(())
    }
}
