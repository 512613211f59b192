//! Lands a log's streams in tables in memory, whole or in pieces.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
    topic::Topic,
    wire::v1::Event,
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

use crate::history::{decided, heartbeat, household, record};

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

/// A table in memory of which one commit comes late: its answer is lost, and it is there before the
/// next.
#[derive(Debug)]
struct Doubtful {
    table: Arc<ModelTable>,
    next: Mutex<Next>,
}

/// What becomes of the next commit.
#[derive(Debug)]
enum Next {
    Lands,
    IsHeld,
    /// Another one lands before it.
    ComesAfter(Vec<RecordBatch>, Positions),
}

impl Table for Doubtful {
    fn schema(&self) -> &'static schema::Table {
        self.table.schema()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        self.table.positions(applications)
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        let mut next = self.next.lock().expect("a lock");
        match std::mem::replace(&mut *next, Next::Lands) {
            Next::Lands => self.table.commit(rows, positions),
            Next::IsHeld => {
                *next = Next::ComesAfter(rows, positions.clone());
                let lost = WarehouseError::Rows { table: "held", reason: "no answer".into() };
                Box::pin(std::future::ready(Err(lost)))
            }
            Next::ComesAfter(before, reached) => Box::pin(async move {
                self.table.commit(before, &reached).await?;
                Err(WarehouseError::Moved { table: "held" })
            }),
        }
    }
}

#[tokio::test]
async fn a_commit_that_lands_late_has_the_state_of_then() {
    const TABLE: &str = "usage_by_minute";
    let (log, whole) = (Arc::new(ModelLog::default()), tables());
    let sale = |second: u32| {
        let at = format!("2025-03-03T09:{:02}:{:02}Z", second / 60, second % 60);
        let partition = second * 7 % 4;
        let event = Event::AuthorisationDecided(decided(&at, &at, "captured").into());
        record(&format!("sale {second}"), household(partition), &at, event)
    };
    let mut records: Vec<_> = (0..400).map(sale).collect();
    records.extend((0..4).map(|of| heartbeat(of, "2025-03-03T10:00:00Z")));
    log.append(Topic::Authorisations, &records).await.expect("appended");
    land(&log, &whole, &Landing::WHOLE, &Ends::new()).await.expect("landed");

    let model = Arc::new(ModelTable::new(schema::table(TABLE).expect("a table")));
    let doubtful = Arc::new(Doubtful { table: Arc::clone(&model), next: Mutex::new(Next::Lands) });
    let planned = pipelines::catalogue::shipped().await.expect("shipped files plan");
    let lines = planned.into_iter().filter(|pipeline| pipeline.name == TABLE);
    let lines = lines.map(|pipeline| (pipeline, Arc::clone(&doubtful) as Arc<dyn Table>)).collect();
    let metrics = Metrics::register(&Registry::new()).expect("fresh metrics");
    let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
    let beside = Beside { states: Arc::default(), tails: &Tails::default(), late: None };
    let read: Arc<dyn Log> = Arc::clone(&log) as _;
    let settings = Settings { commit_records: 1_000_000, ..Settings::default() };
    let runner = Runner::new(read, clock, metrics, settings, beside, lines).expect("tables fit");
    runner.catch_up(&part(&log, 25)).await.expect("landed");
    *doubtful.next.lock().expect("a lock") = Next::IsHeld;
    runner.catch_up(&part(&log, 50)).await.expect_err("nobody knows");
    runner.catch_up(&part(&log, 75)).await.expect_err("another came first");
    runner.catch_up(&Ends::new()).await.expect("landed");
    assert!(!rows(&model).is_empty());
    assert_eq!(rows(&model), rows(&whole[TABLE]));
}
