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
    /// What was asked for was let go of: whoever reads has missed it.
    #[error(
        "{topic} partition {partition} begins at offset {start}: {from} and what follows it were let go of unread"
    )]
    Gone {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// What was asked for.
        from: u64,
        /// The first offset that is left.
        start: u64,
    },
    /// The disk has too little room; nothing was written, and what has room again is taken again.
    #[error("the disk of {} is full: {free} bytes are free and {reserve} have to stay so", path.display())]
    DiskFull {
        /// The log's folder.
        path: PathBuf,
        /// What is free.
        free: u64,
        /// What has to stay free.
        reserve: u64,
    },
    /// The disk takes no writes; nothing was written.
    #[error("the disk of {} is read-only", path.display())]
    ReadOnly {
        /// The log's folder.
        path: PathBuf,
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
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        matches!(self, Self::Engine { .. }) || self.nothing_written()
    }

    /// Whether it is certain that nothing was written, and the log goes on.
    #[must_use]
    pub const fn nothing_written(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::ReadOnly { .. })
    }

    pub(crate) fn damaged(topic: Topic, partition: u32, offset: u64, reason: &str) -> Self {
        Self::Damaged { topic, partition, offset, reason: reason.into() }
    }
}
