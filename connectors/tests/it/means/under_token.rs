//! A means that is registered under its token, by whoever has it from before.

use connectors::access::Role;
use domain::identification_means::MeansKind;
use serde_json::json;

use super::{CARD, Node, card, etag, issuer};

#[tokio::test(flavor = "multi_thread")]
async fn a_means_is_registered_under_its_token() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let token = node.context.vault.means_token(MeansKind::CardUid, CARD).to_string();
    let path = format!("/v1/means/{token}");
    let state = json!({"status": "blocked"});
    assert_eq!(node.put(&city, &token, "*", &state).await.status, 404, "there is none yet");
    let holder = (Role::Recipient, "", token.clone());
    for who in [&holder, &(Role::Grantor, "city-card", "clerk".into())] {
        let refused = node.ask(who, "PUT", &path, &[], &card(CARD).to_string()).await;
        assert_eq!(refused.status, 403);
    }
    let wrong = node.ask(&city, "PUT", &path, &[], &card("04FF").to_string()).await;
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!("/value")));
    let unseen = node.put(&city, &token, "*", &card(CARD)).await;
    assert_eq!(unseen.status, 412, "nobody has seen it");
    let first = node.ask(&city, "PUT", &path, &[], &card(CARD).to_string()).await;
    assert_eq!((first.status, &first.json()["token"]), (201, &json!(token)));
    assert_eq!(first.headers["location"], path);
    let again = node.ask(&city, "PUT", &path, &[], &card(CARD).to_string()).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let mut other = card(CARD);
    other["valid_to"] = json!("2026-12-31");
    let other = node.ask(&city, "PUT", &path, &[], &other.to_string()).await;
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("already_registered")));
    let keyed = node.register(&city, "r1", &card(CARD)).await;
    assert_eq!((keyed.status, &keyed.json()["code"]), (409, &json!("already_registered")));
    assert_eq!(node.sell("s1", CARD).await["means_status"], "valid");
    let seen = etag(&node.get(&city, &token).await);
    assert_eq!(node.put(&city, &token, &seen, &state).await.json()["status"], "blocked");
    node.running.stop().await.expect("stopped");
}
