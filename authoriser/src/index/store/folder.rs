//! An index's rows in a folder, in the kept storage engine.

use std::{ops::Bound, path::Path, sync::Arc};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, compaction::Leveled};
use ingest::first_start;

use super::{Part, Rows, Store, Write};

/// What the store keeps in memory of blocks read.
const BLOCK_CACHE_BYTES: u64 = 64 << 20;
/// And of each keyspace's rows before they become a table: few, as they come in random order.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// How much it writes of a table before it syncs and begins the next: the log's appends, which share
/// its file system's journal, wait for all of it.
const TABLE_BYTES: u64 = 4 << 20;

/// Rows in a folder.
pub struct Folder {
    database: Database,
    /// In the order of [`Part::ALL`].
    parts: Vec<Keyspace>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").finish_non_exhaustive()
    }
}

impl Folder {
    /// Opens the rows of a folder, which the caller alone has.
    ///
    /// # Errors
    /// Where the folder cannot be read or written, or what lies there is damaged.
    pub fn open(folder: &Path) -> Result<Self, fjall::Error> {
        first_start::finish(folder)?;
        let database =
            Database::builder(folder).cache_size(BLOCK_CACHE_BYTES).worker_threads(1).open()?;
        let tree = Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .compaction_strategy(tree.clone())
        };
        let open = |part: Part| database.keyspace(part.name(), options);
        let parts = Part::ALL.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { database, parts })
    }

    fn of(&self, part: Part) -> &Keyspace {
        &self.parts[part as usize]
    }
}

/// Rows as they come from the engine.
fn rows(iter: fjall::Iter) -> Rows<'static> {
    Box::new(iter.map(|guard| {
        let (key, value) = guard.into_inner()?;
        Ok((key.to_vec(), value.to_vec()))
    }))
}

impl Store for Folder {
    fn get(&self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>, fjall::Error> {
        Ok(self.of(part).get(key)?.map(|value| value.to_vec()))
    }

    fn prefix(&self, part: Part, prefix: &[u8]) -> Rows<'_> {
        match prefix {
            [] => rows(self.of(part).iter()),
            prefix => rows(self.of(part).prefix(prefix)),
        }
    }

    fn range(&self, part: Part, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows<'_> {
        rows(self.of(part).range((from, to)))
    }

    fn write(&self, batch: Vec<Write>) -> Result<(), fjall::Error> {
        let mut written = self.database.batch();
        for write in batch {
            match write {
                Write::Put(part, key, value) => written.insert(self.of(part), key, value),
                Write::Remove(part, key) => written.remove(self.of(part), key),
            }
        }
        written.commit()
    }
}
