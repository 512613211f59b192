//! What can go wrong with streams.

use std::path::PathBuf;

use crate::topic::Topic;

/// A log cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has the folder.
    #[error("the log in {} is in use by another process; stop it first, or use --server", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The storage engine failed; nothing of the batch is acknowledged.
    #[error("cannot {attempted} {topic}")]
    Engine {
        /// What was attempted.
        attempted: &'static str,
        /// The stream.
        topic: Topic,
        /// What the engine said.
        #[source]
        source: fjall::Error,
    },
    /// The log's folder cannot be opened.
    #[error("cannot open the log in {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record on disk is not what was written.
    #[error("{topic} partition {partition} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A journal on disk is not what was written. Nothing was changed.
    #[error("the log's journal {} is damaged at byte {at}; restore the log from its backup", path.display())]
    DamagedJournal {
        /// The journal.
        path: PathBuf,
        /// Where its whole batches end.
        at: u64,
    },
    /// A sync failed earlier, or the log was closed: nothing is taken any more.
    #[error("the log has stopped{}", if *sync_failed { " because a sync failed; restart the node after checking the disk" } else { "" })]
    Stopped {
        /// Whether a failed sync is the reason.
        sync_failed: bool,
    },
}

impl LogError {
    /// Whether the same call may succeed later without anybody acting.
    #[must_use]
    pub const fn retry(&self) -> bool {
        matches!(self, Self::Engine { .. })
    }
}
