//! `avis pipelines` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::{Data, From, Where};

/// What `avis pipelines` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum PipelinesCommand {
    /// The shipped pipelines: table and streams, and which gather over several records.
    /// Of a running node also how far each is.
    #[command(after_help = "Examples:\n  avis pipelines list\n  \
                            AVIS_TOKEN=… avis pipelines list --server http://[::1]:8080")]
    List {
        #[command(flatten)]
        at: Where,
    },
    /// How a pipeline would run: what it reads, how it tells time, what each step does.
    #[command(after_help = "Examples:\n  avis pipelines explain usage_by_minute\n  \
                            avis pipelines explain mine.sql")]
    Explain {
        /// A shipped pipeline, or a file.
        #[arg(value_name = "NAME|FILE", value_hint = ValueHint::FilePath)]
        what: String,
    },
    /// Check files without running them. They may read the shipped streams by their names.
    #[command(after_help = "Example:\n  avis pipelines validate mine.sql")]
    Validate {
        /// The files.
        #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Run a file over files: its sources and sinks have connector = 'single_file' or 'filesystem'.
    ///
    /// A source may be a topic of 'fluvio', too, up to where it ends when the run begins. Rows may go
    /// to 'redis', too, and be looked up there.
    #[command(after_help = "Example:\n  avis pipelines run mine.sql")]
    Run {
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Take a file among the node's pipelines: its table is filled from the beginning of its streams
    /// and then as records come.
    #[command(after_help = "Example:\n  avis pipelines add sales_by_hour.sql --data avis-data")]
    Add {
        /// The file, named as the table that it fills.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Take one of your own pipelines away, with its table.
    #[command(after_help = "Example:\n  avis pipelines remove sales_by_hour --data avis-data")]
    Remove {
        /// The pipeline.
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Empty a pipeline's table and land it again, of a stopped node.
    #[command(
        after_help = "Examples:\n  avis pipelines restart usage_by_minute --from earliest\n  \
                            avis pipelines restart calls --from 2026-01-01T00:00:00Z --yes"
    )]
    Restart(RestartArguments),
    /// The same pipelines for a cluster, shipped ones and your own: a file each, with only WITH (…)
    /// replaced, and a README.
    #[command(
        after_help = "Examples:\n  avis pipelines export --target arroyo pipelines-arroyo \\\n    \
                            --endpoint fluvio:9003 --warehouse s3://lake/avis \\\n    \
                            --storage aws_region=eu-north-1\n  \
                            avis pipelines export --target arroyo one-pipeline mine.sql"
    )]
    Export(ExportArguments),
}

/// Arguments of `avis pipelines restart`.
#[derive(Debug, Args)]
pub struct RestartArguments {
    /// The pipeline.
    pub name: String,
    /// Where it begins in each partition of its streams.
    #[arg(long, value_name = "earliest|OFFSET|INSTANT")]
    pub from: From,
    /// Also where rows that the table has now would not come again.
    #[arg(long)]
    pub yes: bool,
    /// Refused: a table is emptied while nobody fills it.
    #[arg(long, value_name = "URL", hide = true)]
    pub server: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
}

/// Arguments of `avis pipelines export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// What runs them.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub target: ExportTarget,
    /// The folder to write to.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// The files to write [default: the shipped pipelines and those of your own in the data folder].
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The Fluvio cluster, as host:port [default: as in the settings].
    #[arg(long, value_name = "ADDRESS")]
    pub endpoint: Option<String>,
    /// What the topics' names begin with [default: as in the settings].
    #[arg(long, value_name = "TEXT")]
    pub topic_prefix: Option<String>,
    /// The URL below which tables are made; not a node's own warehouse.
    #[arg(long, value_name = "URL", default_value = "file:///var/lib/arroyo/warehouse")]
    pub warehouse: String,
    /// An option of the tables' store, as KEY=VALUE; may be said again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub storage: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
}

/// What runs exported pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportTarget {
    /// An Arroyo cluster.
    Arroyo,
}
