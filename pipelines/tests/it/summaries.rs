//! Summaries over the history's tables: what they say, and that they say it once.

use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
    wire::v1::{Event, Heartbeat, ServiceEvent},
};
use pipelines::{
    catalogue,
    config::Settings,
    error::PipelineError,
    metrics::Metrics,
    runner::{Beside, Ends, Runner},
    states::States,
    summary::Summary,
};
use prometheus::Registry;
use tempfile::TempDir;
use url::Url;
use warehouse::{
    report::Report,
    schema,
    session::{Session, folder},
    table::{Table, delta::DeltaTable},
    tail::Tails,
};

use crate::{
    history::{self, at},
    shipped::golden,
};

/// A warehouse in a folder.
struct World {
    _folder: TempDir,
    root: Url,
    metrics: warehouse::metrics::Metrics,
    tails: Tails,
    states: Arc<States>,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let root = folder(temporary.path()).expect("an address");
        let metrics = warehouse::metrics::Metrics::register(&Registry::new()).expect("metrics");
        Self { _folder: temporary, root, metrics, tails: Tails::default(), states: Arc::default() }
    }

    async fn table(&self, name: &str) -> Arc<dyn Table> {
        let schema = schema::table(name).expect("a table");
        let table = DeltaTable::open(&self.root, schema, self.metrics.clone()).await;
        Arc::new(table.expect("opened").with_tail(&self.tails.of(schema)))
    }

    async fn land(&self, log: &Arc<ModelLog>) {
        let mut lines = Vec::new();
        for pipeline in catalogue::shipped().await.expect("shipped files plan") {
            let table = self.table(&pipeline.name).await;
            lines.push((pipeline, table));
        }
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
        let states = Arc::clone(&self.states);
        let beside = Beside { states, tails: &self.tails, late: None };
        let log: Arc<dyn Log> = Arc::clone(log) as _;
        let runner = Runner::new(log, clock, metrics, Settings::default(), beside, lines);
        runner.expect("tables fit").catch_up(&Ends::new()).await.expect("landed");
    }

    async fn refresh(&self, name: &'static str, now: &str) -> usize {
        let (_, query) =
            catalogue::SUMMARIES.iter().find(|(known, _)| *known == name).expect("a summary");
        let summary = Summary::new(name, query, self.table(name).await);
        let session = || {
            Ok::<_, PipelineError>(Session::open_with(&self.root, &self.tails).expect("a session"))
        };
        summary.refresh(session, at(now)).await.expect("refreshed")
    }

    async fn rows(&self, name: &str) -> Vec<String> {
        let session = Session::open_with(&self.root, &self.tails).expect("a session");
        let rows = session.whole(name).await.expect("rows");
        let mut text = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut text);
        writer.write_batches(&rows.batches.iter().collect::<Vec<_>>()).expect("JSON");
        writer.finish().expect("JSON");
        let text = String::from_utf8(text).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

#[tokio::test]
async fn summaries_say_what_the_goldens_say_and_once() {
    let world = World::new();
    world.land(&history::log().await).await;
    for (name, _) in catalogue::SUMMARIES {
        let changed = world.refresh(name, "2025-03-04T01:00:00Z").await;
        let rows = world.rows(name).await;
        assert_eq!(changed, rows.len(), "{name}");
        golden(name, "expected.jsonl", &rows);
        // The same answer is not written again.
        assert_eq!(world.refresh(name, "2025-03-04T02:00:00Z").await, 0, "{name}");
        assert_eq!(world.rows(name).await, rows, "{name}");
    }
}

/// The golden sale earns three points, and its refund takes one of them back.
#[tokio::test]
async fn points_that_a_refund_takes_back_are_not_told_as_spent() {
    let world = World::new();
    world.land(&history::log().await).await;
    let session = Session::open_with(&world.root, &world.tails).expect("a session");
    let day = "2025-03-03".parse().expect("a day");
    let report = Report::named("points").expect("a report");
    let rows = report.rows(&session, day, day).await.expect("rows");
    let told = ["issued", "spent", "owed"].map(|name| rows.longs(name).expect("whole numbers"));
    assert_eq!(told, [[Some(2)], [Some(0)], [Some(2)]]);
}

#[tokio::test]
async fn a_row_that_changed_takes_the_place_of_the_one_before() {
    let world = World::new();
    let log = history::log().await;
    world.land(&log).await;
    world.refresh("indicators", "2025-03-04T01:00:00Z").await;
    let before = world.rows("indicators").await.len();
    // The same uses again, under other names: the users are the same, the consultations are more.
    log.append(ingest::topic::Topic::ServiceEvents, &[history::consultation("another")])
        .await
        .expect("appended");
    world.land(&log).await;
    assert_eq!(world.refresh("indicators", "2025-03-04T02:00:00Z").await, 1);
    assert_eq!(world.rows("indicators").await.len(), before + 1);
    let current = world.rows("indicators_current").await;
    assert_eq!(current.len(), before);
    let consultations = current.iter().find(|row| row.contains("RR6")).expect("an indicator");
    assert!(consultations.contains("\"measured\":2.00"), "{consultations}");
}

#[tokio::test]
async fn a_call_that_is_rated_the_day_after_was_asked_for_once() {
    let world = World::new();
    let log = history::log().await;
    let rated = ServiceEvent {
        event_type: "lv.vpvkac.call.rated".into(),
        call_id: Some("call-1".into()),
        centre_id: Some("vpvkac-1".into()),
        service_id: Some("PAK_03".into()),
        rating: Some(5),
        date: "2025-03-04".into(),
        ..ServiceEvent::default()
    };
    let until = "2025-03-05T00:10:00Z";
    let heartbeat = Event::Heartbeat(Heartbeat { until: history::micros(until) });
    let key = || "vpvkac-1".to_owned();
    let rated = Event::ServiceEvent(rated);
    let records = [
        history::record("rated late", key(), "2025-03-04T12:00:00Z", rated),
        history::record("the day after", key(), until, heartbeat),
    ];
    log.append(ingest::topic::Topic::ServiceEvents, &records).await.expect("appended");
    world.land(&log).await;
    assert_eq!(world.rows("calls").await.len(), 3, "the rating has a row of its own");
    world.refresh("centre_quality", "2025-03-05T01:00:00Z").await;
    for row in world.rows("centre_quality_current").await {
        assert!(row.contains("\"requested\":2,\"answered\":1"), "{row}");
        assert!(row.contains("\"mean_rating\":4.500"), "{row}");
    }
}
