//! What is another's, and what was.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_adds_a_version_to_anothers_instruction_or_reads_its_past() {
    let node = Node::new(false).await;
    node.fill().await;
    let mut planted = instruction("liepaja", 50);
    planted["version"] = json!(99);
    planted["valid"] = json!({"from": "2000-01-01", "to": "2000-01-02"});
    planted["id"] = json!("riga-milk");
    let put = node.put(LIEPAJA, "/v1/instructions/riga-milk", "*", &planted).await;
    assert_eq!(put.status, 404);
    let asked = json!({"entries": {"instructions": [planted]}});
    let told = node.ask(LIEPAJA, "POST", "/v1/instructions:preview", "", &asked).await;
    assert_eq!(told.status, 404);
    let order = json!({"order": ["riga-milk"]});
    let told = node.ask(LIEPAJA, "POST", "/v1/instructions:preview", "", &order).await;
    let never = json!({"order": ["never-was"]});
    let none = node.ask(LIEPAJA, "POST", "/v1/instructions:preview", "", &never).await;
    assert_eq!((told.status, none.status), (422, 422));
    // An id that was another's before tells nothing of that time.
    let path = "/v1/contracts/kiosk-contract";
    let removed = node.ask(LIEPAJA, "DELETE", path, &node.tag(path).await, &Value::Null).await;
    assert_eq!(removed.status, 204);
    let taken = json!({"grantor": "riga", "merchant": "shop", "from": "2025-02-01"});
    assert_eq!(node.put(RIGA, path, "", &taken).await.status, 201);
    let history = node.get(RIGA, &format!("{path}/history")).await.json();
    let items = history["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "{history}");
    // What a change would break of another's is not named.
    let tag = node.tag("/v1/places/shop-place").await;
    let mut scoped = instruction("liepaja", 60);
    scoped["scope"] = json!({"places": ["shop-place"]});
    assert_eq!(node.put(LIEPAJA, "/v1/instructions/secret", "", &scoped).await.status, 201);
    let shop = Who(Role::Merchant, "shop", "maria");
    let refused = node.ask(shop, "DELETE", "/v1/places/shop-place", &tag, &Value::Null).await;
    assert_eq!(code(&refused), (409, "referred_to".into()));
    assert!(!String::from_utf8_lossy(&refused.body).contains("secret"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_removed_is_a_change_of_the_instruction() {
    let node = Node::new(false).await;
    node.fill().await;
    let path = "/v1/instructions/riga-milk";
    let mut next = instruction("riga", 1);
    next["valid"]["from"] = json!("2026-01-01");
    assert_eq!(node.put(RIGA, path, &node.tag(path).await, &next).await.status, 201);
    let seen = node.tag(path).await;
    let draft = json!({"remove": [{"kind": "instructions", "id": "riga-milk/2"}]});
    assert_eq!(node.put(RIGA, "/v1/drafts/d", "", &draft).await.status, 201);
    let tag = async || node.get(RIGA, "/v1/drafts/d").await.headers["etag"].clone();
    for (who, state) in [(RIGA, "submitted"), (RIGA_TOO, "published")] {
        let moved = json!({"state": state});
        let put = node.put(who, "/v1/drafts/d/state", &tag().await, &moved).await;
        assert_eq!(put.status, 200, "{state}");
    }
    let stale = node.put(RIGA, path, &seen, &next).await;
    assert_eq!(code(&stale), (412, "precondition_failed".into()));
}
