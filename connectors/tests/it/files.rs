//! The demonstration's real files: every line is taken, and a second time nothing is.

use std::{collections::HashSet, sync::Arc};

use connectors::{
    connector::Connector,
    dagr::PersonChanges,
    issuer::MeansFiles,
    lines,
    load::{self, Account},
    terminal::{Terminals, TransactionFiles},
    vpvkac::CentreEvents,
};
use ingest::topic::Topic;

use crate::{Node, data, real_registry};

async fn load<C: Connector>(node: &Node, connector: C, file: &str) -> Account {
    let reader = lines::open(&data(file)).expect("a file");
    load::load(&node.context, connector, reader, file, |_| {}).await.expect("loaded")
}

async fn load_all(node: &Node) -> Vec<Account> {
    let registry = real_registry().registry;
    let (vault, clock) = (&node.context.vault, &node.context.clock);
    let snapshot = Arc::default();
    let people = PersonChanges {
        vault: vault.clone(),
        clock: Arc::clone(clock),
        snapshot: Arc::clone(&snapshot),
    };
    let persons = load(node, people, "persons.ndjson.gz").await;
    let snapshot = std::mem::take(&mut *snapshot.lock().expect("no panic"));
    let removed = snapshot.finish(&node.context.log, &**clock, &persons, false).await;
    assert_eq!(removed.expect("a whole snapshot"), 0);
    let issuers = registry.issuers.iter().map(|issuer| issuer.id.clone()).collect::<HashSet<_>>();
    let means = MeansFiles { issuers, vault: vault.clone(), clock: Arc::clone(clock) };
    let means = load(node, means, "means.ndjson.gz").await;
    let centres = registry.centres.iter().map(|centre| centre.id.clone()).collect();
    let events = CentreEvents { centres, vault: vault.clone(), clock: Arc::clone(clock) };
    let events = load(node, events, "service-events.ndjson.gz").await;
    let terminals = Arc::new(Terminals::of(&registry));
    let baskets = TransactionFiles { terminals, vault: vault.clone(), clock: Arc::clone(clock) };
    let baskets = load(node, baskets, "baskets.ndjson.gz").await;
    vec![persons, means, events, baskets]
}

#[tokio::test]
async fn every_line_is_taken_and_a_second_time_none() {
    let node = Node::new();
    let first = load_all(&node).await;
    let taken: Vec<_> = first.iter().map(|account| account.taken).collect();
    let lines: Vec<_> = first.iter().map(|account| account.lines).collect();
    assert_eq!(taken, lines, "{first:?}");
    assert_eq!((lines[0], lines[1], lines[3]), (4_075, 2_469, 23_160));
    assert!((600..=2_000).contains(&lines[2]), "{} events of centres", lines[2]);

    let again = load_all(&node).await;
    for (account, lines) in again.iter().zip(lines) {
        assert_eq!((account.taken, account.already_there), (0, lines), "{account:?}");
    }
    assert_eq!(node.dead_letters().await, []);
}

#[tokio::test]
async fn no_stream_holds_a_personal_code_or_a_card() {
    let node = Node::new();
    load_all(&node).await;
    let field = |line: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        value[name].as_str().expect("a text").to_owned()
    };
    let text = crate::text("means.ndjson.gz");
    let secrets: HashSet<String> =
        text.lines().flat_map(|line| [field(line, "person"), field(line, "value")]).collect();
    for topic in Topic::ALL {
        for record in node.records(topic).await {
            let envelope = ingest::wire::encode(&record);
            let readable = String::from_utf8_lossy(&envelope);
            let words = readable.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            for word in words {
                assert!(!secrets.contains(word), "{word} stands in {topic}");
            }
        }
    }
}
