//! Many means at once, one a line, as an issuer's file has them.

use connectors::access::Role;
use serde_json::{Value, json};

use super::{CARD, Node, Who, card, issuer};
use crate::client::Answer;

const OTHER: &str = "04FFEE";

fn administrator() -> Who {
    (Role::Administrator, "", "olga".into())
}

/// A line of a file.
fn line(issuer: &str, value: &str, to: Option<&str>) -> Value {
    json!({"issuer": issuer, "kind": "card_uid", "value": value, "valid_from": "2025-01-01",
        "valid_to": to})
}

async fn load(node: &Node, who: &Who, lines: &[Value]) -> Answer {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    let kind = [("content-type", "application/x-ndjson")];
    node.ask(who, "POST", "/v1/means:batch", &kind, &lines.join("\n")).await
}

/// The status of each line, and the code of its problem.
async fn loaded(node: &Node, who: &Who, lines: &[Value]) -> Vec<(u64, String)> {
    let answer = load(node, who, lines).await;
    let text = String::from_utf8(answer.body).expect("text");
    assert_eq!(answer.status, 200, "{text}");
    let told = text.lines().zip(1..).map(|(line, number)| {
        let told: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(told["line"], json!(number), "{text}");
        let status = told["status"].as_u64().expect("a status");
        assert_eq!(told["token"].is_string(), status < 300, "{text}");
        (status, told["problem"]["code"].as_str().unwrap_or_default().to_owned())
    });
    told.collect()
}

fn is(status: u64, code: &str) -> (u64, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_taken_is_there_already_or_is_refused() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let file = [line("city-card", CARD, None), line("city-card", OTHER, Some("2026-12-31"))];
    assert_eq!(loaded(&node, &city, &file).await, [is(201, ""), is(201, "")]);
    assert_eq!(loaded(&node, &city, &file).await, [is(200, ""), is(200, "")]);
    assert_eq!(node.sell("s1", CARD).await["means_status"], "valid");
    // Other days, and back, within one batch: each line is known to the next one.
    let longer = line("city-card", OTHER, Some("2027-12-31"));
    let some = [longer.clone(), file[1].clone(), longer.clone(), longer];
    let told = loaded(&node, &city, &some).await;
    assert_eq!(told, [is(201, ""), is(201, ""), is(201, ""), is(200, "")]);
    let registered = node.register(&city, "r1", &card(CARD)).await;
    assert_eq!(
        (registered.status, &registered.json()["code"]),
        (409, &json!("already_registered"))
    );

    let bad = [
        json!({"issuer": "city-card"}),
        line("bank", "04AA", None),
        line("nobody", "04AA", None),
        json!({"issuer": "city-card", "kind": "document", "value": "LV1",
            "valid_from": "2025-01-01"}),
        line("city-card", "04AB", None),
    ];
    let told = loaded(&node, &city, &bad).await;
    let refused: Vec<_> = told.iter().map(|(status, _)| *status).collect();
    assert_eq!(refused, [422, 422, 422, 422, 201], "{told:?}");
    assert!(!node.text().await.contains(CARD), "a value is kept");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_blocked_stays_so_and_anothers_is_not_taken() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let token = node.registered(&city, "r1", &card(CARD)).await;
    assert_eq!(node.put(&city, &token, "*", &json!({"status": "blocked"})).await.status, 200);
    let file = [line("city-card", CARD, None), line("city-card", CARD, Some("2026-12-31"))];
    assert_eq!(loaded(&node, &city, &file).await, [is(200, ""), is(201, "")]);
    let state = node.get(&city, &token).await.json();
    assert_eq!((&state["status"], &state["valid_to"]), (&json!("blocked"), &json!("2026-12-31")));
    assert_eq!(node.sell("s1", CARD).await["means_status"], "blocked");
    // A withdrawn one is as it is, and says nothing new.
    assert_eq!(
        node.ask(&city, "DELETE", &format!("/v1/means/{token}"), &[("if-match", "*")], "")
            .await
            .status,
        200
    );
    let told = loaded(&node, &city, &file).await;
    assert_eq!(told, [is(409, "wrong_state"), is(200, "")]);

    // An administrator loads everybody's, each in its issuer's name.
    let bank =
        json!({"issuer": "bank", "kind": "bank_card", "value": "B-1", "valid_from": "2025-01-01"});
    let all = [bank, line("city-card", OTHER, None)];
    assert_eq!(loaded(&node, &administrator(), &all).await, [is(201, ""), is(201, "")]);
    let action = |deed: &ingest::audit::Deed| (deed.action, deed.object.clone());
    let told: Vec<_> = node.told.lock().expect("no panic").iter().map(action).collect();
    assert!(told.contains(&("means.load", "city-card".into())), "{told:?}");
    assert!(told.contains(&("means.load", String::new())), "{told:?}");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_bounded_and_of_whoever_may() {
    let node = Node::start().await;
    for role in [Role::Grantor, Role::Official, Role::Centre, Role::Operator, Role::Recipient] {
        let who = (role, "city-card", "somebody".into());
        assert_eq!(load(&node, &who, &[]).await.status, 403, "{role:?}");
    }
    let city = issuer("city-card");
    assert!(loaded(&node, &city, &[]).await.is_empty());
    let kind = [("content-type", "application/json")];
    let list = node.ask(&city, "POST", "/v1/means:batch", &kind, "[]").await;
    assert_eq!((list.status, &list.json()["detail"]), (415, &json!("send application/x-ndjson")));
    let same = line("city-card", CARD, None);
    let many = load(&node, &city, &vec![same; 20_001]).await;
    assert_eq!((many.status, &many.json()["code"]), (413, &json!("body_too_large")));
    node.running.stop().await.expect("stopped");
}
