//! A grantor's benefit over the wire, from its description to what it owes, with tokens and the API alone.

use std::time::{Duration, Instant};

use chrono::Utc;
use domain::period::LocalTime;
use serde_json::{Value, json};

use crate::{
    talk::{Talk, token},
    up::Server,
};

fn describe(administrator: &Talk<'_>) {
    for (path, entry) in [
        (
            "grantors/riga",
            json!({"kind": "municipality", "name": "Riga", "iban": "LV57TREL0000002180451"}),
        ),
        ("merchants/shop", json!({"name": "Shop", "iban": "LV65HABA0000055100001"})),
        ("places/shop-1", json!({"merchant": "shop", "territory": "LV0001000"})),
        ("terminals/T-1", json!({"place": "shop-1", "kind": "till"})),
        (
            "contracts/C-1",
            json!({"grantor": "riga", "merchant": "shop", "from": "2025-01-01", "vat_bp": 2100}),
        ),
    ] {
        administrator.put(&format!("/v1/{path}"), &entry);
    }
}

fn milk(cents: i64, priority: i64) -> Value {
    let today = LocalTime::of(Utc::now()).date;
    json!({"entries": {"instructions": [{"id": format!("milk-{cents}"), "benefit": "milk",
        "label": {"lv": "Piens", "en": "Milk"}, "valid": {"from": today.to_string()},
        "priority": priority, "recipients": {"everyone": true},
        "content": {"any": [{"category": "food.milk"}]},
        "effect": {"amount_off_cents": cents, "per": "unit"}, "funding": {"grantor_bp": 10_000}}]}})
}

/// Sells two units of milk until the terminal hears of a benefit: rules reach the till in a moment.
fn sell(till: &Talk<'_>) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    for key in 0.. {
        let basket = json!({"terminal_id": "T-1", "occurred_at": Utc::now().to_rfc3339(),
            "mode": "sale", "lines": [{"line": 1, "item": "milk", "category": "food.milk",
            "quantity": 2, "unit_price_cents": 500}]});
        let header = format!("Idempotency-Key: k{key}\r\n");
        let (status, _, sold) =
            till.server.ask(&till.token, "POST", "/v1/authorisations", &header, &basket);
        assert_eq!(status, 200, "{sold}");
        if sold["decision"] == "approved" {
            return sold;
        }
        assert!(Instant::now() < deadline, "the benefit does not reach the till: {sold}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Value::Null
}

#[test]
fn a_benefit_goes_from_its_description_to_what_is_owed() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    // Of a node that runs the keys are its own.
    let [olga, anna, berta, till, maria] = [
        ("administrator", "", "olga"),
        ("grantor", "riga", "anna"),
        ("grantor", "riga", "berta"),
        ("terminal", "shop", "T-1"),
        ("merchant", "shop", "maria"),
    ]
    .map(|(role, organisation, subject)| token(&folder, role, organisation, subject));
    let server = Server::start(&folder);
    server.wait_until_ready();
    let talk = |token: &str| Talk::new(&server, token);
    let (anna, berta) = (talk(&anna), talk(&berta));
    describe(&talk(&olga));
    anna.put("/v1/benefits/milk", &json!({"grantor": "riga", "name": "School milk"}));
    let (status, _, preview) =
        server.ask(&anna.token, "POST", "/v1/instructions:preview", "", &milk(100, 1));
    assert_eq!((status, &preview["faults"]), (200, &json!([])), "{preview}");
    assert_eq!(preview["order"][0]["instruction"], "milk-100");
    anna.put("/v1/drafts/first", &milk(100, 1));
    anna.put("/v1/drafts/first/state", &json!({"state": "submitted"}));
    berta.put("/v1/drafts/first/state", &json!({"state": "published"}));

    let sold = sell(&talk(&till));
    assert_eq!((&sold["benefit_cents"], &sold["payable_cents"]), (&json!(200), &json!(800)));

    // Another rule in its shadow: it would have given more, and gives nothing.
    anna.put("/v1/drafts/second", &milk(150, 2));
    anna.put("/v1/drafts/second/state", &json!({"state": "shadow"}));
    let told = anna.get("/v1/drafts/second/shadow");
    let cents = |id: &str, when: &str| told["instructions"][id][when]["cents"].clone();
    assert_eq!((cents("milk-100", "then"), cents("milk-100", "now")), (json!(200), json!(200)));
    assert_eq!((cents("milk-150", "then"), cents("milk-150", "now")), (json!(0), json!(300)));

    // What is owed for the month so far, as grantor and merchant see it.
    let month = LocalTime::of(Utc::now()).date.format("%Y-%m");
    let path = format!("/v1/settlements?period={month}");
    let merchant = talk(&maria);
    let deadline = Instant::now() + Duration::from_secs(60);
    let owed = loop {
        // 503 while the newest sales are landing.
        let (_, _, owed) = server.ask(&merchant.token, "GET", &path, "", &Value::Null);
        let statements = owed["statements"].as_array();
        if statements.is_some_and(|statements| !statements.is_empty()) {
            break owed["statements"][0].clone();
        }
        assert!(Instant::now() < deadline, "no statement: {owed}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!((&owed["grantor"], &owed["state"]), (&json!("riga"), &json!("draft")));
    assert_eq!(anna.get(&path)["statements"][0], owed);
    server.stop();
}
