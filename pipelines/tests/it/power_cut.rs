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
    tail::{Bound, Tails},
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
        self.land_with(log, ends, Settings::default(), Tails::default()).await;
    }

    async fn land_with(&self, log: &Arc<ModelLog>, ends: &Ends, settings: Settings, tails: Tails) {
        let schema = schema::table(TABLE).expect("a table");
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
        let runner = Runner::new(log, clock, metrics, settings, beside, lines);
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

    /// The numbers of the states that are kept, oldest first.
    fn states(&self) -> Vec<u64> {
        let states = fs::read_dir(self.0.path().join("pipelines").join(TABLE)).expect("states");
        let number = |path: PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let states = states.filter_map(|state| number(state.expect("a state").path()));
        let mut states: Vec<u64> = states.collect();
        states.sort_unstable();
        states
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

#[tokio::test]
async fn where_states_take_much_room_two_are_kept() {
    let log = Arc::new(ModelLog::default());
    for minute in 0..12 {
        let at = format!("2025-03-03T09:{minute:02}:00Z");
        let event = Event::AuthorisationDecided(decided(&at, &at, "captured").into());
        let sale = record(&format!("sale {minute}"), household(minute % 4), &at, event);
        let beats = (0..4).map(|of| heartbeat(of, &format!("2025-03-03T09:{minute:02}:30Z")));
        let records: Vec<_> = std::iter::once(sale).chain(beats).collect();
        log.append(Topic::Authorisations, &records).await.expect("appended");
    }
    let whole = Node::new();
    whole.land(&log, &Ends::new()).await;
    // Every window that closes is a commit.
    let often = || Tails::bounded(Bound { rows: 0, bytes: 1 << 20 });
    let one_by_one = Settings { batch_records: 1, ..Settings::default() };
    let (kept, bounded) = (Node::new(), Node::new());
    kept.land_with(&log, &Ends::new(), one_by_one.clone(), often()).await;
    assert_eq!(kept.rows().await, whole.rows().await);
    assert!(kept.states().len() > 5, "{:?}", kept.states());
    let narrow = Settings { states_bytes: 0, ..one_by_one };
    bounded.land_with(&log, &Ends::new(), narrow, often()).await;
    assert_eq!(bounded.rows().await, whole.rows().await);
    let states = bounded.states();
    assert!(states.len() == 2 && states[0] > 3, "{states:?}");
}
