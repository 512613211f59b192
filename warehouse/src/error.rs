//! What can go wrong in the warehouse.

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
    Query(#[from] datafusion::error::DataFusionError),
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
    pub const fn retry(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::Commit { .. }
                | Self::Moved { .. }
                | Self::Upkeep { .. }
                | Self::Remove { .. }
                | Self::Storage { .. }
        )
    }
}
