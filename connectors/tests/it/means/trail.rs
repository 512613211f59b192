//! What the audit trail has of means, and that it has no value of one.

use connectors::access::Role;
use serde_json::{Value, json};

use super::{CARD, Node, Who, card, etag, issuer};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_means_stands_in_the_audit_trail_without_its_value() {
    let node = Node::start().await;
    let (city, grantor) = (issuer("city-card"), (Role::Grantor, "city-card", "anna".to_owned()));
    let token = node.registered(&city, "r1", &card(CARD)).await;
    // Told twice it is done once.
    node.registered(&city, "r1", &card(CARD)).await;
    let change = async |who: &Who, body: Value| {
        let tag = etag(&node.get(who, &token).await);
        assert_eq!(node.put(who, &token, &tag, &body).await.status, 200);
    };
    change(&grantor, json!({"status": "blocked"})).await;
    change(&grantor, json!({"status": "blocked"})).await;
    change(&city, json!({"status": "active"})).await;
    change(&city, json!({"valid_to": "2026-01-01"})).await;
    let refused = node.put(&city, &token, "\"999\"", &json!({"status": "blocked"})).await;
    assert_eq!(refused.status, 412);
    let mut next = card("04FFFF");
    next["replaces"] = json!(token);
    let second = node.registered(&city, "r2", &next).await;
    let path = format!("/v1/means/{second}");
    assert_eq!(node.ask(&city, "DELETE", &path, &[("if-match", "*")], "").await.status, 200);
    let told = node.told.lock().expect("no panic").clone();
    let deeds = told.iter().map(|deed| (deed.role.as_str(), deed.action, deed.object.as_str()));
    let (reads, deeds): (Vec<_>, Vec<_>) = deeds.partition(|deed| deed.1 == "means.read");
    assert_eq!(reads.len(), 4, "whoever looked before a change");
    let expected = [
        ("issuer", "means.register", token.as_str()),
        ("grantor", "means.block", &token),
        ("issuer", "means.unblock", &token),
        ("issuer", "means.renew", &token),
        ("issuer", "means.register", &second),
        ("issuer", "means.replace", &token),
        ("issuer", "means.withdraw", &second),
    ];
    assert_eq!(deeds, expected);
    assert!(told.iter().all(|deed| !deed.object.contains(CARD)));
    node.running.stop().await.expect("stopped");
}
