//! What can go wrong in the warehouse.

use std::error::Error;

use datafusion::error::DataFusionError;

/// The warehouse cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// A table cannot be opened or created.
    #[error("cannot open the table {table}")]
    Open {
        /// The table.
        table: &'static str,
        /// What the table format said.
        #[source]
        source: deltalake::DeltaTableError,
    },
    /// A commit failed: nothing of it is in the table, or all of it where the storage did not come
    /// to say so. Committing again either succeeds once or ends in [`Moved`](Self::Moved).
    #[error("cannot commit to the table {table}")]
    Commit {
        /// The table.
        table: &'static str,
        /// What the table format said.
        #[source]
        source: deltalake::DeltaTableError,
    },
    /// The table is not where its writer left it: somebody else wrote, or an attempt went through
    /// unseen. Whoever writes begins again at the table's positions.
    #[error("the table {table} has been written meanwhile; its positions must be read again")]
    Moved {
        /// The table.
        table: &'static str,
    },
    /// A table was not looked after; every row is where it was.
    #[error("cannot look after the table {table}; its rows are untouched")]
    Upkeep {
        /// The table.
        table: &'static str,
        /// What the table format said.
        #[source]
        source: deltalake::DeltaTableError,
    },
    /// A table could not be removed; a part of it may be gone. Removing it again goes on.
    #[error("cannot remove the table {table}")]
    Remove {
        /// The table.
        table: &'static str,
        /// What the table format said.
        #[source]
        source: deltalake::DeltaTableError,
    },
    /// The storage of the tables does not do what was asked.
    #[error("cannot use the storage {address}")]
    Storage {
        /// Where it is.
        address: String,
        /// What it said.
        #[source]
        source: deltalake::DeltaTableError,
    },
    /// Storage on which two writers would lose each other's rows.
    #[error(
        "the storage {address} does not refuse a second conditional write (If-None-Match: *) of one \
         name: what one process commits another one would replace, and rows would be lost; take \
         storage that refuses it"
    )]
    Careless {
        /// Where it is.
        address: String,
    },
    /// A table on disk and its schema do not go together.
    #[error("the table {table} cannot become what its schema says: {reason}")]
    Schema {
        /// The table.
        table: &'static str,
        /// What differs.
        reason: String,
    },
    /// Rows do not fit the table's schema.
    #[error("rows do not fit the table {table}: {reason}")]
    Rows {
        /// The table.
        table: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// An answer has not the column that is read of it.
    #[error("the answer's column {column} cannot be read: {reason}")]
    Answer {
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// Payments cannot be ordered.
    #[error("no payment file can be made of {about}: {reason}")]
    Payment {
        /// Which.
        about: String,
        /// What is missing.
        reason: String,
    },
    /// A bank's file cannot be read; nothing of it was taken.
    #[error("this is no bank file that can be read: {0}")]
    BankFile(String),
    /// A query failed.
    #[error("the query failed: {0}")]
    Query(#[from] DataFusionError),
    /// Rows could not be written out.
    #[error("cannot write rows as {format}: {reason}")]
    Export {
        /// The format.
        format: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder of files that a pipeline fills cannot be used. What was to be committed is in it, or
    /// nothing of it; its positions say which.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A table has not landed up to where a closing ends.
    #[error(
        "the table {table} has partition {partition} up to offset {next} only, and the period ends at \
         {end}; let the pipelines land first"
    )]
    NotLanded {
        /// The table.
        table: &'static str,
        /// The partition of its stream.
        partition: usize,
        /// The next offset that it lacks.
        next: u64,
        /// Where the closing ends.
        end: u64,
    },
    /// The warehouse's address is no folder and no URL.
    #[error("{0} is no folder and no URL")]
    Address(String),
    /// A portal did not take what was sent.
    #[error("the portal does not {action}: {reason}")]
    Portal {
        /// What was asked of it.
        action: String,
        /// What it said.
        reason: String,
    },
    /// No report of that name.
    #[error("there is no report {name}; see `avis report --list`")]
    NoReport {
        /// The name.
        name: String,
    },
}

impl WarehouseError {
    /// Whether the same may succeed later without anybody acting.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Commit { .. }
            | Self::Moved { .. }
            | Self::Upkeep { .. }
            | Self::Remove { .. }
            | Self::Folder { .. }
            | Self::Storage { .. } => true,
            Self::Query(error) => is_of_storage(error),
            _ => false,
        }
    }

    /// Whether a query names a table that its reader does not see. Of a file that is missing the storage says
    /// that it was not found, too.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        let Self::Query(error) = self else { return false };
        matches!(error.find_root(), DataFusionError::Plan(told) if told.contains("not found"))
    }

    /// Whether the storage did not do what was asked, or did not come to say so, and nobody else
    /// wrote.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.retry() && !matches!(self, Self::Moved { .. })
    }
}

/// Whether a query failed since the storage did not answer, and not of what it asks.
fn is_of_storage(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<WarehouseError>() {
            return error.retry();
        }
        if let Some(error) = error.downcast_ref::<object_store::Error>() {
            return matches!(error, object_store::Error::Generic { .. });
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_the_storage_did_not_answer_may_be_asked_again() {
        let silent = || object_store::Error::Generic { store: "S3", source: "no answer".into() };
        let told = [
            DataFusionError::ObjectStore(Box::new(silent())),
            DataFusionError::External(Box::new(WarehouseError::Storage {
                address: "s3://here".into(),
                source: silent().into(),
            }))
            .context("a scan"),
        ];
        for error in told {
            assert!(WarehouseError::from(error).is_outage());
        }
        let wrong = DataFusionError::Plan("there is no such table".into());
        assert!(!WarehouseError::from(wrong).retry());
        let moved = WarehouseError::Moved { table: "means" };
        assert!(moved.retry() && !moved.is_outage());
    }

    #[test]
    fn a_file_that_is_missing_is_no_table_that_is_not_seen() {
        let unseen = DataFusionError::Plan("table 'avis.public.persons' not found".into());
        assert!(WarehouseError::from(unseen.context("a report")).is_unseen());
        let source = "no such file".into();
        let missing = object_store::Error::NotFound { path: "part-0.parquet".into(), source };
        let missing = DataFusionError::ObjectStore(Box::new(missing));
        assert!(missing.to_string().contains("not found"), "{missing}");
        assert!(!WarehouseError::from(missing).is_unseen());
    }
}
