//! What operators ask the streams, and what they do about what was refused.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{avis, succeeded, up::Server};

const REGISTRY: &str = include_str!("operators/registry.yaml");
const TERMINAL: &str = r#"- {id: "T-2", place: "P-1", kind: "till"}"#;

/// One basket a line: two of a terminal that is not there yet, one with a wrong quantity, no JSON.
const BASKETS: &str = r#"{"terminal_id":"T-2","occurred_at":"2025-01-10T10:00:00Z","idempotency_key":"1","mode":"offline","lines":[{"line":1,"item":"milk","quantity":1,"unit_price_cents":100}]}
{"terminal_id":"T-2","occurred_at":"2025-01-10T11:00:00Z","idempotency_key":"2","mode":"offline","lines":[{"line":1,"item":"milk","quantity":2,"unit_price_cents":100}]}
{"terminal_id":"T-1","occurred_at":"2025-01-10T12:00:00Z","idempotency_key":"3","mode":"offline","lines":[{"line":1,"item":"milk","quantity":-1,"unit_price_cents":100}]}
{no JSON
"#;

fn ran(data: &Path, arguments: &[&str]) -> String {
    succeeded(&avis().args(arguments).arg("--data").arg(data).output().expect("run"))
}

fn end(data: &Path, stream: &str) -> u64 {
    let list = ran(data, &["stream", "list"]);
    let row = list.lines().find(|line| line.starts_with(stream)).expect("the stream");
    row.split_whitespace().last().and_then(|end| end.parse().ok()).expect("a number")
}

#[test]
fn what_was_refused_is_listed_shown_replayed_and_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (registry, baskets) = (write("registry.yaml", REGISTRY), write("baskets.ndjson", BASKETS));
    std::fs::create_dir_all(data.join("log")).expect("a folder");
    ran(&data, &["registry", "apply", &registry]);
    let told = ran(&data, &["load", "transactions", &baskets]);
    assert!(told.contains("4 lines, 0 taken, 0 already there, 4 refused"), "{told}");

    let listed = ran(&data, &["dead-letters", "list"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let id = listed.split_whitespace().next().expect("an id").to_owned();
    let shown = ran(&data, &["dead-letters", "show", &id]);
    assert!(shown.contains("unknown_terminal") && shown.contains(r#""idempotency_key":"1""#));
    let again = ran(&data, &["dead-letters", "replay", &id]);
    assert!(again.contains("stays: unknown_terminal"), "{again}");

    // What was missing comes; what is still wrong stays.
    let more = REGISTRY.replace("terminals:\n", &format!("terminals:\n{TERMINAL}\n"));
    ran(&data, &["registry", "apply", &write("more.yaml", &more)]);
    let again = ran(&data, &["dead-letters", "replay", "--connector", "terminal"]);
    assert!(again.contains("2 replayed, 2 left"), "{again}");
    assert_eq!(end(&data, "terminal-transactions"), 2);
    let unwanted = ["dead-letters", "drop", "--reason", "malformed_json", "--note", "a test"];
    let unsure = avis().args(unwanted).arg("--data").arg(&data).output().expect("run");
    let told = String::from_utf8_lossy(&unsure.stderr);
    assert_eq!(unsure.status.code(), Some(2), "a script says --yes");
    assert!(told.contains("1 of them") && told.contains("--yes"), "{told}");
    ran(&data, &[&unwanted[..], &["--yes"][..]].concat());
    let listed = ran(&data, &["dead-letters", "list"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("invalid_quantity"), "{listed}");

    // Loading the file again changes nothing, and nothing dealt with comes back.
    let told = ran(&data, &["load", "transactions", &baskets]);
    assert!(told.contains("4 lines, 0 taken, 2 already there, 2 refused"), "{told}");
    assert_eq!(ran(&data, &["dead-letters", "list"]), listed);
    let unknown = avis().args(["dead-letters", "show", &id, "--data"]).arg(&data).output();
    let unknown = unknown.expect("run");
    assert_eq!(unknown.status.code(), Some(1), "it is not open any more");
    let told = String::from_utf8_lossy(&unknown.stderr);
    assert!(told.contains(&id) && told.contains("avis dead-letters list"), "{told}");

    // From the beginning, from an offset, from an instant, and from the end.
    let tail = |from: &[&str]| {
        let arguments = [&["stream", "tail", "terminal-transactions"], from].concat();
        let keys = ran(&data, &arguments)
            .lines()
            .map(|line| {
                let record: Value = serde_json::from_str(line).expect("an object a line");
                record["idempotency_key"].as_str().expect("a key").to_owned()
            })
            .collect::<Vec<_>>();
        keys.join(" ")
    };
    assert_eq!(tail(&["--from", "earliest"]), "1 2");
    assert_eq!(tail(&["--from", "1"]), "2");
    assert_eq!(tail(&["--from", "2020-01-01T00:00:00Z", "--most", "1"]), "1");
    assert_eq!(tail(&["--from", "2199-01-01T00:00:00Z"]), "");
    assert_eq!(tail(&["--most", "1"]), "2");
    // What was done at the machine stands in the audit trail, and who did it.
    let days = ["--from", "2025-01-01", "--to", "2025-01-31", "--registry", &registry];
    ran(&data, &[&["simulate"][..], &days].concat());
    let trail = ran(&data, &["stream", "tail", "audit", "--from", "earliest", "--most", "1000"]);
    let letters = ["dead-letters.show", "dead-letters.replay", "dead-letters.drop"];
    for action in ["load.transactions", "registry.simulate"].into_iter().chain(letters) {
        let noted = format!("\"action\":\"{action}\"");
        let deed = trail.lines().find(|line| line.contains(&noted));
        assert!(
            deed.is_some_and(|deed| deed.contains("\"role\":\"machine\"")),
            "{action}: {trail}"
        );
    }

    // A byte of the first batch changes: streams are listed as they were, and what is lost is told.
    let listed = ran(&data, &["stream", "list"]);
    let journal = data.join("log").join("0.jnl");
    let mut bytes = std::fs::read(&journal).expect("the journal");
    bytes[40] ^= 0x40;
    std::fs::write(&journal, &bytes).expect("written");
    let told = |arguments: &[&str]| {
        let output = avis().args(arguments).arg("--data").arg(&data).output().expect("run");
        assert_eq!(output.status.code(), Some(1));
        (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let damaged = format!("{} is damaged at byte 0", journal.display());
    let (rows, why) = told(&["stream", "list"]);
    assert!(String::from_utf8_lossy(&rows) == listed && why.contains(&damaged), "{why}");
    let (records, why) = told(&["stream", "tail", "terminal-transactions", "--from", "earliest"]);
    assert!(records.is_empty() && why.contains(&damaged), "{why}");
    let place = "terminal-transactions partition 0 is damaged at offset 0: records are missing";
    assert!(why.contains(place), "{why}");
    assert!(std::fs::read(&journal).expect("the journal") == bytes, "nothing is changed");
}

#[test]
fn pipelines_are_exported_for_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let export = |more: &[&str]| {
        let arguments = ["pipelines", "export", "--target", "arroyo"];
        avis().args(arguments).arg(folder.path()).args(more).output().expect("run")
    };
    let told = succeeded(&export(&["--endpoint", "fluvio:9003", "--warehouse", "s3://lake/avis"]));
    assert!(told.contains("begin with README.md"), "{told}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let text = read("benefit_lines.sql");
    for said in ["connector = 'fluvio'", "'fluvio:9003'", "'s3://lake/avis/benefit_lines'"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(read("README.md").contains("Records may be missing"));
    assert_eq!(export(&["--storage", "region"]).status.code(), Some(2));
}

#[test]
fn whoever_keeps_a_catalogue_of_data_is_told_what_is_made_of_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, told) = (folder.path().join("data"), folder.path().join("lineage.ndjson"));
    std::fs::create_dir_all(data.join("log")).expect("a folder");
    let registry = folder.path().join("registry.yaml");
    std::fs::write(&registry, REGISTRY).expect("written");
    ran(&data, &["registry", "apply", registry.to_str().expect("text")]);
    let baskets = folder.path().join("baskets.ndjson");
    let file = told.to_str().expect("text");
    let settings = [("AVIS__LINEAGE__PATH", file), ("AVIS__LINEAGE__EVERY_SECONDS", "1")];
    let server = Server::start_with(&data, &settings);
    server.wait_until_ready();
    let goes_on = || std::fs::read_to_string(&told).is_ok_and(|text| text.contains("RUNNING"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !goes_on() {
        assert!(Instant::now() < deadline, "not a word after a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop();
    std::fs::write(&baskets, BASKETS.replace("T-2", "T-1")).expect("written");
    ran(&data, &["load", "transactions", baskets.to_str().expect("text")]);
    let server = Server::start_with(&data, &settings);
    server.wait_until_ready();
    server.stop();

    let text = std::fs::read_to_string(&told).expect("events");
    let events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let of = |table: &'static str| events.iter().filter(move |event| event["job"]["name"] == table);
    let kinds: Vec<_> = of("benefit_lines").map(|event| event["eventType"].as_str()).collect();
    assert_eq!(kinds[..2], [Some("START"), Some("RUNNING")], "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == Some("COMPLETE")).count(), 2, "{kinds:?}");
    let runs: BTreeSet<_> =
        of("benefit_lines").map(|event| &event["run"]["runId"]).map(Value::to_string).collect();
    assert_eq!(runs.len(), 2, "each time that it serves is a run");
    let last = of("authorisations").next_back().expect("an event");
    assert_eq!(last["inputs"][0]["name"], "authorisations");
    let output = &last["outputs"][0];
    assert!(output["name"].as_str().expect("a path").ends_with("/warehouse/authorisations"));
    assert!(last["job"]["facets"]["sql"]["query"].as_str().expect("SQL").contains("INSERT INTO"));
    let rows = of("authorisations")
        .map(|event| event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"].as_u64());
    assert_eq!(rows.flatten().sum::<u64>(), 2, "each row is told of once");
    let has_quantity =
        |field: &Value| field["name"] == "total" && field["type"] == "Decimal128(18, 2)";
    let fields = output["facets"]["schema"]["fields"].as_array().expect("columns");
    assert!(fields.iter().any(has_quantity), "{fields:?}");
}
