//! The log of a table as its writer appends to it.
//!
//! Appending costs the same whatever the table's size and age: an entry is put under the next
//! version's name if nobody has put one there. Nothing is read back, and nothing is kept in memory
//! but the version. Whoever comes second loses, and has to read before writing again.

use std::collections::HashMap;

use deltalake::{
    DeltaTableError, Path,
    kernel::{
        Action, Transaction,
        transaction::{CommitData, PROTOCOL},
    },
    logstore::{CommitOrBytes, LogStoreRef, commit_uri_from_version},
    protocol::{DeltaOperation, SaveMode},
};
use object_store::{Error as StoreError, ObjectStoreExt};

use crate::table::Positions;

/// A table's log after the last entry that its writer knows of.
#[derive(Debug)]
pub(super) struct Log {
    store: LogStoreRef,
    version: u64,
}

impl Log {
    /// The log of a table as it was loaded.
    pub(super) fn of(table: &deltalake::DeltaTable) -> Result<Self, DeltaTableError> {
        let state = table.snapshot()?;
        PROTOCOL.can_commit(state, &[], &append())?;
        Ok(Self { store: table.log_store(), version: state.version() })
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Appends one entry; after an error it may or may not be there.
    pub(super) async fn append(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        positions: &Positions,
    ) -> Result<(), DeltaTableError> {
        self.is_there_still().await?;
        let transactions = positions.iter().map(|(id, next)| Transaction::new(id, *next));
        let data = CommitData::new(actions, operation, HashMap::new(), transactions.collect());
        let entry = CommitOrBytes::LogBytes(data.get_bytes()?);
        let next = self.version + 1;
        self.store.write_commit_entry(next, entry, Default::default()).await?;
        self.version = next;
        Ok(())
    }

    /// Somebody else's entry under the next name refuses ours. But it may be gone already, covered by
    /// a checkpoint, as may be the whole table, and what we put there would never be read. The entry
    /// before it is gone then, too.
    async fn is_there_still(&self) -> Result<(), DeltaTableError> {
        let last = commit_uri_from_version(Some(self.version));
        match self.store.object_store(None).head(&last).await {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound { .. }) => {
                Err(DeltaTableError::VersionAlreadyExists(self.version + 1))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The version of the newest checkpoint, as the log's hint has it.
    pub(super) async fn checkpoint(&self) -> Result<Option<u64>, DeltaTableError> {
        let store = self.store.object_store(None);
        let hint = match store.get(&Path::from("_delta_log/_last_checkpoint")).await {
            Ok(found) => found.bytes().await?,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let hint: serde_json::Value = serde_json::from_slice(&hint).unwrap_or_default();
        Ok(hint.get("version").and_then(serde_json::Value::as_u64))
    }
}

/// The operation of a commit that only adds.
pub(super) const fn append() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
}
