//! What a power cut leaves of a table in a folder, of which nothing is synced: its newest commits are
//! gone, or they have names and no content. The states that pipelines keep are synced.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
    topic::Topic,
    wire::v1::Event,
};
use pipelines::{
    catalogue,
    config::Settings,
    metrics::Metrics,
    runner::{Beside, Ends, Runner},
    states::States,
};
use prometheus::Registry;
use tempfile::TempDir;
use warehouse::{
    schema,
    session::{Session, folder},
    table::{Table, delta::DeltaTable},
    tail::Tails,
};

use crate::{
    history::{decided, heartbeat, household, record},
    landing::part,
};

/// Its pipeline has windows, and so a state.
const TABLE: &str = "usage_by_minute";

/// A node's folder: tables, and what pipelines have gathered.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Lands the table from where it is, as a process does that has just begun.
    async fn land(&self, log: &Arc<ModelLog>, ends: &Ends) {
        let (schema, tails) = (schema::table(TABLE).expect("a table"), Tails::default());
        let root = folder(self.0.path()).expect("an address");
        let metrics = warehouse::metrics::Metrics::register(&Registry::new()).expect("metrics");
        let table = DeltaTable::open(&root, schema, metrics).await.expect("opened");
        let table: Arc<dyn Table> = Arc::new(table.with_tail(&tails.of(schema)));
        let planned = catalogue::shipped().await.expect("shipped files plan");
        let lines = planned.into_iter().filter(|pipeline| pipeline.name == TABLE);
        let lines = lines.map(|pipeline| (pipeline, Arc::clone(&table))).collect();
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
        let states = Arc::new(States::Folder(self.0.path().join("pipelines")));
        let beside = Beside { states, tails: &tails, late: None };
        let log: Arc<dyn Log> = Arc::clone(log) as _;
        let runner = Runner::new(log, clock, metrics, Settings::default(), beside, lines);
        runner.expect("tables fit").catch_up(ends).await.expect("landed");
    }

    /// The entries of the table's log, oldest first.
    fn entries(&self) -> Vec<PathBuf> {
        let log = fs::read_dir(self.0.path().join(TABLE).join("_delta_log")).expect("a log");
        let mut entries: Vec<_> = log.map(|entry| entry.expect("an entry").path()).collect();
        entries.retain(|path| path.extension().is_some_and(|end| end == "json"));
        entries.sort();
        entries
    }

    async fn rows(&self) -> Vec<String> {
        let root = folder(self.0.path()).expect("an address");
        let session = Session::open(&root).await.expect("a session");
        let rows = session.whole(TABLE).await.expect("rows");
        let text = pretty_format_batches(&rows.batches).expect("rows as text").to_string();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

#[tokio::test]
async fn a_table_that_is_put_back_goes_on_with_the_state_of_then() {
    let log = Arc::new(ModelLog::default());
    let sale = |second: u32| {
        let at = format!("2025-03-03T09:{:02}:{:02}Z", second / 60, second % 60);
        let event = Event::AuthorisationDecided(decided(&at, &at, "captured").into());
        record(&format!("sale {second}"), household(second * 7 % 4), &at, event)
    };
    let mut records: Vec<_> = (0..400).map(sale).collect();
    records.extend((0..4).map(|of| heartbeat(of, "2025-03-03T10:00:00Z")));
    log.append(Topic::Authorisations, &records).await.expect("appended");
    let whole = Node::new();
    whole.land(&log, &Ends::new()).await;
    let expected = whole.rows().await;
    assert!(expected.len() > 6, "some minutes");

    for is_empty in [false, true] {
        let node = Node::new();
        for hundredths in [20, 40, 60, 80] {
            node.land(&log, &part(&log, hundredths)).await;
        }
        let entries = node.entries();
        assert_eq!(entries.len(), 5, "the table's beginning, and a commit each");
        for entry in &entries[2..] {
            if is_empty {
                File::create(entry).expect("cut off");
            } else {
                fs::remove_file(entry).expect("removed");
            }
        }
        node.land(&log, &Ends::new()).await;
        assert_eq!(node.rows().await, expected, "empty entries: {is_empty}");
        assert_eq!(node.entries().len(), 3, "what is not on the disk was never made");
    }
}
