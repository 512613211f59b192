//! The index of one process, over rows that outlive it.

use std::{ops::Bound, sync::Arc};

use authoriser::index::store::{Part, Rows, Store, Write, model::Memory};

use crate::faults::Life;

/// The rows of an index as one process has them: once it has ended it changes none.
#[derive(Debug)]
pub struct NodeStore {
    /// What outlives it.
    pub rows: Arc<Memory>,
    /// Of the process.
    pub life: Life,
}

impl Store for NodeStore {
    fn get(&self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>, fjall::Error> {
        self.rows.get(part, key)
    }

    fn prefix(&self, part: Part, prefix: &[u8]) -> Rows<'_> {
        self.rows.prefix(part, prefix)
    }

    fn range(&self, part: Part, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows<'_> {
        self.rows.range(part, from, to)
    }

    fn write(&self, batch: Vec<Write>) -> Result<(), fjall::Error> {
        if self.life.lasts() { self.rows.write(batch) } else { Err(fjall::Error::Poisoned) }
    }
}
