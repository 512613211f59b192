//! Lands a log's streams in tables in memory, whole or in pieces.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
    topic::Topic,
};
use pipelines::{
    config::Settings,
    error::PipelineError,
    metrics::Metrics,
    pipeline::Pipeline,
    runner::{Beside, Ends, Runner},
    states::States,
};
use prometheus::{Encoder, Registry, TextEncoder};
use warehouse::{
    error::WarehouseError,
    schema,
    table::{Pending, Positions, Table, model::ModelTable},
    tail::Tails,
};

/// Tables in memory by name, and what pipelines keep beside them; they outlive the runners that fill
/// them.
#[derive(Debug)]
pub struct Tables {
    tables: BTreeMap<String, Arc<ModelTable>>,
    states: Arc<States>,
}

impl std::ops::Deref for Tables {
    type Target = BTreeMap<String, Arc<ModelTable>>;

    fn deref(&self) -> &Self::Target {
        &self.tables
    }
}

/// A table in memory that refuses one of its commits, counted from 0.
#[derive(Debug)]
struct Refusing {
    table: Arc<ModelTable>,
    refused: usize,
    commits: AtomicUsize,
}

impl Table for Refusing {
    fn schema(&self) -> &'static schema::Table {
        self.table.schema()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        self.table.positions(applications)
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        if self.commits.fetch_add(1, Ordering::SeqCst) == self.refused {
            let refused = WarehouseError::Rows { table: "refused", reason: "by the test".into() };
            return Box::pin(std::future::ready(Err(refused)));
        }
        self.table.commit(rows, positions)
    }
}

/// How one landing goes.
#[derive(Clone, Debug)]
pub struct Landing {
    /// Records read at once.
    pub batch: usize,
    /// Records after which a pipeline commits.
    pub commit: u64,
    /// The commit of each table that is refused, if one is.
    pub refused: Option<usize>,
}

impl Landing {
    /// Everything in one commit.
    pub const WHOLE: Self = Self { batch: 1_024, commit: 1_000_000, refused: None };
}

/// An empty table in memory for every table of the warehouse.
pub fn tables() -> Tables {
    let table =
        |table: &&'static schema::Table| (table.name.to_owned(), Arc::new(ModelTable::new(table)));
    Tables { tables: schema::all().iter().map(table).collect(), states: Arc::default() }
}

/// A runner over `pipelines` and what its metrics say.
pub fn runner(
    log: &Arc<ModelLog>,
    tables: &Tables,
    pipelines: Vec<Pipeline>,
    landing: &Landing,
) -> (Runner, Registry) {
    let with_table = |pipeline: Pipeline| {
        let table = Arc::clone(&tables[&pipeline.name]);
        let table: Arc<dyn Table> = match landing.refused {
            Some(refused) => Arc::new(Refusing { table, refused, commits: AtomicUsize::new(0) }),
            None => table,
        };
        (pipeline, table)
    };
    let settings = Settings {
        commit_records: landing.commit,
        batch_records: landing.batch,
        ..Settings::default()
    };
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).expect("fresh metrics");
    let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
    let log: Arc<dyn Log> = Arc::clone(log) as _;
    let pipelines = pipelines.into_iter().map(with_table).collect();
    let late: Arc<dyn Table> = Arc::clone(&tables["late_rows"]) as _;
    let states = Arc::clone(&tables.states);
    let beside = Beside { states, tails: &Tails::default(), late: Some(late) };
    let runner = Runner::new(log, clock, metrics, settings, beside, pipelines).expect("tables fit");
    (runner, registry)
}

/// Lands every shipped pipeline up to `ends`.
pub async fn land(
    log: &Arc<ModelLog>,
    tables: &Tables,
    landing: &Landing,
    ends: &Ends,
) -> Result<Registry, PipelineError> {
    let pipelines = pipelines::catalogue::shipped().await.expect("shipped files plan");
    let (runner, registry) = runner(log, tables, pipelines, landing);
    runner.catch_up(ends).await?;
    Ok(registry)
}

/// Where the streams end after so many of a hundred parts of each partition.
pub fn part(log: &Arc<ModelLog>, hundredths: u64) -> Ends {
    let ends = |topic: Topic| {
        let partitions = 0..log.partitions(topic);
        let end = |partition| log.end(topic, partition).expect("an open log") * hundredths / 100;
        (topic, partitions.map(end).collect())
    };
    Topic::ALL.into_iter().map(ends).collect()
}

/// A table's rows as JSON, one a line, in the order of their text.
pub fn rows(table: &ModelTable) -> Vec<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in table.rows() {
        writer.write(&batch).expect("rows as JSON");
    }
    writer.finish().expect("rows as JSON");
    let text = String::from_utf8(writer.into_inner()).expect("JSON is text");
    let mut lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

/// The value of a metric with one label.
pub fn metric(registry: &Registry, name: &str, label: &str) -> f64 {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).expect("metrics as text");
    let text = String::from_utf8(text).expect("metrics are text");
    let line =
        text.lines().find(|line| line.starts_with(name) && line.contains(&format!("\"{label}\"")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}
