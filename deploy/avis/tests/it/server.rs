//! Commands that ask a running node.

use std::process::Output;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    avis,
    recipient::SENIOR,
    succeeded,
    talk::{Node, today, token, until},
    up::Server,
};

const REGISTRY: &str = include_str!("operators/registry.yaml");

/// Runs a command with a token of a role.
fn ask(node: &Node, (role, organisation, subject): (&str, &str, &str), what: &[&str]) -> Output {
    let mut command = avis();
    command.env("AVIS_TOKEN", token(&node.folder, role, organisation, subject)).args(what);
    command.args(["--server", &format!("http://{}", node.server.address())]);
    command.output().expect("run")
}

#[test]
fn what_a_running_node_does_is_asked_of_it() {
    let node = Node::start(&[("AVIS__REGISTRY__APPROVAL", "false")]);
    let place = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let of = |role: &'static str, what: &[&str]| succeeded(&ask(&node, (role, "", "me"), what));
    let refused = |role: &'static str, what: &[&str]| {
        let output = ask(&node, (role, "", "me"), what);
        assert_eq!(output.status.code(), Some(1), "{what:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };

    let registry = write("registry.yaml", REGISTRY);
    let diff = of("administrator", &["registry", "diff", &registry]);
    assert_eq!(diff.lines().filter(|line| line.starts_with("+ ")).count(), 4, "{diff}");
    let told = of("administrator", &["registry", "apply", &registry]);
    assert_eq!(told, "4 entries changed\n");
    assert_eq!(of("administrator", &["registry", "diff", &registry]), "");
    assert!(of("administrator", &["registry", "export", "-"]).contains("\"T-1\""));
    let faulty = write("faulty.yaml", &REGISTRY.replace("LV0001000", "LV0001"));
    let told = refused("administrator", &["registry", "apply", &faulty]);
    assert!(told.contains("/places/0/territory"), "{told}");
    let less = write("less.yaml", "grantors: []\n");
    let told = refused("administrator", &["registry", "apply", &less]);
    assert!(told.contains("4 of 4 entries"), "{told}");
    let told = refused("terminal", &["registry", "export", "-"]);
    assert!(told.contains("403"), "{told}");

    let till = node.talk("terminal", "shop", "T-1");
    let kit = "/v1/terminals/T-1/offline-kit";
    until("the till is known", || (till.try_get(kit).0 == 200).then_some(()));
    let at = (Utc::now() - TimeDelta::hours(1)).to_rfc3339();
    let basket = |key: &str, quantity: i64| {
        let line = json!({"line": 1, "item": "milk", "quantity": quantity, "unit_price_cents": 90});
        json!({"terminal_id": "T-1", "occurred_at": at, "idempotency_key": key, "mode": "offline",
            "lines": [line]})
    };
    let text = format!("{}\n\n{}\n{{no JSON", basket("1", 1), basket("2", -1));
    let baskets = write("baskets.ndjson", &text);
    let load = ["load", "transactions", &baskets];
    let told = succeeded(&ask(&node, ("terminal", "shop", "T-1"), &load));
    assert!(told.contains("3 lines, 1 taken, 0 already there, 2 refused"), "{told}");
    assert!(told.contains("malformed_json"), "{told}");
    let events = write("events.ndjson", "{\"type\": \"lv.nobody.knows\"}\n");
    let told = of("source", &["load", "events", &events]);
    assert!(told.contains("1 lines, 0 taken, 0 already there, 1 refused"), "{told}");

    let card =
        json!({"issuer": "none", "kind": "card_uid", "value": "04A2", "valid_from": "2025-01-01"});
    let cards = write("means.ndjson", &format!("{card}\n\n{{no JSON\n"));
    let told = of("administrator", &["load", "means", &cards]);
    assert!(told.contains("2 lines, 0 taken, 0 already there, 2 refused"), "{told}");
    assert!(told.contains("unknown_reference") && told.contains("malformed_json"), "{told}");
    assert!(refused("operator", &["load", "means", &cards]).contains("403"));

    let listed = of("operator", &["dead-letters", "list", "--connector", "terminal"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let id = listed.split_whitespace().next().expect("an id");
    assert!(of("operator", &["dead-letters", "show", id]).contains("reason "));
    let told = of("operator", &["dead-letters", "replay", id]);
    assert!(told.contains("0 replayed, 1 left"), "{told}");
    let told = of("operator", &["dead-letters", "drop", "--yes", "--connector", "terminal"]);
    assert_eq!(told, "2 dropped\n");
    assert_eq!(of("operator", &["dead-letters", "list", "--connector", "terminal"]), "");

    assert!(of("finance", &["report", "--list"]).contains("budgets"));
    let month = &today()[..7];
    let told = refused("finance", &["settle", "close", "--period", month]);
    assert!(told.contains("is not over yet"), "{told}");
    assert_eq!(of("finance", &["settle", "unmatched"]), "");
    let answer = write("answer.xml", "<a/>");
    let told = refused("finance", &["settle", "import", &answer]);
    assert!(told.contains("answer.xml") && told.contains("camt.053"), "{told}");

    what_it_has_is_proved(&node, &registry);
    somebody_is_told_and_forgotten(&node, &write("person.ndjson", &person().to_string()));
    let list = write("members.ndjson", "{\"group\":\"none\",\"from\":\"2025-01-01\"}\n");
    let load = ["load", "memberships", &list];
    let told = ask(&node, ("grantor", "shop", "me"), &load);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("the group none") && told.contains("404"), "{told}");
    node.server.stop();
    let trail = ["stream", "tail", "audit", "--from", "earliest", "--most", "1000", "--data"];
    let trail = succeeded(&avis().args(trail).arg(&node.folder).output().expect("run"));
    let of_people = ["person.export", "person.erase", "stream.read"];
    let proofs = ["settlement.check", "verify", "audit.verify", "registry.simulate"];
    for action in of_people.into_iter().chain(proofs) {
        assert!(trail.contains(&format!("\"action\":\"{action}\"")), "{action}: {trail}");
    }
    assert!(!trail.contains("33995"), "a personal code in the trail");
}

fn person() -> Value {
    json!({"specversion": "1.0", "id": "dagr-1", "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00Z",
        "data": {"person": SENIOR, "sequence": 1, "attributes": {"birth_date": "1950-01-01",
            "territory": "LV0001000", "status": "alive"}}})
}

/// The node gives no time at all to what changes something.
#[test]
fn what_tries_a_change_or_reads_whole_streams_has_the_time_of_what_reads() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, keys) = (place.path().join("data"), place.path().join("keys"));
    std::fs::create_dir_all(folder.join("log")).expect("a folder");
    let file = place.path().join("person.ndjson");
    std::fs::write(&file, person().to_string()).expect("written");
    let load = avis().args(["load", "persons"]).arg(&file).arg("--data").arg(&folder).output();
    succeeded(&load.expect("run"));
    let keys = ("AVIS__BACKUP__KEYS", keys.to_str().expect("text"));
    let server = Server::start_with(&folder, &[("AVIS__HTTP__CHANGING_SECONDS", "0"), keys]);
    server.wait_until_ready();
    let node = Node::of(server, folder, place);
    let registry = json!({"grantors": [{"id": "town", "kind": "municipality"}]});
    let days = json!({"from": "2025-01-01", "to": "2025-01-31"});
    let asked = [
        ("registry:diff", registry.clone()),
        ("registry:simulate?from=2025-01-01&to=2025-01-31", registry),
        ("instructions:preview", json!({"simulate": days})),
        ("audit:verify", json!({})),
        ("backup/keys", json!({})),
        ("persons:erase", json!({"person": SENIOR, "confirmed": true})),
    ];
    let administrator = node.talk("administrator", "", "me");
    for (at, (what, body)) in asked.into_iter().enumerate() {
        administrator.post(&format!("/v1/{what}"), &at.to_string(), &body);
    }
}

/// Books, stores and trail are proved while it runs, to whom that is for; so are other rules tried.
fn what_it_has_is_proved(node: &Node, registry: &str) {
    let of = |role: &'static str, what: &[&str]| succeeded(&ask(node, (role, "", "me"), what));
    let refused = |role: &'static str, what: &[&str]| {
        let output = ask(node, (role, "", "me"), what);
        assert_eq!(output.status.code(), Some(1), "{what:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("403"), "{told}");
    };
    assert!(of("finance", &["settle", "check"]).contains("the books balance"));
    refused("operator", &["settle", "check"]);
    let told = of("operator", &["verify", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["drifts"], &told["not_named"]), (&json!([]), &json!(0)), "{told:#}");
    assert!(told["records"].as_u64() > Some(0), "{told:#}");
    assert!(told["notes"].to_string().contains("the index"), "{told:#}");
    refused("finance", &["verify"]);
    let told = of("operator", &["audit", "verify"]);
    assert!(told.contains("vouched for by"), "{told}");
    refused("finance", &["audit", "verify"]);

    let list = of("operator", &["pipelines", "list"]);
    let of_decisions = list.lines().find(|line| line.starts_with("authorisations "));
    let cells: Vec<_> = of_decisions.expect("a line").split_whitespace().collect();
    assert_eq!(
        (cells.len(), cells[1], cells[4]),
        (5, "authorisations", "authorisations"),
        "{list}"
    );
    assert!(cells[2].parse::<u64>().is_ok() && cells[3].parse::<u64>().is_ok(), "{list}");
    assert!(
        list.lines().any(|line| line.starts_with("indicators ") && line.ends_with(" -")),
        "{list}"
    );
    refused("finance", &["pipelines", "list"]);
    let restart = ["pipelines", "restart", "calls", "--from", "earliest"];
    let output = ask(node, ("administrator", "", "me"), &restart);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("--data with its folder"), "{told}");

    let list = of("operator", &["stream", "list"]);
    assert!(list.lines().any(|line| line.starts_with("terminal-transactions")), "{list}");
    let tail = ["stream", "tail", "registry-changes", "--from", "earliest", "--most", "2"];
    let told = of("administrator", &tail);
    let first: Value = serde_json::from_str(told.lines().next().expect("a line")).expect("JSON");
    assert_eq!((told.lines().count(), &first["source_offset"]), (2, &json!(0)), "{told}");
    let table = of("administrator", &[&tail[..], &["--format", "table"]].concat());
    assert!(table.starts_with("0/0 "), "{table}");
    refused("operator", &tail);

    let days = ["--from", "2025-01-01", "--to", "2025-01-31"];
    let simulate = [&["simulate", "--registry", registry][..], &days].concat();
    assert!(of("administrator", &simulate).contains("0 transactions differ"));
    refused("grantor", &simulate);
}

fn somebody_is_told_and_forgotten(node: &Node, file: &str) {
    let of = |role: &'static str, what: &[&str]| succeeded(&ask(node, (role, "", "me"), what));
    let told = of("source", &["load", "persons", file]);
    assert!(told.contains("1 lines, 1 taken"), "{told}");
    let told = of("administrator", &["person", "export", SENIOR]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["attributes"]["territory"], "LV0001000");
    let export_it = vec!["person", "export", SENIOR];
    let erase_it = vec!["person", "erase", SENIOR, "--yes"];
    for (role, what) in [("operator", export_it), ("finance", erase_it)] {
        let output = ask(node, (role, "", "me"), &what);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("403") && !told.contains("33995"), "{told}");
    }
    let unsure = ask(node, ("administrator", "", "me"), &["person", "erase", SENIOR]);
    assert_eq!(unsure.status.code(), Some(2), "without --yes");
    let told = of("administrator", &["person", "erase", SENIOR, "--yes"]);
    assert!(told.starts_with("erased"), "{told}");
    // Whoever has the code finds nothing any more.
    let unknown = ask(node, ("administrator", "", "me"), &["person", "export", SENIOR]);
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{told}");
    assert!(told.contains("404") && unknown.stdout.is_empty(), "{told}");
}
