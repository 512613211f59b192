//! `avis verify`, `avis backup` and `avis restore` on the command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueHint};

use super::{Data, Where};

/// Arguments of `avis verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub at: Where,
    /// Print one JSON object, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `avis backup`.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// The folder of the backup; it grows with each one.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub backup: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
    /// Ask a running node instead; the token (operator or administrator) is taken from `AVIS_TOKEN`.
    #[arg(long, value_name = "URL", conflicts_with = "keys")]
    pub server: Option<String>,
    /// The folder of the keys' copies, kept 30 days [default: DIR-keys; of a running node, where its
    /// settings say].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Leave the keys out: they are copied elsewhere.
    #[arg(long, conflicts_with = "keys")]
    pub no_keys: bool,
}

/// Arguments of `avis restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The folder of the backup.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub backup: PathBuf,
    /// Leave out what was recorded after this instant (RFC 3339) [default: nothing].
    #[arg(long, value_name = "INSTANT")]
    pub to: Option<DateTime<Utc>>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
    /// The folder of the keys' copies, of which the newest is taken, or one of them [default: DIR-keys].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::AnyPath)]
    pub keys: Option<PathBuf>,
    /// A newer list of erasures than the backup's: whoever is on it is forgotten, too.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub erasures: Option<PathBuf>,
    /// Leave index and tables to the next start of the node.
    #[arg(long)]
    pub streams_only: bool,
}
