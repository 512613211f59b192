//! Items of the client's workspace: put by a merchant's application, seen and put away by its client, and
//! nothing told to anybody else.

use chrono::TimeDelta;
use connectors::access::Role;
use ingest::{
    log::replay,
    topic::Topic,
    wire::{self, v1::Event},
};
use serde_json::{Value, json};

use super::{CODES, Country, Node, READS, card, noon};

const SECRET: &str = "Prescription 77";

fn order() -> Value {
    json!({"means": {"kind": "card_uid", "value": card(CODES[0])},
        "title": {"lv": "Pasūtījums", "en": SECRET}, "text": "Come for it",
        "link": "https://shop.example.lv/orders/77", "state": "action_needed", "due": "2025-06-05"})
}

impl Node {
    /// Puts an item, as a merchant's application; `shop` is the merchant of every such token here.
    async fn panel(&self, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/v1/e-services/{path}");
        let body = body.to_string();
        let answer = self.ask_as(Role::Merchant, "app", "PUT", &path, body.as_bytes()).await;
        (answer.status, answer.json())
    }

    async fn panels(&self, who: domain::id::RecipientId) -> Vec<Value> {
        self.get(who, READS[6]).await["panels"].as_array().expect("a list").clone()
    }

    async fn delete(&self, role: Role, who: &str, path: &str) -> u16 {
        self.ask_as(role, who, "DELETE", path, b"").await.status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchants_item_is_seen_by_its_client_until_it_is_put_away_or_has_something_new() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    let (status, taken) = node.panel("orders/panels/77", &order()).await;
    assert_eq!(
        (status, &taken["until"]),
        (200, &json!("2025-07-05")),
        "thirty days after it is due"
    );
    let shown = node.panels(senior).await;
    let panel = taken["panel"].as_str().expect("an id").to_owned();
    let expected = json!({"panel": panel,
        "e_service": {"id": "orders", "name": {"lv": "Pasūtījumi", "en": "Orders"}},
        "merchant": {"id": "shop", "name": {"lv": "Veikals", "en": "Shop"}},
        "title": {"lv": "Pasūtījums", "en": SECRET},
        "text": {"lv": "Come for it", "en": "Come for it"},
        "link": "https://shop.example.lv/orders/77", "state": "action_needed",
        "due": "2025-06-05", "until": "2025-07-05", "put_at": "2025-06-02T09:00:00.000000Z"});
    assert_eq!(shown, [expected]);
    assert_eq!(node.panels(country.student).await, [] as [Value; 0]);
    assert_eq!(node.get(senior, READS[5]).await["panels"], json!(shown), "in the export, too");

    // Put away, it stays away though the application puts it again, until it says something new.
    let path = format!("/v1/me/panels/{panel}");
    assert_eq!(node.delete(Role::Recipient, &country.student.to_string(), &path).await, 404);
    assert_eq!(node.delete(Role::Recipient, &senior.to_string(), &path).await, 204);
    assert_eq!(node.delete(Role::Recipient, &senior.to_string(), &path).await, 204);
    assert_eq!(node.panel("orders/panels/77", &order()).await.0, 200);
    assert_eq!(node.panels(senior).await.len(), 0);
    let mut done = order();
    done["state"] = json!("done");
    assert_eq!(node.panel("orders/panels/77", &done).await.1["panel"], panel);
    assert_eq!(node.panels(senior).await[0]["state"], "done");

    // By a personal code, and to somebody else: it leaves the one and comes to the other.
    done.as_object_mut().expect("an object").remove("means");
    done["person"] = json!(CODES[1]);
    assert_eq!(node.panel("orders/panels/77", &done).await.0, 200);
    assert_eq!(node.panels(senior).await.len(), 0);
    assert_eq!(node.panels(country.student).await.len(), 1);
    let path = "/v1/e-services/orders/panels/77";
    assert_eq!(node.delete(Role::Merchant, "app", path).await, 204);
    assert_eq!(node.delete(Role::Merchant, "app", path).await, 204);
    assert_eq!(node.panels(country.student).await.len(), 0);
    let told = node.told.lock().expect("no panic").clone();
    let actions: Vec<_> = told.iter().map(|deed| deed.action).collect();
    let own = ["panel.put", "me.export", "panel.dismiss", "panel.dismiss"];
    let expected = [&own[..], &["panel.put", "panel.put", "panel.withdraw"]].concat();
    assert_eq!(actions, expected);
    assert_eq!((told[0].role.as_str(), told[0].actor.as_str()), ("merchant", "app"));

    // An item ends by itself; a node that starts anew shows the same.
    let mut short = order();
    short["until"] = json!("2025-06-03");
    assert_eq!(node.panel("orders/panels/78", &short).await.0, 200);
    node.stop().await;
    let node = country.start().await;
    assert_eq!(node.panels(senior).await.len(), 1);
    country.clock.advance_to(noon() + TimeDelta::days(2));
    assert_eq!(node.panels(senior).await.len(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_learns_nothing_of_whom_it_names_and_no_stream_says_it() {
    let country = Country::new().await;
    let node = country.start().await;
    let counted = async || {
        let mut count = 0;
        let each = |_| {
            count += 1;
            Ok::<(), ingest::error::LogError>(())
        };
        replay(&country.context.log, Topic::PortalEvents, each).await.expect("readable");
        count
    };
    let (known, _) = node.panel("orders/panels/1", &order()).await;
    assert_eq!((known, counted().await), (200, 1));
    for (at, nobody) in [
        json!({"person": "322360-67990", "title": SECRET}),
        json!({"means": {"kind": "card_uid", "value": "04DEAD"}, "title": SECRET}),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("orders/panels/nobody-{at}");
        let (status, answer) = node.panel(&path, &nobody).await;
        let keys: Vec<_> = answer.as_object().expect("an object").keys().cloned().collect();
        assert_eq!((status, keys), (200, vec!["panel".into(), "until".into()]));
        // It is appended, and put again it is not, as of somebody who is known.
        let after = counted().await;
        assert_eq!(after, 2 + at);
        assert_eq!(node.panel(&path, &nobody).await, (200, answer));
        assert_eq!(counted().await, after);
    }
    // Whoever was forgotten is nobody.
    country.context.vault.destroy(&[country.listed]).expect("destroyed");
    let mut forgotten = order();
    forgotten["means"]["value"] = json!(card(CODES[2]));
    assert_eq!(node.panel("orders/panels/2", &forgotten).await.0, 200);

    let mut text = String::new();
    replay(&country.context.log, Topic::PortalEvents, |stored| {
        let Event::PanelChanged(change) = &stored.record.event else { panic!("no item") };
        assert!(change.person.is_empty() || change.person == country.senior.to_string());
        text.push_str(&String::from_utf8_lossy(&wire::encode(&stored.record)));
        Ok::<(), ingest::error::LogError>(())
    })
    .await
    .expect("readable");
    for hidden in [SECRET, "shop.example.lv", CODES[0], "322360-67990", &card(CODES[0]), "04DEAD"] {
        assert!(!text.contains(hidden), "{hidden} stands on the stream");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_merchant_may_not_put_is_refused_with_every_fault() {
    let country = Country::new().await;
    let node = country.start().await;
    for foreign in ["papers", "nothing"] {
        let (status, told) = node.panel(&format!("{foreign}/panels/1"), &order()).await;
        assert_eq!(status, 404, "{told}");
        let path = format!("/v1/e-services/{foreign}/panels/1");
        assert_eq!(node.delete(Role::Merchant, "app", &path).await, 404);
    }
    let path = "/v1/e-services/orders/panels/1";
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Merchant) {
        assert_eq!(node.delete(role, "app", path).await, 403, "{}", role.code());
    }
    let wrong = json!({"person": CODES[0], "means": {"kind": "card_uid", "value": ""},
        "title": {"lv": "x"}, "text": "", "link": "javascript:alert(1)", "state": "urgent",
        "due": "soon", "until": "2030-01-01", "more": 1});
    let (status, told) = node.panel("orders/panels/1", &wrong).await;
    let faults = told["errors"].as_array().expect("faults").iter();
    let mut places: Vec<_> = faults.map(|of| of["pointer"].as_str().expect("a place")).collect();
    places.sort_unstable();
    let expected =
        ["/due", "/link", "/means", "/means/value", "/more", "/state", "/text", "/title", "/until"];
    assert_eq!((status, places.as_slice()), (422, &expected[..]), "{told:#}");
    let (status, told) = node.panel("orders/panels/1", &json!({"title": "x"})).await;
    assert_eq!((status, &told["code"]), (422, &json!("missing_field")));
    let mut large = order();
    large["text"] = json!("x".repeat(9_000));
    assert_eq!(node.panel("orders/panels/1", &large).await.0, 413);

    // Of one e-service the newest twenty are shown, and no more are kept.
    for number in 0..25 {
        let mut item = order();
        item["title"] = json!(format!("number {number}"));
        assert_eq!(node.panel(&format!("orders/panels/{number}"), &item).await.0, 200);
    }
    let shown = node.panels(country.senior).await;
    let titles: Vec<_> = shown.iter().map(|of| of["title"]["en"].as_str().expect("one")).collect();
    let expected: Vec<_> = (5..25).rev().map(|number| format!("number {number}")).collect();
    assert_eq!(titles, expected);
    node.stop().await;
}
