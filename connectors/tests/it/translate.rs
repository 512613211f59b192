//! Translation is total: whatever comes is a record or a refusal, and a refusal shows no value.

use chrono::{DateTime, Utc};
use connectors::terminal::{Terminals, translate::transaction};
use domain::registry::Registry;
use ingest::vault::Vault;
use proptest::prelude::*;

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "SECRET[a-z]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let keys = prop::sample::select(vec![
            "terminal_id",
            "occurred_at",
            "idempotency_key",
            "means",
            "kind",
            "value",
            "mode",
            "lines",
            "line",
            "item",
            "quantity",
            "unit_price_cents",
            "attributes",
            "receipt",
            "number",
            "spend_points",
            "applied",
            "instruction",
            "amount_cents",
            "other",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::vec((keys, inner), 0..8).prop_map(|entries| {
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_message_does_harm_and_no_refusal_shows_a_value(message in any_json()) {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let terminals = Terminals::of(&Registry::default());
        let text = message.to_string();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let refusal = transaction(text.as_bytes(), &terminals, &vault, now);
        let refusal = refusal.expect_err("the registry has no terminal");
        prop_assert!(!refusal.detail.contains("SECRET"), "{}", refusal.detail);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let terminals = Terminals::of(&Registry::default());
        prop_assert!(transaction(&bytes, &terminals, &vault, DateTime::<Utc>::UNIX_EPOCH).is_err());
    }
}
