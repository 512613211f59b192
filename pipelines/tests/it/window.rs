//! Windows: what closes them, what is late, and what a restart changes (nothing).

use std::sync::Arc;

use ingest::{
    log::{Log, model::ModelLog},
    record::Record,
    topic::Topic,
    wire::v1::Event,
};
use pipelines::{metrics::LATE, runner::Ends};

use crate::{
    history::{decided, heartbeat, household, record},
    landing::{self, Landing, Tables, land, metric, rows},
};

const TABLE: &str = "usage_by_minute";

fn sale(partition: u32, at: &str) -> Record {
    let event = Event::AuthorisationDecided(decided(at, at, "captured").into());
    record(&format!("sale {partition} {at}"), household(partition), at, event)
}

async fn append(log: &Arc<ModelLog>, records: Vec<Record>) {
    log.append(Topic::Authorisations, &records).await.expect("appended");
}

/// Lands everything; answers the windows by start and count, and how many records were late.
async fn windows(log: &Arc<ModelLog>, tables: &Tables) -> (Vec<(String, u64)>, f64) {
    let metrics = land(log, tables, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    let window = |line: String| {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let start = row["window_start"].as_str().expect("a start").to_owned();
        (start, row["authorisations"].as_u64().expect("a count"))
    };
    let windows = rows(&tables[TABLE]).into_iter().map(window).collect();
    (windows, metric(&metrics, LATE, TABLE))
}

fn minute(minute: &str, count: u64) -> (String, u64) {
    (format!("2025-03-03T{minute}:00Z"), count)
}

#[tokio::test]
async fn a_window_fires_when_the_watermark_leaves_it() {
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    append(&log, (0..4).map(|at| sale(at, "2025-03-03T09:00:59.999999Z")).collect()).await;
    append(&log, vec![sale(0, "2025-03-03T09:01:00Z")]).await;
    assert_eq!(windows(&log, &tables).await.0, []);
    // Five minutes behind 9:05:59 is still in the first minute …
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:00:59.999999Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, []);
    // … and a heartbeat says outright that the minute is over, the next one not.
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:01:59Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, [minute("09:00", 4)]);
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:02:00Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, [minute("09:00", 4), minute("09:01", 1)]);
}

#[tokio::test]
async fn a_partition_that_has_told_nothing_holds_all_windows_open() {
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    append(&log, (0..3).map(|at| sale(at, "2025-03-03T09:00:00Z")).collect()).await;
    append(&log, (0..3).map(|at| heartbeat(at, "2025-03-03T12:00:00Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, []);
    append(&log, vec![heartbeat(3, "2025-03-03T12:00:00Z")]).await;
    assert_eq!(windows(&log, &tables).await.0, [minute("09:00", 3)]);
}

#[tokio::test]
async fn what_comes_after_its_window_is_dropped_and_counted() {
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    append(&log, vec![sale(0, "2025-03-03T09:00:00Z")]).await;
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:10:30Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await, (vec![minute("09:00", 1)], 0.0));
    // In the watermark's own minute a record counts, though the watermark has passed its instant.
    append(&log, vec![sale(0, "2025-03-03T09:10:00Z")]).await;
    append(&log, vec![sale(0, "2025-03-03T09:09:59Z"), sale(1, "2025-03-03T09:00:00Z")]).await;
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:20:00Z")).collect()).await;
    let (landed, _) = windows(&log, &tables).await;
    assert_eq!(landed, [minute("09:00", 1), minute("09:10", 1)]);
}

#[tokio::test]
async fn late_records_are_counted_while_running() {
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T09:10:00Z")).collect()).await;
    append(&log, vec![sale(0, "2025-03-03T09:00:00Z"), sale(0, "2025-03-03T09:12:00Z")]).await;
    let landing = Landing { batch: 1, ..Landing::WHOLE };
    let metrics = land(&log, &tables, &landing, &Ends::new()).await.expect("landed");
    assert!((metric(&metrics, LATE, TABLE) - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn the_watermark_never_goes_back() {
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    append(&log, vec![sale(0, "2025-03-03T09:00:00Z")]).await;
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T10:00:00Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, [minute("09:00", 1)]);
    // After a restart every partition tells an older instant; the emitted window stays as it is.
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T08:00:00Z")).collect()).await;
    append(&log, vec![sale(1, "2025-03-03T09:00:10Z")]).await;
    append(&log, (0..4).map(|at| heartbeat(at, "2025-03-03T11:00:00Z")).collect()).await;
    assert_eq!(windows(&log, &tables).await.0, [minute("09:00", 1)]);
}

#[tokio::test]
async fn stopped_anywhere_the_windows_are_the_same() {
    let log = Arc::new(ModelLog::default());
    let mut records = Vec::new();
    for second in 0..400_u32 {
        let at = format!("2025-03-03T09:{:02}:{:02}Z", second / 60, second % 60);
        records.push(sale(second * 7 % 4, &at));
    }
    records.extend((0..4).map(|at| heartbeat(at, "2025-03-03T10:00:00Z")));
    append(&log, records).await;
    let whole = landing::tables();
    let (windows, _) = windows(&log, &whole).await;
    assert_eq!(windows.iter().map(|(_, count)| count).sum::<u64>(), 400);
    for stop in (1..100).step_by(7) {
        let tables = landing::tables();
        for hundredths in [stop, (stop + 100) / 2, 100] {
            let landing = Landing { batch: 16, commit: 20, refused: None };
            let ends = landing::part(&log, hundredths);
            land(&log, &tables, &landing, &ends).await.expect("landed");
        }
        assert_eq!(rows(&tables[TABLE]), rows(&whole[TABLE]), "stopped at {stop} %");
    }
}
