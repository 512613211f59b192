//! What does not hold yet.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_holds_once_a_second_person_approves_it() {
    let node = Node::new(true).await;
    for (path, entry) in entries() {
        let wants = ["/v1/instructions", "/v1/groups"].iter().any(|of| path.starts_with(of));
        let put = node.put(ADMINISTRATOR, &path, "", &entry).await;
        let expected =
            if wants { (403, "needs_approval".to_owned()) } else { (201, String::new()) };
        assert_eq!(code(&put), expected, "{path}");
    }
    let draft = json!({"note": "milk for staff", "entries": {
        "groups": [{"id": "riga-staff", "members": ["326180-33995"]}],
        "instructions": [{"id": "riga-milk", "benefit": "riga-milk", "label": "Milk",
            "valid": {"from": "2025-07-01"}, "priority": 1, "recipients": {"any": ["riga-staff"]},
            "effect": {"amount_off_cents": 10, "per": "unit"}, "funding": {"grantor_bp": 10_000}}]}});
    let path = "/v1/drafts/milk";
    let put = node.put(RIGA, path, "", &draft).await;
    assert_eq!((put.status, &put.json()["state"]), (201, &json!("draft")));
    assert_eq!(node.get(LIEPAJA, path).await.status, 404);
    assert_eq!(node.get(Who(Role::Analyst, "", "x"), path).await.status, 403);
    let to = |state: &str| json!({"state": state});
    let move_to = async |who: Who, state: &str| {
        let tag = node.get(RIGA, path).await.headers["etag"].clone();
        node.put(who, &format!("{path}/state"), &tag, &to(state)).await
    };
    assert_eq!(code(&move_to(RIGA_TOO, "published").await), (409, "state".into()));
    assert_eq!(move_to(RIGA, "shadow").await.json()["shadow_since"], "2025-06-02");
    assert_eq!(move_to(RIGA, "submitted").await.status, 200);
    assert_eq!(move_to(RIGA, "published").await.status, 403, "not by who wrote it");
    assert_eq!(move_to(LIEPAJA, "published").await.status, 404);
    assert_eq!(
        node.get(RIGA, "/v1/instructions/riga-milk").await.status,
        404,
        "it does not hold yet"
    );
    let end = node.log.end(Topic::RegistryChanges, 0).expect("an end");
    let published = move_to(RIGA_TOO, "published").await;
    assert_eq!((published.status, &published.json()["decided_by"]), (200, &json!("berta")));
    assert_eq!(node.log.end(Topic::RegistryChanges, 0).expect("an end"), end + 3);
    assert_eq!(node.get(RIGA, "/v1/instructions/riga-milk").await.json()["version"], 1);
    assert_eq!(node.get(RIGA, "/v1/groups/riga-staff").await.json()["grantor"], "riga");
    let tag = node.get(RIGA, path).await.headers["etag"].clone();
    assert_eq!(node.put(RIGA, path, &tag, &draft).await.status, 409, "it is not written any more");
    // What no longer fits when it is approved is told, and does not hold.
    let twin = json!({"entries": {"instructions": [{"id": "twin", "benefit": "riga-milk",
        "valid": {"from": "2025-07-01"}, "priority": 1, "recipients": {"everyone": true},
        "effect": {"percent_off_bp": 1}, "funding": {"grantor_bp": 0}}]}});
    let put = node.put(RIGA, "/v1/drafts/twin", "", &twin).await;
    let pointer = &put.json()["errors"][0]["pointer"];
    assert_eq!((put.status, pointer), (422, &json!("/entries/instructions/0/priority")));
    // Faults of the form and of what is in it come at once.
    let mut worse = twin.clone();
    worse["colour"] = json!(1);
    worse["entries"]["groups"] = json!([7]);
    for put in [
        node.put(RIGA, "/v1/drafts/twin", "", &worse).await,
        node.ask(RIGA, "POST", "/v1/instructions:preview", "", &worse).await,
    ] {
        let errors = put.json()["errors"].as_array().cloned().unwrap_or_default();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].clone()).collect();
        let all = ["/entries/groups/0", "/colour", "/entries/instructions/0/priority"];
        assert_eq!((put.status, pointers), (422, all.map(Value::from).to_vec()));
    }
    // A merchant's e-service is for an administrator to approve.
    let shop = Who(Role::Merchant, "shop", "m");
    let e_service =
        json!({"merchant": "shop", "url": "https://shop.lv/2", "login_basket": "merchant"});
    assert_eq!(
        code(&node.put(shop, "/v1/e-services/s2", "", &e_service).await).1,
        "needs_approval"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_before_it_is_saved() {
    let node = Node::new(false).await;
    node.fill().await;
    let mut second = instruction("riga", 5);
    second["recipients"] = json!({"everyone": true});
    assert_eq!(node.put(RIGA, "/v1/instructions/riga-all", "", &second).await.status, 201);
    let end = node.log.end(Topic::RegistryChanges, 0).expect("an end");
    let asked = json!({"order": ["riga-all", "riga-milk"], "from": "2025-08-01"});
    let told = node.ask(RIGA, "POST", "/v1/instructions:preview", "", &asked).await;
    assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.body));
    let told = told.json();
    assert_eq!(told["faults"], json!([]));
    let order = told["order"].as_array().expect("an order");
    let told_of = |at: usize| (order[at]["instruction"].clone(), order[at]["priority"].clone());
    assert_eq!(told_of(0), (json!("riga-all"), json!(1)));
    assert_eq!(
        told_of(1),
        (Value::Null, json!(2)),
        "another grantor's is told by its priority alone"
    );
    assert_eq!(told_of(2), (json!("riga-milk"), json!(5)));
    assert_eq!(order[0]["version"], 2);
    // What it says can be put as it is.
    let put = node.put(RIGA, "/v1/drafts/order", "", &json!({"entries": told["entries"]})).await;
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    assert_eq!(
        node.log.end(Topic::RegistryChanges, 0).expect("an end"),
        end + 1,
        "the draft alone"
    );
    let twin = json!({"entries": {"instructions": [{"id": "twin", "benefit": "riga-milk",
        "valid": {"from": "2025-07-01"}, "priority": 5, "recipients": {"everyone": true},
        "effect": {"percent_off_bp": 1}, "funding": {"grantor_bp": 0}}]}});
    let told = node.ask(RIGA, "POST", "/v1/instructions:preview", "", &twin).await.json();
    assert_eq!(told["faults"][0]["pointer"], "/entries/instructions/0/priority");
    let other = node.ask(LIEPAJA, "POST", "/v1/instructions:preview", "", &twin).await;
    assert_eq!(other.status, 403);
}
