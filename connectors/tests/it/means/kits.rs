//! What an offline kit says of means that have just changed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use connectors::access::Role;
use serde_json::{Value, json};

use super::{CARD, Node, card, etag, issuer};

impl Node {
    /// The blocked means of a whole kit.
    async fn blocked(&self) -> usize {
        let till = (Role::Terminal, "shop", "T1".to_owned());
        let path = "/v1/terminals/T1/offline-kit";
        let signed = self.ask(&till, "GET", path, &[], "").await.json();
        let payload = signed["payload"].as_str().expect("a payload");
        let kit = URL_SAFE_NO_PAD.decode(payload).expect("base 64");
        let kit: Value = serde_json::from_slice(&kit).expect("JSON");
        assert_eq!(kit["since"], json!(null));
        kit["blocked"].as_array().expect("a list").len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_kit_has_what_was_blocked_since_all_means_were_looked_at() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let token = node.registered(&city, "r1", &card(CARD)).await;
    assert_eq!(node.sell("s1", CARD).await["decision"], "approved");
    assert_eq!(node.blocked().await, 0);
    let seen = etag(&node.get(&city, &token).await);
    let blocked = node.put(&city, &token, &seen, &json!({"status": "blocked"})).await;
    assert_eq!(node.sell("s2", CARD).await["decision"], "declined");
    assert_eq!(node.blocked().await, 1);
    let free = node.put(&city, &token, &etag(&blocked), &json!({"status": "active"})).await;
    assert_eq!(free.status, 200);
    assert_eq!(node.sell("s3", CARD).await["decision"], "approved");
    assert_eq!(node.blocked().await, 0);
    node.running.stop().await.expect("stopped");
}
