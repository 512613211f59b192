//! What can go wrong with pipelines.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use ingest::{error::LogError, topic::Topic};
use sqlparser::parser::ParserError;
use warehouse::error::WarehouseError;

/// A pipeline cannot be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A file is not SQL.
    #[error("{file}: {source}")]
    Parse {
        /// The file.
        file: String,
        /// What the parser said.
        #[source]
        source: ParserError,
    },
    /// A file says something that means something in the dialect, but not here.
    #[error("{file}: {construct} is not supported")]
    Unsupported {
        /// The file.
        file: String,
        /// The construct, named.
        construct: String,
    },
    /// A table has options that its connector does not know.
    #[error(
        "{file}: table {table}: unknown options provided in WITH clause: {}; it knows: {}",
        unknown.join(", "), known.join(", ")
    )]
    UnknownOptions {
        /// The file.
        file: String,
        /// The table.
        table: String,
        /// What is not known, in order.
        unknown: Vec<String>,
        /// What is.
        known: Vec<String>,
    },
    /// A table or a pipeline is not put together as it has to be.
    #[error("{file}: {reason}")]
    Definition {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A query does not plan.
    #[error("{pipeline}: cannot plan its query: {source}")]
    Plan {
        /// The pipeline.
        pipeline: String,
        /// What the planner said.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A pipeline makes other columns than its table holds.
    #[error("{pipeline}: {difference}")]
    Schema {
        /// The pipeline.
        pipeline: String,
        /// The first difference.
        difference: String,
    },
    /// Records do not decode into the columns that the source declares.
    #[error("cannot decode {topic} partition {partition} from offset {offset}: {source}")]
    Decode {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The first offset of the batch.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: ArrowError,
    },
    /// A query failed over a batch.
    #[error("{pipeline}: its query failed: {source}")]
    Execute {
        /// The pipeline.
        pipeline: String,
        /// What the engine said.
        #[source]
        source: Box<DataFusionError>,
    },
    /// What a pipeline has gathered was not kept or not found.
    #[error("{pipeline}: cannot {attempted} what it has gathered: {source}")]
    State {
        /// The pipeline.
        pipeline: String,
        /// What was attempted.
        attempted: &'static str,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// The state that a table's newest commit names is not there.
    #[error(
        "{pipeline}: its table was filled with state {number}, which is not there; bring it back from \
         a backup, or land the table again: avis pipelines restart {pipeline} --from earliest"
    )]
    StateMissing {
        /// The pipeline.
        pipeline: String,
        /// The state's number.
        number: u64,
    },
    /// A pipeline has gathered more than it may.
    #[error(
        "{pipeline}: it has gathered {bytes} bytes, more than the {most} that it may: group by less, \
         make windows shorter, or raise the limit"
    )]
    StateTooLarge {
        /// The pipeline.
        pipeline: String,
        /// The bytes that its operators hold.
        bytes: usize,
        /// The most that they may.
        most: usize,
    },
    /// Rows were not committed.
    #[error("{pipeline}: cannot {attempted} its table: {source}")]
    Table {
        /// The pipeline.
        pipeline: String,
        /// What was attempted.
        attempted: &'static str,
        /// What the table said.
        #[source]
        source: WarehouseError,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The vault failed.
    #[error("cannot use the vault")]
    Vault(#[from] ingest::vault::VaultError),
    /// A task was stopped from outside.
    #[error("a pipeline's task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl PipelineError {
    /// Whether the same may succeed later without anybody acting.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Table { source, .. } => source.retry(),
            Self::Log(source) => source.retry(),
            _ => false,
        }
    }

    /// Whether a table's storage did not do what was asked, and nobody else wrote the table.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Table { source, .. } if source.is_outage())
    }
}
