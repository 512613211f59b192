//! `avis person` and `avis audit` on the command line.

use clap::{Subcommand, ValueHint};

use super::{Data, Where};

/// What `avis person` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the node's data are documented at their type")]
pub enum PersonCommand {
    /// Everything that is held of somebody, as JSON. That it was asked for stands in the audit trail.
    #[command(after_help = "Examples:\n  avis person export 010180-12345 --data avis-demo\n  \
                            AVIS_TOKEN=… avis person export 010180-12345 --server \
                            http://[::1]:8080\n\n\
                            A running node tells it to administrators.")]
    Export {
        /// The personal code.
        person: String,
        #[command(flatten)]
        at: Where,
    },
    /// Forget somebody, for ever: their key is destroyed, their means are blocked; sums stay.
    #[command(
        after_help = "Examples:\n  avis person erase 010180-12345 --yes --data avis-demo\n  \
                            AVIS_TOKEN=… avis person erase 010180-12345 --yes --server \
                            http://[::1]:8080\n\n\
                            A running node does it for administrators."
    )]
    Erase {
        /// The personal code.
        person: String,
        /// Do it without being asked, though it cannot be undone; a script has to say so.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: Where,
    },
    /// Give every recipient another pseudonym in the tables; limits and points go on counting.
    #[command(after_help = "Example:\n  avis person rotate --yes --data avis-demo")]
    Rotate {
        /// Do it without being asked, though figures per recipient begin anew; a script has to say so.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        data: Data,
    },
}

/// What `avis audit` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the node's data are documented at their type")]
pub enum AuditCommand {
    /// The public key by which checkpoints are verified; keep it elsewhere.
    #[command(after_help = "Example:\n  avis audit key --data avis-demo > audit.key")]
    Key {
        #[command(flatten)]
        data: Data,
    },
    /// Sign the trail as it is now; keep what is printed elsewhere.
    #[command(
        after_help = "Example:\n  avis audit checkpoint --data avis-demo >> checkpoints.ndjson"
    )]
    Checkpoint {
        #[command(flatten)]
        data: Data,
    },
    /// Prove that the trail is what it was at every checkpoint.
    #[command(
        after_help = "Examples:\n  avis audit verify --checkpoints checkpoints.ndjson --key \"$(cat audit.key)\" --data avis-demo\n  \
                      AVIS_TOKEN=… avis audit verify --checkpoints checkpoints.ndjson --server \
                      http://[::1]:8080\n\n\
                      A running node proves it to operators and administrators."
    )]
    Verify {
        /// A file of checkpoints, one a line, or the folder or s3:// address that a node puts them at
        /// [default: `audit.checkpoints`, else the node's own].
        #[arg(long, value_name = "FILE|DIR|URL", value_hint = ValueHint::AnyPath)]
        checkpoints: Option<String>,
        /// The public key [default: the node's own].
        #[arg(long, value_name = "BASE64")]
        key: Option<String>,
        #[command(flatten)]
        at: Where,
    },
}
