//! An issuer over the wire: its means registered by value, listed, due for renewal, blocked, unblocked,
//! replaced, and what a terminal is told at its next request after each.

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

use crate::talk::{Node, today};

const CARD: &str = "04A2B3C4D5E6F7";
const NEXT: &str = "04A2B3C4D5E6F8";

fn registry() -> Value {
    json!({
        "grantors": [{"id": "riga", "name": "Riga", "kind": "municipality"}],
        "merchants": [{"id": "shop", "name": "Shop"}],
        "places": [{"id": "shop-1", "merchant": "shop", "territory": "LV0001000"}],
        "terminals": [{"id": "T-1", "place": "shop-1", "kind": "till"}],
        "issuers": [{"id": "riga", "name": "Riga's card", "means": ["card_uid"]},
            {"id": "bank", "name": "Bank", "means": ["card_uid", "bank_card"]}],
    })
}

fn card(value: &str) -> Value {
    json!({"kind": "card_uid", "value": value, "valid_from": "2025-01-01", "valid_to": null})
}

fn tokens(listed: &Value) -> Vec<&str> {
    let means = listed["means"].as_array().expect("a list").iter();
    means.map(|of| of["token"].as_str().expect("a token")).collect()
}

#[test]
fn an_issuers_means_are_known_to_the_terminal_as_the_issuer_changes_them() {
    let node = Node::start(&[]);
    node.talk("administrator", "", "olga").put("/v1/registry", &registry());
    let (issuer, till) =
        (node.talk("issuer", "riga", "clerk"), node.talk("terminal", "shop", "T-1"));
    let mut sales = 0;
    let mut status = |value: &str| {
        sales += 1;
        let line = json!({"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": 100});
        till.sell("T-1", &format!("k{sales}"), Some(value), &line)["means_status"].clone()
    };
    assert_eq!(status(CARD), "unknown");
    let first = issuer.post("/v1/means", "r1", &card(CARD))["token"].clone();
    let first = first.as_str().expect("a token").to_owned();
    assert_eq!(status(CARD), "valid");
    let (code, told) = issuer.try_post("/v1/means", "r2", &card(CARD));
    assert_eq!((code, &told["code"]), (409, &json!("already_registered")), "{told}");

    // Blocked, and back; each is seen by the next request.
    let path = format!("/v1/means/{first}");
    issuer.put(&path, &json!({"status": "blocked"}));
    assert_eq!(status(CARD), "blocked");
    assert_eq!(tokens(&issuer.get("/v1/means?blocked=true")), [&first]);
    issuer.put(&path, &json!({"status": "active"}));
    assert_eq!(status(CARD), "valid");
    // The grantor that issues it blocks it by the same right, and another issuer does not see it.
    let grantor = node.talk("grantor", "riga", "anna");
    grantor.put(&path, &json!({"status": "blocked"}));
    assert_eq!(status(CARD), "blocked");
    grantor.put(&path, &json!({"status": "active"}));
    let bank = node.talk("issuer", "bank", "teller");
    assert_eq!((bank.try_get(&path).0, tokens(&bank.get("/v1/means")).len()), (404, 0));

    // Its last day comes near: it is listed for renewal, and renewed.
    let now: NaiveDate = today().parse().expect("a day");
    let (soon, month) = (now + Days::new(3), now + Days::new(30));
    issuer.put(&path, &json!({"valid_to": soon.to_string()}));
    let due = format!("/v1/means?expiring_before={month}");
    assert_eq!(tokens(&issuer.get(&due)), [&first]);
    issuer.put(&path, &json!({"valid_to": null}));
    assert_eq!(tokens(&issuer.get(&due)).len(), 0);
    issuer.put(&path, &json!({"valid_to": (now - Days::new(1)).to_string()}));
    assert_eq!(status(CARD), "expired");
    issuer.put(&path, &json!({"valid_to": null}));

    // Replaced: the old one is worth nothing from the next request on, the new one everything.
    let mut next = card(NEXT);
    next["replaces"] = json!(first);
    let second = issuer.post("/v1/means", "r3", &next)["token"].clone();
    assert_eq!((status(CARD), status(NEXT)), (json!("blocked"), json!("valid")));
    let old = issuer.get(&path);
    assert_eq!((&old["status"], &old["replaced_by"]), (&json!("replaced"), &second));
    let (code, told) = issuer.try_put(&path, &json!({"status": "active"}));
    assert_eq!((code, &told["code"]), (409, &json!("wrong_state")), "{told}");
    let second = format!("/v1/means/{}", second.as_str().expect("a token"));
    assert_eq!(issuer.delete(&second), 200);
    assert_eq!(status(NEXT), "blocked");
    assert_eq!(tokens(&issuer.get("/v1/means")).len(), 2);
    assert_eq!(tokens(&issuer.get("/v1/means?blocked=false")).len(), 0);
    // A hundred to a page, each once.
    for number in 0..150 {
        issuer.post("/v1/means", &format!("many-{number}"), &card(&format!("04{number:08}")));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = issuer.get(&format!("/v1/means?blocked=false{cursor}"));
        seen.extend(tokens(&page).into_iter().map(str::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 150);
    node.server.stop();
}
