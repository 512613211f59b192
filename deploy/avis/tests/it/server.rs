//! Commands that ask a running node.

use std::process::Output;

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::{
    avis, succeeded,
    talk::{Node, today, token, until},
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

    let listed = of("operator", &["dead-letters", "list", "--connector", "terminal"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let id = listed.split_whitespace().next().expect("an id");
    assert!(of("operator", &["dead-letters", "show", id]).contains("reason "));
    let told = of("operator", &["dead-letters", "replay", id]);
    assert!(told.contains("0 replayed, 1 left"), "{told}");
    let told = of("operator", &["dead-letters", "drop", "--connector", "terminal"]);
    assert_eq!(told, "2 dropped\n");
    assert_eq!(of("operator", &["dead-letters", "list", "--connector", "terminal"]), "");

    assert!(of("finance", &["report", "--list"]).contains("budgets"));
    let month = &today()[..7];
    let told = refused("finance", &["settle", "close", "--period", month]);
    assert!(told.contains("is not over yet"), "{told}");
    assert_eq!(of("finance", &["settle", "unmatched"]), "");
}
