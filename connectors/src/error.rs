//! What can go wrong while loading.

use std::path::PathBuf;

use ingest::{document::Fault, error::LogError, vault::VaultError};

/// A file or message was not loaded; what was acknowledged before stays.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The stream could not be appended to.
    #[error("cannot append to the streams")]
    Log(#[from] LogError),
    /// The vault could not be used.
    #[error("cannot use the vault")]
    Vault(#[from] VaultError),
    /// The registry file is not YAML or JSON.
    #[error("{origin} is neither YAML nor JSON: {reason}")]
    Syntax {
        /// The file.
        origin: String,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The registry file has faults; nothing of it was applied.
    #[error("{origin} has {} fault{}; nothing was changed\n{}", faults.len(), if faults.len() == 1 { "" } else { "s" }, list(faults))]
    Registry {
        /// The file.
        origin: String,
        /// Every fault with its path.
        faults: Vec<Fault>,
    },
    /// A snapshot of people that is not whole.
    #[error(
        "the snapshot says it has {expected} people, but {found} came; what came is taken, and nobody was removed"
    )]
    SnapshotCut {
        /// What the first line says.
        expected: u64,
        /// How many lines came.
        found: u64,
    },
    /// A snapshot that would remove many people.
    #[error(
        "the snapshot would remove {removed} of {known} people, more than 1 %; say --yes if it is meant"
    )]
    SnapshotRemoves {
        /// Who would be removed.
        removed: usize,
        /// Who is known.
        known: usize,
    },
    /// The loading thread ended before its time.
    #[error("translation stopped before the end of {origin}")]
    Stopped {
        /// The file.
        origin: String,
    },
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(|fault| format!("  {fault}")).collect();
    lines.join("\n")
}
