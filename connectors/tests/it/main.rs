//! The connectors from outside: files go in, streams and dead letters come out.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use chrono::DateTime;
use connectors::{
    edge, lines,
    load::Context,
    metrics::Metrics,
    registry::{self, Document},
};
use ingest::{
    clock::{Clock, ManualClock},
    log::{Log, model::ModelLog, replay},
    record::Record,
    topic::Topic,
    vault::Vault,
    wire::v1::{DeadLetter, Event},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

mod calls;
mod client;
mod events;
mod files;
mod keys;
mod lists;
mod means;
mod oidc;
mod people;
mod properties;
mod recipients;
mod registries;
mod registry_api;
mod sources;
mod terminals;
mod transactions;

/// How much more than in CI the heavy tests do.
fn scale() -> u32 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// Serves as a node does, as long as the test runs or until it is aborted.
async fn serve(routes: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = edge::Patient::new(listener, Duration::from_secs(30));
    let serving = async move {
        let (_stop, stopped) = watch::channel(false);
        edge::serve(listener, routes, edge::Slowest::default(), stopped).await;
    };
    (address, tokio::spawn(serving))
}

/// A node with streams in memory; the folder goes with it.
struct Node {
    context: Context,
    metrics: prometheus::Registry,
    _folder: TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let at = DateTime::parse_from_rfc3339("2025-03-01T12:00:00+02:00").expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at.to_utc()));
        let registry = prometheus::Registry::new();
        let streams = ingest::metrics::Metrics::register(&registry).expect("fresh");
        let metrics = Metrics::register(&registry).expect("fresh");
        let context = Context { log, vault, clock, metrics, streams };
        Self { context, metrics: registry, _folder: folder }
    }

    /// Everything that a stream holds, in order.
    async fn records(&self, topic: Topic) -> Vec<Record> {
        let mut records = Vec::new();
        let each = |stored: ingest::record::Stored| {
            records.push(stored.record);
            Ok::<(), ingest::error::LogError>(())
        };
        replay(&self.context.log, topic, each).await.expect("a readable stream");
        records
    }

    async fn dead_letters(&self) -> Vec<DeadLetter> {
        let records = self.records(Topic::DeadLetters).await.into_iter();
        let letter = |record: Record| match record.event {
            Event::DeadLetter(letter) => letter,
            other => panic!("{other:?} among the dead letters"),
        };
        records.map(letter).collect()
    }
}

/// A file of the demonstration's real data.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/avis/demo/data").join(name)
}

/// The text of a file of the demonstration.
fn text(name: &str) -> String {
    let mut text = String::new();
    let mut reader = lines::open(&data(name)).expect("a file");
    std::io::Read::read_to_string(&mut reader, &mut text).expect("text");
    text
}

/// The demonstration's registry. Conditions are the pipelines' to check.
fn real_registry() -> Document {
    registry::read(&text("registry.yaml.gz"), "registry.yaml", &|_| None, &|_| None)
        .expect("no fault")
}
