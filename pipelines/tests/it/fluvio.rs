//! Topics of a Fluvio cluster that a run reads.
//!
//! What a cluster is needed for runs where `AVIS_TEST_FLUVIO` names a cluster's controller as
//! `host:port`, with at least two data nodes.

use std::{
    fs,
    io::{Write, stderr},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ingest::{
    log::{
        Log,
        fluvio::{FluvioLog, Settings},
    },
    metrics::{ClusterMetrics, Metrics},
    topic::Topic,
    wire::v1::{Event, TransactionUploaded},
};
use pipelines::{
    files::{self, Kept},
    own, planner,
};
use prometheus::Registry;

use crate::history::{household, record};

const CLUSTER: &str = "AVIS_TEST_FLUVIO";
const TOPIC: Topic = Topic::Authorisations;
/// One of the four partitions of the stream is empty.
const FILLED: u32 = 3;
const MINUTES: u32 = 10;
const BY_MINUTE: &str = "SELECT w.start AS start, n FROM (
   SELECT tumble(INTERVAL '1 minute') AS w, COUNT(*) AS n FROM uploads GROUP BY w)";

/// A file that fills `path` from a topic.
fn file(endpoint: &str, topic: &str, watermark: &str, path: &Path, query: &str) -> String {
    format!(
        "CREATE TABLE uploads (
           idempotency_key TEXT, event_time TIMESTAMP NOT NULL{watermark}
         ) WITH (connector = 'fluvio', endpoint = '{endpoint}', topic = '{topic}', \
         type = 'source', format = 'json', 'source.offset' = 'earliest');
         CREATE TABLE out WITH (connector = 'single_file', path = '{}', type = 'sink', \
         format = 'json');
         INSERT INTO out {query};",
        path.display()
    )
}

#[tokio::test]
async fn windows_over_a_topic_want_a_watermark() {
    for (watermark, query, runs) in [
        ("", "SELECT idempotency_key FROM uploads", true),
        (", WATERMARK FOR event_time", BY_MINUTE, true),
        ("", BY_MINUTE, false),
    ] {
        let text = file("x:9003", "t", watermark, Path::new("y"), query);
        let planned = planner::standalone(&[], "mine", &text).await;
        let planned = planned.map(drop).map_err(|error| error.to_string());
        assert_eq!(planned.is_ok(), runs, "{watermark} {query}: {planned:?}");
        if let Err(refused) = planned {
            assert!(refused.contains("uploads declares no WATERMARK FOR"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_node_reads_no_topic() {
    let source = file("x:9003", "t", "", Path::new("y"), "SELECT idempotency_key FROM uploads");
    let refused = own::one("out", &source).await.expect_err("no stream").to_string();
    assert!(refused.contains("uploads is fluvio: a node reads connector = 'stream'"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_named_and_nothing_is_written() {
    // Nobody listens here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = listener.local_addr().expect("its number").to_string();
    drop(listener);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let text = file(&nowhere, "t", "", &path, "SELECT idempotency_key FROM uploads");
    let refused = files::run("mine", &text, files::Settings::default()).await;
    let refused = refused.expect_err("no cluster").to_string();
    assert!(refused.contains("connect") && refused.contains(&nowhere), "{refused}");
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_from_its_beginning_to_its_end() {
    let Ok(cluster) = std::env::var(CLUSTER) else {
        // What a test that passes prints by `eprintln!` is not shown.
        let _ = writeln!(stderr(), "SKIPPED: {CLUSTER} names no Fluvio cluster");
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let settings = Settings { prefix: format!("t{now}-run-"), ..Settings::of(&cluster) };
    let topic = format!("{}{TOPIC}", settings.prefix);
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), settings).await;

    let path = folder.path().join("out.json");
    let watermark = ", WATERMARK FOR event_time";
    let text = file(&cluster, &topic, "", &path, "SELECT idempotency_key FROM uploads");
    let wanted =
        (0..MINUTES * FILLED).map(|number| format!("{{\"idempotency_key\":\"{number:02}\"}}"));
    assert_eq!(rows(&text, &path).await, wanted.collect::<Vec<_>>());

    let text = file(&cluster, &topic, watermark, &path, BY_MINUTE);
    let wanted = (0..MINUTES)
        .map(|minute| format!("{{\"start\":\"2025-03-01T10:{minute:02}:00\",\"n\":{FILLED}}}"));
    assert_eq!(rows(&text, &path).await, wanted.collect::<Vec<_>>());
}

/// Publishes records, of which each minute has one in each partition that is filled.
async fn fill(folder: &Path, settings: Settings) {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).expect("metrics");
    let of_cluster = ClusterMetrics::register(&registry).expect("metrics");
    let log = FluvioLog::open(folder, settings, metrics, of_cluster).expect("a log");
    let mut records = Vec::new();
    for number in 0..MINUTES * FILLED {
        let event = Event::TransactionUploaded(TransactionUploaded {
            idempotency_key: format!("{number:02}"),
            ..TransactionUploaded::default()
        });
        let event_time = format!("2025-03-01T10:{:02}:30Z", number / FILLED);
        let key = household(number % FILLED);
        records.push(record(&number.to_string(), key, &event_time, event));
    }
    log.append(TOPIC, &records).await.expect("appended");
}

/// What a run makes, in the order of its text, however it is cut into batches and taken up again.
async fn rows(text: &str, path: &Path) -> Vec<String> {
    let mut made: Vec<Vec<String>> = Vec::new();
    for (batch, kept) in [(1_024, Kept::Not), (3, Kept::Restored)] {
        let written = files::run("mine", text, files::Settings { batch, kept }).await;
        let written = written.expect("it runs");
        assert_eq!((written.len(), written[0].late), (1, 0));
        let text = fs::read_to_string(path).expect("an output");
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        made.push(lines);
    }
    assert_eq!(made[0], made[1]);
    made.remove(0)
}
