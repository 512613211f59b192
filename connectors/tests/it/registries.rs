//! A registry file is taken whole or not at all, and told everything that is wrong with it.

use connectors::{
    error::ConnectorError,
    registry::{self, Document},
};
use ingest::{topic::Topic, wire::v1::Event};
use serde_json::{Value, json};

use crate::Node;

fn read(text: &str) -> Result<Document, ConnectorError> {
    registry::read(
        text,
        "registry.yaml",
        &|condition| condition.ends_with(">=").then(|| "the condition ends too early".to_owned()),
        &|_| None,
    )
}

/// The faults of a text, each as `path: message`.
fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConnectorError::Registry { faults, .. }) => {
            faults.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?} instead of faults"),
    }
}

const SMALL: &str = r#"
grantors:
- {id: riga, kind: municipality}
merchants:
- {id: shop}
places:
- {id: shop-1, merchant: shop, territory: LV0001000}
terminals:
- {id: T-1, place: shop-1, kind: till}
groups:
- {id: seniors, where: "age(birth_date) >= 65"}
benefits:
- {id: transport, grantor: riga, kind: discount}
instructions:
- id: ride
  benefit: transport
  version: 1
  valid: {from: 2025-01-01, to: null}
  priority: 1
  recipients: {any: [seniors]}
  effect: {percent_off_bp: 5000}
  funding: {grantor_bp: 10000}
"#;

#[test]
fn every_fault_is_told_with_its_path() {
    let text = include_str!("../golden/faulty-registry.yaml");
    let told = faults(text);
    let paths = [
        "/grantors/0/iban",
        "/grantors/1/colour",
        "/merchants/0/id",
        "/merchants/1/reg_no",
        "/places/0/territory",
        "/places/1/merchant",
        "/terminals/1",
        "/contracts/0",
        "/groups/0/where",
        "/groups/1",
        "/instructions/0/effect/percent_off_bp",
        "/instructions/1/valid/from",
        "/instructions/2/stacking",
        "/instructions/3/effect",
        "/instructions/4",
        "/instructions/4/limits/0/per",
        "/subsidies/0/per_service_cents",
    ];
    for path in paths {
        let named = told.iter().filter(|fault| fault.starts_with(&format!("{path}: "))).count();
        assert_eq!(named, 1, "{path} in\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), paths.len(), "{}", told.join("\n"));
    let error = read(text).expect_err("refused").to_string();
    assert!(error.starts_with("registry.yaml has 17 faults; nothing was changed\n"), "{error}");
}

#[test]
fn priorities_that_tie_are_told_once_everything_else_is_right() {
    let twin = SMALL.replace("- id: ride", "- {id: twin, benefit: transport, version: 1, valid: {from: 2025-01-01}, priority: 1, recipients: {everyone: true}, effect: {percent_off_bp: 100}, funding: {grantor_bp: 10000}}\n- id: ride");
    let told = faults(&twin);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("/instructions/1/priority: "), "{told:?}");
}

#[test]
fn a_key_twice_is_refused_in_either_language() {
    for text in [
        "grantors: []\ngrantors: []\n",
        r#"{"grantors": [], "grantors": []}"#,
        r#"{"grantors": [{"id": "riga", "id": "shop", "kind": "state"}]}"#,
    ] {
        assert!(matches!(read(text), Err(ConnectorError::Syntax { .. })), "{text}");
    }
}

#[test]
fn what_is_no_registry_is_refused_in_bounded_time() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let below = level - 1;
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{below}"); 9].join(", ")
        ));
    }
    assert!(matches!(read(&bomb), Err(ConnectorError::Syntax { .. })));
    let deep = format!("grantors: {}", "[".repeat(100_000));
    assert!(matches!(read(&deep), Err(ConnectorError::Syntax { .. })));
    let deep = format!("{{\"grantors\": {}", "[".repeat(100_000));
    assert!(matches!(read(&deep), Err(ConnectorError::Syntax { .. })));
    for text in ["", "[]", "7", "grantors: 5", "grantors: [7]", "grantor: []"] {
        assert!(matches!(read(text), Err(ConnectorError::Registry { .. })), "{text}");
    }
}

#[test]
fn texts_that_look_like_something_else_stay_texts() {
    let text = SMALL.replace("{id: shop}", r#"{id: "no", name: {lv: "yes", en: "0123"}}"#);
    let text = text.replace("merchant: shop", "merchant: \"no\"");
    let document = read(&text).expect("no fault");
    assert_eq!(document.registry.merchants[0].id.as_str(), "no");
    assert_eq!(document.registry.merchants[0].name.en, "0123");
}

#[test]
fn yaml_and_json_of_the_same_registry_are_the_same() {
    let yaml = read(SMALL).expect("no fault");
    let json = read(&yaml.value.to_string()).expect("no fault");
    assert_eq!((yaml.value, yaml.registry), (json.value, json.registry));
}

#[tokio::test]
async fn applying_changes_what_differs_and_nothing_else() {
    let node = Node::new();
    let (log, now) = (&node.context.log, node.context.clock.now());
    let document = read(SMALL).expect("no fault");
    let all = registry::apply(log, &document, now).await.expect("applied");
    assert_eq!(all.len(), 7);
    let again = registry::apply(log, &document, now).await.expect("applied");
    assert_eq!(again, []);

    // The order of keys says nothing; a new place, a changed one and a removed one do.
    let reordered = SMALL.replace("{id: shop-1, merchant: shop,", "{merchant: shop, id: shop-1,");
    let same = read(&reordered).expect("no fault");
    assert_eq!(registry::apply(log, &same, now).await.expect("applied"), []);
    let changed = SMALL
        .replace("- {id: T-1, place: shop-1, kind: till}", "- {id: T-2, place: shop-1, kind: till}")
        .replace("priority: 1", "priority: 2");
    let document = read(&changed).expect("no fault");
    let changes = registry::apply(log, &document, now).await.expect("applied");
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.kind.as_str(), change.id.as_str(), change.document.is_empty()))
        .collect();
    let expected = [
        ("terminals", "T-2", false),
        ("instructions", "ride/1", false),
        ("terminals", "T-1", true),
    ];
    assert_eq!(told, expected);

    let view = registry::view(log).await.expect("a view");
    assert_eq!(view.version(), 10);
    assert_eq!(*view.registry(), document.registry);
    assert_eq!(view.changes_to(&document.value), []);
    let records = node.records(Topic::RegistryChanges).await;
    let ids: std::collections::HashSet<_> = records.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), 10, "no two records share an id");
    assert!(records.iter().all(|record| matches!(record.event, Event::RegistryChanged(_))));
}

#[tokio::test]
async fn an_exported_registry_is_taken_again() {
    let node = Node::new();
    let document = crate::real_registry();
    let now = node.context.clock.now();
    let changes = registry::apply(&node.context.log, &document, now).await.expect("applied");
    let entries = document.value.as_object().expect("lists").values();
    let entries: usize = entries.filter_map(Value::as_array).map(Vec::len).sum();
    assert_eq!(changes.len(), entries);
    let view = registry::view(&node.context.log).await.expect("a view");
    let exported = view.document().to_string();
    let again = registry::read(&exported, "exported", &|_| None, &|_| None).expect("no fault");
    assert_eq!(view.changes_to(&again.value), []);
    assert_eq!(view.changes_to(&json!({})).len(), entries, "an empty file removes everything");
}
