//! `avis settle` on the command line.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::{Format, Where};

/// What `avis settle` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum SettleCommand {
    /// Close a month: its statements never change afterwards. Closed again, what has come since is in
    /// a correction.
    #[command(after_help = "Examples:\n  avis settle close --period 2025-01 --data avis-demo\n  \
                            AVIS_TOKEN=… avis settle close --period 2025-01 --server http://[::1]:8080")]
    Close {
        /// The month, `YYYY-MM`.
        #[arg(long, value_name = "YYYY-MM")]
        period: String,
        #[command(flatten)]
        at: Where,
    },
    /// Write a month's statements for finance: CSV, XLSX, JSON, and the payment orders of a closed one
    /// (ISO 20022 pain.001, one per grantor).
    #[command(
        after_help = "Examples:\n  avis settle export --period 2025-01 --out statements --data avis-demo\n  \
                AVIS_TOKEN=… avis settle export --period 2025-01 --server http://[::1]:8080\n\n\
                            A running node gives each statement as files of its own."
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
        at: Where,
    },
    /// Every closed statement with its state: closed, sent, paid.
    #[command(after_help = "Examples:\n  avis settle list --data avis-demo\n  \
                            AVIS_TOKEN=… avis settle list --period 2025-01 --server http://[::1]:8080")]
    List {
        /// The month, `YYYY-MM`, of a running node; that also lists drafts.
        #[arg(long, value_name = "YYYY-MM", requires = "server")]
        period: Option<String>,
        /// How rows are written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        at: Where,
    },
    /// Note that a month's payment orders went to the bank.
    #[command(
        after_help = "Examples:\n  avis settle sent --period 2025-01 --grantor riga --data avis-demo\n  \
                      AVIS_TOKEN=… avis settle sent --period 2025-01 --server http://[::1]:8080"
    )]
    Sent {
        /// The month, `YYYY-MM`.
        #[arg(long, value_name = "YYYY-MM")]
        period: String,
        /// Only of this grantor.
        #[arg(long, value_name = "G")]
        grantor: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// Read what banks answer: pain.002 (taken or refused) and camt.053 (paid or returned).
    #[command(
        after_help = "Examples:\n  avis settle import camt053-2025-02-04.xml --data avis-demo\n  \
                      AVIS_TOKEN=… avis settle import camt053-2025-02-04.xml --server http://[::1]:8080"
    )]
    Import {
        /// The bank's files; each is read once, whole or not at all.
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        at: Where,
    },
    /// What banks told that fits no statement, and since when.
    #[command(after_help = "Examples:\n  avis settle unmatched --data avis-demo\n  \
                            AVIS_TOKEN=… avis settle unmatched --server http://[::1]:8080")]
    Unmatched {
        #[command(flatten)]
        at: Where,
    },
    /// Prove by an independent path that statements equal the stream, and name any cent that does not.
    #[command(after_help = "Examples:\n  avis settle check --data avis-demo\n  \
                      AVIS_TOKEN=… avis settle check --server http://[::1]:8080\n\n\
                      A running node proves them up to the end of its stream as it is when it is \
                      asked, however much comes meanwhile. Exit 1 where a cent differs.")]
    Check {
        #[command(flatten)]
        at: Where,
    },
}
