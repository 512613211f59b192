//! The demonstration's real files through the connectors, over the model log.

use std::{path::PathBuf, sync::Arc};

use chrono::DateTime;
use connectors::{
    dagr::PersonChanges,
    error::ConnectorError,
    issuer::MeansFiles,
    lines,
    load::{Account, Context, load},
    metrics::Metrics,
    registry,
    vpvkac::CentreEvents,
};
use ingest::{
    clock::{Clock, ManualClock},
    log::{Log, model::ModelLog},
    topic::Topic,
    vault::Vault,
};
use tempfile::TempDir;

struct Node {
    context: Context,
    _folder: TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let at = DateTime::parse_from_rfc3339("2025-03-01T12:00:00+02:00").expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at.to_utc()));
        let metrics = prometheus::Registry::new();
        let streams = ingest::metrics::Metrics::register(&metrics).expect("fresh");
        let metrics = Metrics::register(&metrics).expect("fresh");
        let context = Context { log, vault, clock, metrics, streams };
        Self { context, _folder: folder }
    }

    fn persons(&self) -> PersonChanges {
        let (vault, clock) = (self.context.vault.clone(), Arc::clone(&self.context.clock));
        PersonChanges { vault, clock, snapshot: Arc::default() }
    }

    async fn load_persons(&self, text: String) -> (Account, Result<usize, ConnectorError>) {
        let connector = self.persons();
        let snapshot = Arc::clone(&connector.snapshot);
        let reader = std::io::Cursor::new(text.into_bytes());
        let account = load(&self.context, connector, reader, "persons", |_| {}).await;
        let account = account.expect("loaded");
        let snapshot = std::mem::take(&mut *snapshot.lock().expect("not poisoned"));
        let Context { log, vault, clock, .. } = &self.context;
        let finished = snapshot.finish(log, vault, &**clock, &account, false).await;
        (account, finished)
    }

    fn end(&self, topic: Topic) -> u64 {
        self.context.log.end(topic, 0).expect("an end")
    }
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/avis/demo/data").join(name)
}

fn text(name: &str) -> String {
    let mut text = String::new();
    let mut reader = lines::open(&data(name)).expect("a file");
    std::io::Read::read_to_string(&mut reader, &mut text).expect("text");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_files_are_taken_once() {
    let node = Node::new();
    let document = registry::read(&text("registry.yaml.gz"), "registry.yaml", &|_| None);
    let document = document.expect("without a fault");
    let now = node.context.clock.now();
    let changed = registry::apply(&node.context.log, &document, now).await.expect("applied");
    assert!(changed.len() > 1_000);
    let again = registry::apply(&node.context.log, &document, now).await.expect("applied");
    assert_eq!(again, [], "nothing changes twice");
    for (taken, already_there) in [(4_075, 0), (0, 4_075)] {
        let (account, removed) = node.load_persons(text("persons.ndjson.gz")).await;
        assert_eq!((account.taken, account.already_there), (taken, already_there));
        assert_eq!(removed.expect("a whole snapshot"), 0);
    }
    for (taken, already_there) in [(2_469, 0), (0, 2_469)] {
        let connector = MeansFiles {
            issuers: document.registry.issuers.iter().map(|issuer| issuer.id.clone()).collect(),
            vault: node.context.vault.clone(),
            clock: Arc::clone(&node.context.clock),
        };
        let reader = lines::open(&data("means.ndjson.gz")).expect("a file");
        let account = load(&node.context, connector, reader, "means", |_| {}).await;
        let account = account.expect("loaded");
        assert_eq!((account.taken, account.already_there), (taken, already_there));
    }
    let connector = CentreEvents {
        centres: document.registry.centres.iter().map(|centre| centre.id.clone()).collect(),
        vault: node.context.vault.clone(),
        clock: Arc::clone(&node.context.clock),
    };
    let reader = lines::open(&data("service-events.ndjson.gz")).expect("a file");
    let account = load(&node.context, connector, reader, "events", |_| {}).await;
    let account = account.expect("loaded");
    assert_eq!((account.refused_in_all(), account.taken), (0, 1_517));
    assert_eq!(node.end(Topic::DeadLetters), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_removes_nobody_unless_it_is_whole() {
    let node = Node::new();
    let all = text("persons.ndjson.gz");
    let (_, removed) = node.load_persons(all.clone()).await;
    assert_eq!(removed.expect("whole"), 0);
    let known = node.end(Topic::PersonChanges);
    let cut: String = all.lines().take(4_000).map(|line| format!("{line}\n")).collect();
    let (_, removed) = node.load_persons(cut.clone()).await;
    let error = removed.expect_err("a cut snapshot");
    assert!(matches!(error, ConnectorError::SnapshotCut { expected: 4_075, found: 4_000 }));
    let smaller = cut.replace("\"snapshotcount\":4075", "\"snapshotcount\":4000");
    let (_, removed) = node.load_persons(smaller).await;
    let error = removed.expect_err("more than 1 %");
    assert!(matches!(error, ConnectorError::SnapshotRemoves { removed: 75, known: 4_075 }));
    assert_eq!(node.end(Topic::PersonChanges), known, "nobody was removed");
    let nearly: String = all.lines().take(4_070).map(|line| format!("{line}\n")).collect();
    let nearly = nearly.replace("\"snapshotcount\":4075", "\"snapshotcount\":4070");
    let (_, removed) = node.load_persons(nearly).await;
    assert_eq!(removed.expect("whole"), 5);
    assert_eq!(node.end(Topic::PersonChanges), known + 5);
}
