//! Late rows have a table of their own, whose newest commits a power cut may take while it leaves those
//! of the pipeline's own: each late row is there once all the same.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use arrow::array::RecordBatch;
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
};
use prometheus::Registry;
use warehouse::{
    schema,
    table::{Pending, Positions, Table, model::ModelTable, upkeep::Maintained},
    tail::Tails,
};

use crate::history::{decided, heartbeat, household, record};

/// Its pipeline has windows.
const TABLE: &str = "usage_by_minute";

type Commit = (Vec<RecordBatch>, Positions);

/// A table on a disk that has what was synced.
#[derive(Debug, Default)]
struct OnDisk {
    commits: Mutex<Vec<Commit>>,
    synced: AtomicUsize,
    looked_after: AtomicUsize,
}

impl OnDisk {
    fn cut_power(&self) {
        let synced = self.synced.load(Ordering::SeqCst);
        self.commits.lock().expect("a lock").truncate(synced);
    }

    fn rows(&self) -> usize {
        let commits = self.commits.lock().expect("a lock");
        commits.iter().flat_map(|(rows, _)| rows).map(RecordBatch::num_rows).sum()
    }
}

impl Table for OnDisk {
    fn schema(&self) -> &'static schema::Table {
        schema::table("late_rows").expect("a table")
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        let commits = self.commits.lock().expect("a lock");
        let all = commits.iter().flat_map(|(_, positions)| positions.clone());
        let mut known: Positions = all.collect();
        known.retain(|application, _| applications.contains(application));
        Box::pin(std::future::ready(Ok(known)))
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        self.commits.lock().expect("a lock").push((rows, positions.clone()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn sync(&self) -> Pending<'_, ()> {
        let commits = self.commits.lock().expect("a lock").len();
        self.synced.store(commits, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    }

    fn maintain(&self, _: DateTime<Utc>) -> Pending<'_, Maintained> {
        self.looked_after.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(Maintained::default())))
    }
}

async fn runner(log: &Arc<ModelLog>, late: &Arc<OnDisk>, settings: Settings) -> Runner {
    let table: Arc<dyn Table> = Arc::new(ModelTable::new(schema::table(TABLE).expect("a table")));
    let planned = catalogue::shipped().await.expect("shipped files plan");
    let lines = planned.into_iter().filter(|pipeline| pipeline.name == TABLE);
    let lines = lines.map(|pipeline| (pipeline, Arc::clone(&table))).collect();
    let metrics = Metrics::register(&Registry::new()).expect("fresh metrics");
    let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
    let late = Some(Arc::clone(late) as Arc<dyn Table>);
    let beside = Beside { states: Arc::default(), tails: &Tails::default(), late };
    let log: Arc<dyn Log> = Arc::clone(log) as _;
    Runner::new(log, clock, metrics, settings, beside, lines).expect("tables fit")
}

/// All partitions tell a time; before that one of them a sale that is late.
async fn tell(log: &ModelLog, late: Option<&str>, now: &str) {
    let late = late.map(|at| {
        let event = Event::AuthorisationDecided(decided(at, at, "captured").into());
        record(&format!("late {now}"), household(0), at, event)
    });
    let beats = (0..4).map(|partition| heartbeat(partition, now));
    let records: Vec<_> = late.into_iter().chain(beats).collect();
    log.append(Topic::Authorisations, &records).await.expect("appended");
}

#[tokio::test]
async fn a_power_cut_takes_no_late_row_that_its_pipeline_has_passed() {
    let (log, late) = (Arc::new(ModelLog::default()), Arc::<OnDisk>::default());
    let runner = runner(&log, &late, Settings::default()).await;
    let land = async || runner.catch_up(&Ends::new()).await.expect("landed");
    tell(&log, None, "2025-03-03T09:10:30Z").await;
    land().await;
    assert_eq!(late.rows(), 0);
    tell(&log, Some("2025-03-03T09:00:00Z"), "2025-03-03T09:20:30Z").await;
    land().await;
    late.cut_power();
    assert_eq!(late.rows(), 1);
    tell(&log, Some("2025-03-03T09:01:00Z"), "2025-03-03T09:30:30Z").await;
    land().await;
    late.cut_power();
    assert_eq!(late.rows(), 2);
    // A process that died before its late rows were on the disk leaves them to the next one.
    late.synced.store(1, Ordering::SeqCst);
    tell(&log, None, "2025-03-03T09:40:30Z").await;
    land().await;
    late.cut_power();
    assert_eq!(late.rows(), 2);
}

#[tokio::test]
async fn whoever_lands_looks_after_late_rows_too() {
    let (log, late) = (Arc::new(ModelLog::default()), Arc::<OnDisk>::default());
    tell(&log, None, "2025-03-03T09:10:30Z").await;
    let often = Settings { commit_records: 1, ..Settings::default() };
    runner(&log, &late, often).await.catch_up(&Ends::new()).await.expect("landed");
    assert!(late.looked_after.load(Ordering::SeqCst) > 0);
}
