//! What operators see of the warehouse.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use crate::table::upkeep::Maintained;

/// How long a commit takes, by table, in seconds.
pub const COMMIT_DURATION: &str = "avis_warehouse_commit_duration_seconds";
/// Files that a table's newest version holds.
pub const LIVE_FILES: &str = "avis_warehouse_live_files";

/// Rows that commits added, by table.
pub const ROWS: &str = "avis_warehouse_committed_rows_total";
/// The number of a table's newest version.
pub const VERSION: &str = "avis_warehouse_table_version";
/// Rows of a table that are in memory and have not landed.
pub const TAIL_ROWS: &str = "avis_warehouse_tail_rows";
/// What looking after tables did with their files, by what was done.
pub const UPKEEP: &str = "avis_warehouse_upkeep_files_total";
/// How long a statement takes, by door and how it ended, in seconds.
pub const STATEMENT_DURATION: &str = "avis_warehouse_statement_duration_seconds";
/// Statements that are being answered.
pub const STATEMENTS: &str = "avis_warehouse_statements_in_flight";
/// Open connections, by door.
pub const CONNECTIONS: &str = "avis_warehouse_connections";
/// How many connections each door takes.
pub const CONNECTIONS_LIMIT: &str = "avis_warehouse_connections_limit";
/// Connections that were refused because all places were taken, by door.
pub const REFUSED: &str = "avis_warehouse_connections_refused_total";

/// The doors to SQL.
const DOORS: [&str; 2] = ["postgres", "flight"];
/// What is done with files of tables that are looked after.
const UPKEEPS: [&str; 4] = ["merged", "written", "expired", "removed"];

/// The warehouse's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    commit: HistogramVec,
    live_files: IntGaugeVec,
    rows: IntCounterVec,
    version: IntGaugeVec,
    tail_rows: IntGaugeVec,
    upkeep: IntCounterVec,
    statement: HistogramVec,
    statements: IntGauge,
    connections: IntGaugeVec,
    connections_limit: IntGauge,
    refused: IntCounterVec,
}

/// Something that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ongoing(IntGauge);

impl Ongoing {
    fn of(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let spread = |name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)
        };
        let commits = prometheus::exponential_buckets(0.002, 2.0, 14)?;
        let statements = prometheus::exponential_buckets(0.001, 4.0, 10)?;
        let asked = &["door", "outcome"];
        let (answer, limit) = ("duration of a statement", "connections that each door takes");
        let metrics = Self {
            commit: spread(COMMIT_DURATION, "duration of a commit", commits, &["table"])?,
            live_files: gauges(LIVE_FILES, "files of the newest version", &["table"])?,
            rows: counters(ROWS, "rows that commits added", &["table"])?,
            version: gauges(VERSION, "number of the newest version", &["table"])?,
            tail_rows: gauges(TAIL_ROWS, "rows in memory that have not landed", &["table"])?,
            upkeep: counters(UPKEEP, "files that upkeep dealt with", &["action"])?,
            statement: spread(STATEMENT_DURATION, answer, statements, asked)?,
            statements: IntGauge::new(STATEMENTS, "statements that are being answered")?,
            connections: gauges(CONNECTIONS, "open connections", &["door"])?,
            connections_limit: IntGauge::new(CONNECTIONS_LIMIT, limit)?,
            refused: counters(REFUSED, "connections refused: all places taken", &["door"])?,
        };
        metrics.enter(registry)?;
        metrics.begin();
        Ok(metrics)
    }

    fn enter(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 11] = [
            Box::new(self.commit.clone()),
            Box::new(self.live_files.clone()),
            Box::new(self.rows.clone()),
            Box::new(self.version.clone()),
            Box::new(self.tail_rows.clone()),
            Box::new(self.upkeep.clone()),
            Box::new(self.statement.clone()),
            Box::new(self.statements.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.connections_limit.clone()),
            Box::new(self.refused.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))
    }

    /// What can be counted is there from the start, at 0.
    fn begin(&self) {
        for action in UPKEEPS {
            let _ = self.upkeep.with_label_values(&[action]);
        }
        for door in DOORS {
            let _ = self.statement.with_label_values(&[door, "answered"]);
            let _ = self.connections.with_label_values(&[door]);
            let _ = self.refused.with_label_values(&[door]);
        }
    }

    /// A table is there, whether or not anything is ever committed to it.
    pub(crate) fn opened(&self, table: &str, version: u64, live_files: usize) {
        let _ = self.commit.with_label_values(&[table]);
        let _ = self.rows.with_label_values(&[table]);
        self.stands(table, version, live_files);
    }

    pub(crate) fn committed(&self, table: &str, took: Duration, rows: usize) {
        self.commit.with_label_values(&[table]).observe(took.as_secs_f64());
        self.rows.with_label_values(&[table]).inc_by(rows as u64);
    }

    /// A table's newest version, and how many files it has.
    pub(crate) fn stands(&self, table: &str, version: u64, live_files: usize) {
        self.version.with_label_values(&[table]).set(i64::try_from(version).unwrap_or(i64::MAX));
        let files = i64::try_from(live_files).unwrap_or(i64::MAX);
        self.live_files.with_label_values(&[table]).set(files);
    }

    /// A table was looked after.
    pub(crate) fn maintained(&self, done: &Maintained) {
        let counts = [done.merged, done.written, done.expired, done.removed];
        for (action, count) in UPKEEPS.into_iter().zip(counts) {
            self.upkeep.with_label_values(&[action]).inc_by(count as u64);
        }
    }

    /// So many rows of a table are in memory; called when operators look.
    pub fn waiting(&self, table: &str, rows: usize) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.tail_rows.with_label_values(&[table]).set(rows);
    }

    /// A statement is being answered.
    pub(crate) fn asked(&self) -> Ongoing {
        Ongoing::of(self.statements.clone())
    }

    /// A statement has ended.
    pub(crate) fn answered(&self, door: &str, outcome: &str, took: Duration) {
        let statement = self.statement.with_label_values(&[door, outcome]);
        statement.observe(took.as_secs_f64());
    }

    /// Each door takes so many connections.
    pub(crate) fn limited(&self, connections: usize) {
        self.connections_limit.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// A connection is open.
    pub(crate) fn connected(&self, door: &str) -> Ongoing {
        Ongoing::of(self.connections.with_label_values(&[door]))
    }

    /// A connection found no place.
    pub(crate) fn turned_away(&self, door: &str) {
        self.refused.with_label_values(&[door]).inc();
        tracing::warn!(door, "a connection was refused: all places are taken");
    }
}
