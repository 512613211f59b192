//! People of the register, and the means of issuers.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use connectors::{
    dagr::{PersonChanges, snapshot::Snapshot},
    error::ConnectorError,
    issuer::MeansFiles,
    load::{self, Account},
};
use domain::id::IssuerId;
use ingest::{
    dead_letter::Reason, log::replay, register::people::People, topic::Topic, vault::VaultError,
    wire::v1::Event,
};
use serde_json::{Value, json};

use crate::Node;

const CODES: [&str; 3] = ["326180-33995", "322360-67989", "328541-01970"];

fn change(id: &str, person: &str, sequence: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00+02:00",
        "data": {"person": person, "sequence": sequence,
                 "attributes": {"birth_date": "1980-01-01", "family_id": "F-1", "shoe_size": 43}},
    })
}

/// People of invented codes as a snapshot that says how many it has.
fn snapshot(name: &str, people: std::ops::Range<u64>, says: Option<u64>) -> String {
    let line = |at: u64| {
        let mut line = change(&format!("{name}-{at}"), &format!("320000-{at:05}"), 1);
        if at == people.start {
            line["snapshot"] = json!(true);
            line["snapshotcount"] = json!(says);
        }
        line.to_string()
    };
    people.clone().map(line).collect::<Vec<_>>().join("\n")
}

struct Loaded {
    account: Account,
    snapshot: Snapshot,
}

async fn persons(node: &Node, text: String) -> Loaded {
    let (vault, clock) = (node.context.vault.clone(), Arc::clone(&node.context.clock));
    let snapshot: Arc<Mutex<Snapshot>> = Arc::default();
    let connector = PersonChanges { vault, clock, snapshot: Arc::clone(&snapshot) };
    let reader = std::io::Cursor::new(text);
    let account = load::load(&node.context, connector, reader, "persons", |_| {}).await;
    let snapshot = std::mem::take(&mut *snapshot.lock().expect("no panic"));
    Loaded { account: account.expect("loaded"), snapshot }
}

async fn finish(node: &Node, loaded: &Loaded, yes: bool) -> Result<usize, ConnectorError> {
    let Node { context, .. } = node;
    let clock = &*context.clock;
    loaded.snapshot.finish(&context.log, clock, &loaded.account, yes).await
}

/// How many people are in the register.
async fn present(node: &Node) -> usize {
    let mut people = People::default();
    let each = |stored| {
        people.apply(&node.context.vault, &stored).expect("a readable person");
        Ok::<(), ingest::error::LogError>(())
    };
    replay(&node.context.log, Topic::PersonChanges, each).await.expect("a readable stream");
    people.iter().filter(|(_, person)| person.is_present()).count()
}

#[tokio::test]
async fn bad_changes_are_told_and_a_missing_field_removes_nobody() {
    let mut lines = Vec::new();
    let mut broken = |edit: &dyn Fn(&mut Value), reason, named| {
        let mut line = change(&format!("bad-{}", lines.len()), CODES[0], 5);
        edit(&mut line);
        lines.push((line.to_string(), reason, named));
    };
    let missing = Reason::MissingField;
    let invalid = Reason::InvalidValue;
    broken(
        &|line| drop(line["data"].as_object_mut().map(|of| of.remove("attributes"))),
        missing,
        "/data",
    );
    broken(&|line| line["data"]["attributes"] = json!([]), Reason::WrongType, "/data/attributes");
    broken(&|line| line["data"]["person"] = json!("161175-19996"), invalid, "/data/person");
    broken(&|line| line["data"]["sequence"] = json!(-1), invalid, "/data/sequence");
    broken(&|line| line["data"]["colour"] = json!(1), Reason::UnknownField, "/data/colour");
    broken(&|line| line["data"]["attributes"]["birth_date"] = json!("1980"), invalid, "birth_date");
    broken(&|line| line["type"] = json!("lv.dagr.other"), Reason::UnknownType, "/type");
    broken(&|line| line["specversion"] = json!("0.3"), invalid, "/specversion");
    broken(&|line| line["time"] = json!("yesterday"), invalid, "/time");
    broken(&|line| line["id"] = json!("x".repeat(1_000)), invalid, "/id");
    let node = Node::new();
    let first = change("first", CODES[0], 1).to_string();
    let text = std::iter::once(first).chain(lines.iter().map(|line| line.0.clone()));
    let Loaded { account, .. } = persons(&node, text.collect::<Vec<_>>().join("\n")).await;
    assert_eq!((account.taken, account.refused_in_all()), (1, lines.len() as u64));
    let letters = node.dead_letters().await;
    for ((_, reason, named), letter) in lines.iter().zip(&letters) {
        assert_eq!(letter.reason, reason.code(), "{}", letter.detail);
        assert!(letter.detail.contains(named), "{}", letter.detail);
        assert!(!letter.detail.contains(CODES[0]) && !letter.detail.contains("161175"));
    }
    assert_eq!(present(&node).await, 1);
}

#[tokio::test]
async fn a_change_is_sealed_and_null_removes() {
    let node = Node::new();
    let mut gone = change("3", CODES[0], 3);
    gone["data"]["attributes"] = Value::Null;
    let text = [change("1", CODES[0], 1), change("2", CODES[1], 1), gone.clone(), gone];
    let text: Vec<_> = text.iter().map(ToString::to_string).collect();
    let Loaded { account, .. } = persons(&node, text.join("\n")).await;
    assert_eq!((account.taken, account.already_there), (3, 1));
    assert_eq!(present(&node).await, 1);
    for record in node.records(Topic::PersonChanges).await {
        let Event::PersonChanged(change) = &record.event else { panic!("a person") };
        let id = domain::id::RecipientId::parse(&change.person).expect("an id");
        if change.removed {
            assert!(change.sealed.is_empty());
            continue;
        }
        let plain = node.context.vault.unseal(id, &change.sealed).expect("unsealed");
        let plain: Value = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(plain["attributes"]["shoe_size"], 43, "an unknown attribute is kept");
        node.context.vault.destroy(&[id]).expect("destroyed");
        let opened = node.context.vault.unseal(id, &change.sealed);
        assert!(matches!(opened, Err(VaultError::NoKey)));
    }
}

#[tokio::test]
async fn a_whole_snapshot_removes_who_is_missing() {
    let node = Node::new();
    let all = persons(&node, snapshot("a", 0..200, Some(200))).await;
    assert_eq!(finish(&node, &all, false).await.expect("whole"), 0);
    let one_less = persons(&node, snapshot("b", 1..200, Some(199))).await;
    assert_eq!(finish(&node, &one_less, false).await.expect("whole"), 1);
    assert_eq!(present(&node).await, 199);

    let half = persons(&node, snapshot("c", 1..100, Some(99))).await;
    let refused = finish(&node, &half, false).await.expect_err("too many");
    assert!(matches!(refused, ConnectorError::SnapshotRemoves { removed: 100, known: 199 }));
    assert_eq!(present(&node).await, 199);
    assert_eq!(finish(&node, &half, true).await.expect("meant"), 100);
    assert_eq!(present(&node).await, 99);
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_removes_nobody() {
    let node = Node::new();
    let all = persons(&node, snapshot("a", 0..200, Some(200))).await;
    finish(&node, &all, false).await.expect("whole");
    let cut = persons(&node, snapshot("b", 1..200, Some(200))).await;
    let refused = finish(&node, &cut, true).await.expect_err("cut");
    assert!(matches!(refused, ConnectorError::SnapshotCut { expected: 200, found: 199 }));
    let uncounted = persons(&node, snapshot("c", 1..200, None)).await;
    assert_eq!(finish(&node, &uncounted, true).await.expect("adds only"), 0);
    let broken = snapshot("d", 1..200, Some(199)).replace("320000-00007", "nobody");
    let broken = persons(&node, broken).await;
    assert_eq!(finish(&node, &broken, true).await.expect("adds only"), 0);
    // The extensions mean something on the first line only.
    let late = [change("x", CODES[0], 1).to_string(), snapshot("e", 1..2, Some(1))].join("\n");
    let late = persons(&node, late).await;
    assert_eq!(finish(&node, &late, true).await.expect("adds only"), 0);
    assert_eq!(present(&node).await, 201);
}

async fn means(node: &Node, lines: &[Value]) -> Account {
    let connector = MeansFiles {
        issuers: HashSet::from([IssuerId::new("market-card").expect("an id")]),
        vault: node.context.vault.clone(),
        clock: Arc::clone(&node.context.clock),
    };
    let text: Vec<_> = lines.iter().map(ToString::to_string).collect();
    let reader = std::io::Cursor::new(text.join("\n"));
    load::load(&node.context, connector, reader, "means", |_| {}).await.expect("loaded")
}

fn card(person: Option<&str>, value: &str) -> Value {
    json!({"person": person, "issuer": "market-card", "kind": "card_uid", "value": value,
           "valid_from": "2025-01-01", "valid_to": null})
}

#[tokio::test]
async fn a_means_is_of_somebody_known_or_of_nobody() {
    let node = Node::new();
    persons(&node, change("1", CODES[0], 1).to_string()).await;
    let mut elsewhere = card(Some(CODES[0]), "04A3");
    elsewhere["issuer"] = json!("nobody");
    let mut backwards = card(Some(CODES[0]), "04A4");
    backwards["valid_to"] = json!("2024-12-31");
    let lines = [
        card(Some(CODES[0]), "04A1"),
        card(None, "04A2"),
        card(Some(CODES[1]), "04A5"),
        elsewhere,
        backwards,
    ];
    let account = means(&node, &lines).await;
    assert_eq!(account.taken, 2);
    assert_eq!(account.refused[&Reason::UnknownPerson], 1);
    assert_eq!(account.refused[&Reason::UnknownReference], 1);
    assert_eq!(account.refused[&Reason::InvalidValue], 1);
    let mut ends = card(Some(CODES[0]), "04A1");
    ends["valid_to"] = json!("2025-06-30");
    let account = means(&node, &[lines[0].clone(), ends.clone(), ends]).await;
    assert_eq!((account.taken, account.already_there), (1, 2), "a means may change");
}

#[tokio::test]
async fn a_means_that_is_blocked_stays_so_whatever_its_file_says() {
    let node = Node::new();
    let line = card(None, "04A1");
    assert_eq!(means(&node, std::slice::from_ref(&line)).await.taken, 1);
    let mut record = node.records(Topic::MeansChanges).await.pop().expect("a means");
    let Event::MeansChanged(change) = &mut record.event else { panic!("a means") };
    (change.blocked, change.reason) = (true, "lost".into());
    record.id = ingest::record::outside_id("test", "blocked");
    node.context.log.append(Topic::MeansChanges, &[record]).await.expect("appended");
    let again = means(&node, std::slice::from_ref(&line)).await;
    assert_eq!((again.taken, again.already_there), (0, 1), "the file says nothing new");
    let mut renewed = line;
    renewed["valid_to"] = json!("2029-12-31");
    assert_eq!(means(&node, std::slice::from_ref(&renewed)).await.taken, 1);
    let newest = node.records(Topic::MeansChanges).await.pop().expect("a means");
    let Event::MeansChanged(change) = newest.event else { panic!("a means") };
    assert_eq!((change.blocked, change.reason.as_str()), (true, "lost"));
    assert_eq!(change.valid_to.as_deref(), Some("2029-12-31"));
}
