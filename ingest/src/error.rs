//! What can go wrong with streams.

use std::path::PathBuf;

use crate::{topic::Topic, wire::WireError};

/// A log cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has the folder.
    #[error("the log in {} is in use by another process; stop it first, or ask the node that runs by --server where the command has it", path.display())]
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
    /// A record is whole and of a kind that only a newer version knows. It is never passed over: what
    /// follows may depend on it.
    #[error(
        "{topic} partition {partition}: offset {offset} is of a newer version: event kind {kind}; upgrade the reader"
    )]
    Newer {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// The kind, as the wire has it.
        kind: String,
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
    /// A file of the storage engine is not what was written. Nothing was changed.
    #[error("the log's file {} is damaged{}; restore the log from its backup", path.display(), if *lost { ", and rows of it are lost" } else { "" })]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// Whether some of what it says cannot be read any more.
        lost: bool,
    },
    /// A sync failed earlier, or the log was closed: nothing is taken any more.
    #[error("the log has stopped{}", if *sync_failed { " because a sync failed; restart the node after checking the disk" } else { "" })]
    Stopped {
        /// Whether a failed sync is the reason.
        sync_failed: bool,
    },
    /// The cluster that holds the streams cannot do what was asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl LogError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::Engine { .. } => true,
            Self::Cluster(error) => error.retry(),
            _ => self.nothing_written(),
        }
    }

    /// Whether it is certain that nothing was written, and the log goes on.
    #[must_use]
    pub const fn nothing_written(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::ReadOnly { .. })
    }

    /// Whether what was appended is durable all the same and comes to the stream by itself: appended
    /// again, it would be told twice.
    #[must_use]
    pub const fn is_unconfirmed(&self) -> bool {
        matches!(self, Self::Cluster(ClusterError::Unconfirmed { .. }))
    }

    /// Why the record at an offset is none that this version reads.
    pub(crate) fn unread(topic: Topic, partition: u32, offset: u64, error: WireError) -> Self {
        match error {
            WireError::Newer { kind } => Self::Newer { topic, partition, offset, kind },
            error => Self::damaged(topic, partition, offset, &error.to_string()),
        }
    }

    pub(crate) fn damaged(topic: Topic, partition: u32, offset: u64, reason: &str) -> Self {
        Self::Damaged { topic, partition, offset, reason: reason.into() }
    }
}

/// The streams on Fluvio are not to be had, or are not what they were. Told to everybody who waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The profile cannot be used.
    #[error("cannot use the Fluvio profile {profile}: {reason}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A request was answered by an error.
    #[error("cannot {attempted} on Fluvio at {cluster}: {reason}")]
    Refused {
        /// What was attempted.
        attempted: &'static str,
        /// The cluster.
        cluster: String,
        /// What it said.
        reason: String,
    },
    /// A request was not answered in time.
    #[error("Fluvio at {cluster} did not {attempted} within {seconds} s")]
    Late {
        /// What was attempted.
        attempted: &'static str,
        /// The cluster.
        cluster: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What was appended did not come back in time.
    #[error(
        "Fluvio at {cluster} did not give back within {seconds} s what was appended; this node's outbox has it and publishes it when the cluster takes it, so look before it is told again"
    )]
    Unconfirmed {
        /// The cluster.
        cluster: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A topic that is there has another number of partitions.
    #[error(
        "the topic {topic} has {found} partitions on Fluvio, and {wanted} are needed: records of one key would change their partition"
    )]
    Partitions {
        /// The stream.
        topic: Topic,
        /// How many it has.
        found: u32,
        /// How many are needed.
        wanted: u32,
    },
    /// A topic that is there is kept by fewer data nodes than asked for.
    #[error(
        "the topic {topic} has {found} replicas on Fluvio, and at least {wanted} are asked for"
    )]
    Replicas {
        /// The stream.
        topic: Topic,
        /// How many it has.
        found: u32,
        /// How many are asked for.
        wanted: u32,
    },
    /// A stream of records ended, or was silent although there are more.
    #[error(
        "the reader of {topic} partition {partition} stands at {offset} although there is more"
    )]
    Interrupted {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        offset: u64,
    },
    /// The client skipped offsets.
    #[error("the reader of {topic} partition {partition} was given {found} instead of {wanted}")]
    Skipped {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The offset that came.
        found: u64,
        /// The offset that should have come.
        wanted: u64,
    },
    /// What was published does not come back.
    #[error(
        "{topic} partition {partition}: record {sequence} of the outbox was published and does not come back"
    )]
    Stalled {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// Its place in the outbox.
        sequence: u64,
    },
    /// Records that were not read yet are gone.
    #[error(
        "{topic} partition {partition}: offset {wanted} is wanted and Fluvio has evicted everything before {first}; restore this node's mirror from a backup"
    )]
    Evicted {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        wanted: u64,
        /// The first one that is left.
        first: u64,
    },
    /// Another record stands where one was read before.
    #[error(
        "{topic} partition {partition}: Fluvio has another record at offset {offset} than this node's mirror; it is not the cluster that the mirror was made from"
    )]
    OtherCluster {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// Records that were read before are not there.
    #[error(
        "{topic} partition {partition}: this node has read up to offset {read} and Fluvio ends before; it lost records, or is not the cluster that the mirror was made from"
    )]
    Behind {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        read: u64,
    },
    /// A record that this version cannot read.
    #[error("{topic} partition {partition}: cannot read offset {offset}: {reason}")]
    Unreadable {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Why not.
        reason: String,
    },
    /// A topic that is none of our streams is not there.
    #[error("there is no topic {topic} on Fluvio at {cluster}")]
    NoTopic {
        /// Its name.
        topic: String,
        /// The cluster.
        cluster: String,
    },
    /// A record of such a topic does not come.
    #[error(
        "the topic {topic} partition {partition}: offset {offset} does not come although Fluvio has it"
    )]
    Withheld {
        /// Its name.
        topic: String,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        offset: u64,
    },
    /// A record of such a topic was compressed by whoever made it.
    #[error(
        "the topic {topic} partition {partition}: what stands at offset {offset} is compressed, and such is not read; let its producer compress nothing"
    )]
    Compressed {
        /// Its name.
        topic: String,
        /// The partition.
        partition: u32,
        /// Its offset.
        offset: u64,
    },
    /// Records of such a topic are gone that were there when it was opened.
    #[error(
        "the topic {topic} partition {partition}: Fluvio has evicted everything before {first}, and {wanted} was not read yet; read the topic again"
    )]
    Outrun {
        /// Its name.
        topic: String,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        wanted: u64,
        /// The first one that is left.
        first: u64,
    },
    /// Fluvio holds records of this node's outbox that the outbox never had.
    #[error(
        "{topic} partition {partition}: the outbox ends at {end} and Fluvio has {published} records of it; the outbox was replaced by an older copy"
    )]
    OutboxBehind {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The outbox's end.
        end: u64,
        /// How many of its records Fluvio has.
        published: u64,
    },
    /// This node's own copy or outbox failed.
    #[error("{topic} partition {partition}: this node's own {part} failed: {reason}")]
    Local {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// `outbox` or `mirror`.
        part: &'static str,
        /// What it said.
        reason: String,
    },
}

impl ClusterError {
    /// Whether the same attempt may succeed later without anybody acting.
    #[must_use]
    pub const fn retry(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Late { .. }
                | Self::Interrupted { .. }
                | Self::Skipped { .. }
                | Self::Stalled { .. }
                | Self::Withheld { .. }
        )
    }
}
