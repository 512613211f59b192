//! Whatever comes, translation answers: it never panics, and tells no value.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use connectors::{
    connector::{Connector, Refusal},
    dagr::PersonChanges,
    issuer::MeansFiles,
    portal::PortalEvents,
    terminal::{Terminals, TransactionFiles},
    vpvkac::CentreEvents,
};
use ingest::record::Record;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Node, real_registry, transactions::basket};

/// No value of a message; found in a refusal, it has leaked.
const MARKED: &str = "MARKED-VALUE";

static NODE: LazyLock<Node> = LazyLock::new(Node::new);
static TERMINALS: LazyLock<Arc<Terminals>> =
    LazyLock::new(|| Arc::new(Terminals::of(&real_registry().registry)));

/// What each connector makes of a message.
fn translated(message: &[u8]) -> Vec<Result<Record, Refusal>> {
    let (vault, clock) = (&NODE.context.vault, &NODE.context.clock);
    let (vault, clock) = (|| vault.clone(), || Arc::clone(clock));
    let terminals = Arc::clone(&TERMINALS);
    let mut connectors: [Box<dyn Connector>; 5] = [
        Box::new(TransactionFiles { terminals, vault: vault(), clock: clock() }),
        Box::new(PersonChanges { vault: vault(), clock: clock(), snapshot: Arc::default() }),
        Box::new(MeansFiles { issuers: HashSet::new(), vault: vault(), clock: clock() }),
        Box::new(CentreEvents { centres: HashSet::new(), vault: vault(), clock: clock() }),
        Box::new(PortalEvents { vault: vault(), clock: clock() }),
    ];
    connectors.iter_mut().flat_map(|connector| connector.translate(&[message])).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(MARKED)),
        ".{0,12}".prop_map(|text| json!(format!("{text}{MARKED}"))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Messages that are right, one for each connector.
fn right() -> Vec<Value> {
    let event = |kind: &str, data: Value| {
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": kind,
               "time": "2025-01-01T00:00:00+02:00", "data": data})
    };
    let attributes = json!({"birth_date": "1980-01-01"});
    vec![
        basket("key"),
        event(
            "lv.dagr.person.changed",
            json!({"person": "326180-33995", "sequence": 1, "attributes": attributes}),
        ),
        json!({"person": null, "issuer": "market-card", "kind": "card_uid", "value": "04A1",
               "valid_from": "2025-01-01", "valid_to": "2025-12-31"}),
        event("lv.vpvkac.call.ended", json!({"call": "c-1", "resolved": true, "official": "o"})),
        event("lv.portal.login", json!({"basket": "public", "means": "eid"})),
    ]
}

/// Every place of a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered.for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn right_messages_are_right() {
    let accepted: Vec<Vec<bool>> = right()
        .iter()
        .map(|value| translated(value.to_string().as_bytes()).iter().map(Result::is_ok).collect())
        .collect();
    // The means' issuer is not known here; everything else is taken by its own connector.
    let expected: Vec<Vec<bool>> =
        (0..5).map(|row| (0..5).map(|column| row == column && row != 2).collect()).collect();
    assert_eq!(accepted, expected);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(translated(&bytes).len(), 5);
    }

    #[test]
    fn any_json_is_answered_without_its_values(value in any_json()) {
        let refused = translated(value.to_string().as_bytes()).into_iter().filter_map(Result::err);
        for refusal in refused {
            prop_assert!(!refusal.detail.contains(MARKED), "{}", refusal.detail);
        }
    }

    #[test]
    fn a_right_message_with_one_wrong_place_is_answered(
        which in 0_usize..5,
        place in any::<prop::sample::Index>(),
        wrong in any_json(),
    ) {
        let mut value = right().swap_remove(which);
        let mut found = Vec::new();
        places(&value, "", &mut found);
        let at = place.get(&found).clone();
        *value.pointer_mut(&at).expect("a place") = wrong;
        let text = value.to_string();
        for answer in translated(text.as_bytes()) {
            match answer {
                Err(refusal) => prop_assert!(!refusal.detail.contains(MARKED), "{}", refusal.detail),
                // What is taken twice is the same both times.
                Ok(record) => {
                    let again = translated(text.as_bytes()).into_iter().flatten();
                    prop_assert!(again.map(|again| again.id).any(|id| id == record.id));
                }
            }
        }
    }

    #[test]
    fn quantities_are_exact(thousandths in 1_i64..1_000_000_000, zeros in 0_usize..3) {
        let text = format!("{}.{:03}{}", thousandths / 1_000, thousandths % 1_000, "0".repeat(zeros));
        let message = basket("key").to_string().replace("0.755", &text);
        let record = translated(message.as_bytes()).swap_remove(0).expect("taken");
        let ingest::wire::v1::Event::TransactionUploaded(upload) = record.event else {
            panic!("an upload")
        };
        prop_assert_eq!(upload.lines[1].quantity_thousandths, thousandths);
    }
}
