//! What tables stand for: connectors and their options.

use std::{num::NonZeroU64, time::Duration};

use arrow::datatypes::DataType;
use ingest::topic::Topic;

use super::{
    fault::Fault,
    format::Format,
    options::Options,
    table::{Column, Origin, TableType, in_microseconds},
};

mod filesystem;
mod redis;
mod refusal;

pub use self::redis::{
    ListOperation, LookupCache, Redis, RedisAddress, RedisConnection, RedisTable, RedisTarget,
};
pub use filesystem::{
    FileNaming, FileSink, FileSource, FilenameStrategy, Filesystem, Multipart, Partitioning,
    RollingPolicy, SinkVersion, SourceCompression, local,
};

/// What a table stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Connector {
    /// `stream`: a stream of the platform's log.
    Stream(Stream),
    /// `delta`: a Delta table of the warehouse; its path is the folder below the warehouse's URL.
    Delta(FileSink),
    /// `filesystem`: a folder of files.
    Filesystem(Filesystem),
    /// `single_file`: a file of lines.
    SingleFile(SingleFile),
    /// `fluvio`: a topic of a Fluvio cluster.
    Fluvio(Fluvio),
    /// `redis`: keys of a Redis server or cluster.
    Redis(Redis),
    /// `impulse`: a counter at a steady rate.
    Impulse(Impulse),
    /// No connector, or `memory`: rows that a query of the file makes.
    Memory,
}

/// Options of `stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The stream.
    pub topic: Topic,
}

/// Options of `single_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleFile {
    /// The file.
    pub path: String,
    /// Whether a source reads only as it is told to, line by line; only for tests of a cluster.
    pub wait_for_control: Option<bool>,
}

/// Options of `fluvio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fluvio {
    /// Where the cluster listens; the client's own profile where none is given.
    pub endpoint: Option<String>,
    /// The topic.
    pub topic: String,
    /// Where a source begins that has no checkpoint.
    pub offset: SourceOffset,
}

/// Where a source begins that has no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum SourceOffset {
    Earliest,
    #[default]
    Latest,
}

/// Options of `impulse`, whose columns are `counter BIGINT` and `subtask_index BIGINT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Impulse {
    /// Rows a second.
    pub event_rate: f64,
    /// Event time between two rows; the wall clock where none is given.
    pub event_time_interval: Option<Duration>,
    /// After how many rows it ends; never where none is given.
    pub message_count: Option<u64>,
}

const READ_OR_LOOKED_UP: &[(&str, TableType)] =
    &[("source", TableType::Source), ("lookup", TableType::Lookup)];
const READ_OR_WRITTEN: &[(&str, TableType)] =
    &[("source", TableType::Source), ("sink", TableType::Sink)];

/// What to write instead of a connector that only reads, that only fills, or that does both.
const TO_READ: &str = "write connector = 'stream', or 'single_file' or 'filesystem' to read files";
const TO_FILL: &str = "write connector = 'delta', or 'single_file' or 'filesystem' to fill files";
const TO_DO_BOTH: &str = "write connector = 'stream' to read and 'delta' to fill, or \
                          'single_file' or 'filesystem' for files";

/// Connectors of a cluster that are not read here, with what to write instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("blackhole", TO_FILL),
    ("confluent", TO_DO_BOTH),
    ("iceberg", TO_FILL),
    ("kafka", TO_DO_BOTH),
    ("kinesis", TO_DO_BOTH),
    ("mqtt", TO_DO_BOTH),
    ("nats", TO_DO_BOTH),
    ("nexmark", TO_READ),
    ("polling_http", TO_READ),
    ("preview", TO_FILL),
    ("rabbitmq", TO_DO_BOTH),
    ("sse", TO_READ),
    ("stdout", TO_FILL),
    ("webhook", TO_FILL),
    ("websocket", TO_READ),
];

/// Refuses by name what is no connector here.
pub(super) fn known(table: &str, name: &str) -> Result<(), Fault> {
    let here = ["stream", "delta", "filesystem", "single_file", "fluvio", "redis", "impulse"];
    if here.contains(&name) {
        return Ok(());
    }
    Err(match ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        Some((_, instead)) => {
            Fault::Unsupported(format!("the connector {name} of table {table} ({instead})"))
        }
        None => Fault::Wrong(format!("Unknown connector '{name}'")),
    })
}

/// Of the connectors here only Redis knows anything beside the record: its key.
pub(super) fn check_metadata(
    table: &str,
    connector: &str,
    columns: &[Column],
) -> Result<(), Fault> {
    for column in columns {
        let Origin::Metadata { key } = &column.origin else { continue };
        if connector != "redis" {
            return Err(Fault::Unsupported(format!(
                "METADATA FROM '{key}' of table {table} (only a lookup's key has it; of a stream \
                 declare source_partition and source_offset)"
            )));
        }
        if key != "key" {
            return Err(Fault::Wrong(format!(
                "unknown metadata field '{key}' for {connector} connector '{table}'"
            )));
        }
        if column.data_type != DataType::Utf8 {
            return Err(Fault::Wrong(format!(
                "incorrect data type for metadata field '{}'; expected TEXT, but found {}",
                column.name, column.data_type
            )));
        }
    }
    Ok(())
}

impl Connector {
    /// The connector `name` with its options; may complete or adjust the columns.
    pub(super) fn of(
        name: &str,
        options: &mut Options,
        columns: &mut Vec<Column>,
        primary_key: &[String],
    ) -> Result<(Self, TableType), Fault> {
        match name {
            "stream" => {
                let table_type = table_type(options, READ_OR_LOOKED_UP)?;
                let name = options.need("topic")?;
                let topic = Topic::parse(&name);
                let topic =
                    topic.ok_or_else(|| Fault::Wrong(format!("there is no stream {name}")))?;
                Ok((Self::Stream(Stream { topic }), table_type))
            }
            "delta" => {
                if columns.iter().any(|column| column.origin != Origin::Declared) {
                    let reason = "delta is only a sink, can't have virtual fields";
                    return Err(Fault::Wrong(reason.into()));
                }
                in_microseconds(columns);
                let table_type = table_type(options, READ_OR_WRITTEN)?;
                if table_type == TableType::Source {
                    return Err(Fault::Wrong("DeltaLake sources are not yet supported".into()));
                }
                let sink = FileSink::of(options)?;
                sink.check(columns)?;
                Ok((Self::Delta(sink), table_type))
            }
            "filesystem" => {
                let table_type = table_type(options, READ_OR_WRITTEN)?;
                let filesystem = Filesystem::of(options, table_type, columns)?;
                Ok((Self::Filesystem(filesystem), table_type))
            }
            "single_file" => {
                let path = options.need("path")?;
                let table_type = table_type(options, READ_OR_WRITTEN)?;
                let wait_for_control = options.boolean("wait_for_control")?;
                Ok((Self::SingleFile(SingleFile { path, wait_for_control }), table_type))
            }
            "fluvio" => fluvio(options),
            "redis" => {
                let (redis, table_type) = Redis::of(options, columns, primary_key)?;
                Ok((Self::Redis(redis), table_type))
            }
            _ => Ok((Self::Impulse(impulse(options, columns)?), TableType::Source)),
        }
    }

    /// The name that `connector` has.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Delta(_) => "delta",
            Self::Filesystem(_) => "filesystem",
            Self::SingleFile(_) => "single_file",
            Self::Fluvio(_) => "fluvio",
            Self::Redis(_) => "redis",
            Self::Impulse(_) => "impulse",
            Self::Memory => "memory",
        }
    }

    pub(super) fn check_format(&self, format: Option<&Format>) -> Result<(), Fault> {
        match (self, format) {
            (Self::Impulse(_) | Self::Memory, _) | (_, Some(_)) => Ok(()),
            (other, None) => {
                Err(Fault::Wrong(format!("'format' must be set for {} connection", other.name())))
            }
        }
    }
}

fn table_type(options: &mut Options, choices: &[(&str, TableType)]) -> Result<TableType, Fault> {
    options.choice("type", choices)?.ok_or_else(|| super::options::missing("type"))
}

fn fluvio(options: &mut Options) -> Result<(Connector, TableType), Fault> {
    let endpoint = options.text("endpoint")?;
    let topic = options.need("topic")?;
    let table_type = table_type(options, READ_OR_WRITTEN)?;
    let offset = match table_type {
        TableType::Source => {
            let choices = [("earliest", SourceOffset::Earliest), ("latest", SourceOffset::Latest)];
            options.choice("source.offset", &choices)?.unwrap_or_default()
        }
        _ => SourceOffset::default(),
    };
    Ok((Connector::Fluvio(Fluvio { endpoint, topic, offset }), table_type))
}

fn impulse(options: &mut Options, columns: &mut Vec<Column>) -> Result<Impulse, Fault> {
    let event_rate: Option<f64> = options.number("event_rate", "a double")?;
    let event_rate = event_rate.ok_or_else(|| super::options::missing("event_rate"))?;
    if !(event_rate.is_finite() && event_rate > 0.0) {
        return Err(Fault::Wrong("event_rate must be greater than 0".into()));
    }
    let event_time_interval = options.positive("event_time_interval")?.map(NonZeroU64::get);
    let message_count = options.unsigned("message_count")?;
    let made = ["counter", "subtask_index"].map(|name| Column {
        name: name.to_owned(),
        data_type: DataType::Int64,
        nullable: false,
        json: false,
        origin: Origin::Declared,
    });
    if columns.is_empty() {
        columns.extend(made);
    } else {
        let held = columns.iter().filter(|column| !column.is_generated());
        if !held.eq(made.iter()) {
            return Err(Fault::Wrong("invalid schema for impulse source".into()));
        }
    }
    Ok(Impulse {
        event_rate,
        event_time_interval: event_time_interval.map(Duration::from_nanos),
        message_count,
    })
}
