//! `avis settle` on the command line.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::{Data, Format};

/// What `avis settle` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum SettleCommand {
    /// Close a month: its statements never change afterwards. Closed again, what has come since is in
    /// a correction.
    #[command(after_help = "Example:\n  avis settle close --period 2025-01 --data avis-demo")]
    Close {
        /// The month, `YYYY-MM`.
        #[arg(long, value_name = "YYYY-MM")]
        period: String,
        #[command(flatten)]
        data: Data,
    },
    /// Write a month's statements for finance: CSV, XLSX, JSON, and the payment orders of a closed one
    /// (ISO 20022 pain.001, one per grantor).
    #[command(
        after_help = "Examples:\n  avis settle export --period 2025-01 --out statements --data avis-demo\n  \
                            avis settle export --period 2025-01 --grantor riga --data avis-demo"
    )]
    Export {
        /// The month, `YYYY-MM`.
        #[arg(long, value_name = "YYYY-MM")]
        period: String,
        /// Only of this grantor.
        #[arg(long, value_name = "G")]
        grantor: Option<String>,
        /// The folder to write to.
        #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
        out: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Every closed statement with its state: closed, sent, paid.
    #[command(after_help = "Example:\n  avis settle list --data avis-demo")]
    List {
        /// How rows are written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        data: Data,
    },
    /// Note that a month's payment orders went to the bank.
    #[command(
        after_help = "Example:\n  avis settle sent --period 2025-01 --grantor riga --data avis-demo"
    )]
    Sent {
        /// The month, `YYYY-MM`.
        #[arg(long, value_name = "YYYY-MM")]
        period: String,
        /// Only of this grantor.
        #[arg(long, value_name = "G")]
        grantor: Option<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Read what banks answer: pain.002 (taken or refused) and camt.053 (paid or returned).
    #[command(
        after_help = "Example:\n  avis settle import camt053-2025-02-04.xml --data avis-demo"
    )]
    Import {
        /// The bank's files; each is read once, whole or not at all.
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        data: Data,
    },
    /// What banks told that fits no statement, and since when.
    #[command(after_help = "Example:\n  avis settle unmatched --data avis-demo")]
    Unmatched {
        #[command(flatten)]
        data: Data,
    },
    /// Prove by an independent path that statements equal the stream, and name any cent that does not.
    #[command(after_help = "Example:\n  avis settle check --data avis-demo")]
    Check {
        #[command(flatten)]
        data: Data,
    },
}
