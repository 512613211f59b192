//! What can go wrong while deciding.

use ingest::error::LogError;

use crate::cache::CacheError;

/// The authoriser cannot go on; nothing was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AuthoriserError {
    /// The stream could not be read or appended to.
    #[error("the authoriser cannot use its streams")]
    Log(#[from] LogError),
    /// The cache could not answer.
    #[error("the authoriser cannot use its cache")]
    Cache(#[from] CacheError),
    /// The index on disk could not be read or written.
    #[error("the authoriser cannot use its index")]
    Index(#[from] fjall::Error),
    /// The index on disk could not be opened.
    #[error("the index in {} cannot be opened", folder.display())]
    OpenIndex {
        /// Its folder.
        folder: std::path::PathBuf,
        /// What the store or the operating system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No thread could be started.
    #[error("no thread can be started for the authoriser")]
    Thread(#[source] std::io::Error),
    /// A part of it ended before its time.
    #[error("a part of the authoriser ended before its time")]
    Stopped,
    /// The instructions in the stream do not compile; they were checked before they were appended,
    /// so this is a stream of another version.
    #[error("the instructions in the stream cannot be compiled: {0}")]
    Rules(String),
    /// A record of the stream cannot be understood.
    #[error("the record at offset {offset} of authorisations is not one that this version wrote")]
    Record {
        /// Its offset.
        offset: u64,
    },
}

impl AuthoriserError {
    /// Whether the same call may succeed later without anybody acting.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::Log(error) => error.retry(),
            Self::Cache(error) => error.retry(),
            Self::Index(_)
            | Self::OpenIndex { .. }
            | Self::Thread(_)
            | Self::Stopped
            | Self::Rules(_)
            | Self::Record { .. } => false,
        }
    }
}
