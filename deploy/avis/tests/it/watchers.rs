//! Who runs the platform and who watches it, over the wire: gaps, metrics, what was refused, rights and the
//! registry; and no personal data whoever of them asks.

use serde_json::{Value, json};

use crate::{
    talk::{Node, Talk, own_token, sql, until},
    up::Server,
};

const SENIOR: &str = "326180-33995";
const BORN: &str = "1950-03-01";

fn person(sequence: u64, code: &str) -> Value {
    json!({"specversion": "1.0", "id": format!("dagr-{sequence}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00Z",
        "data": {"person": code, "sequence": sequence, "attributes": {"birth_date": BORN,
            "territory": "LV0001000", "status": "alive"}}})
}

#[test]
fn administrators_and_operators_see_how_it_runs_and_no_people() {
    let node = Node::start(&[]);
    let (olga, otto) = (node.talk("administrator", "", "olga"), node.talk("operator", "", "otto"));
    let registry = json!({"merchants": [{"id": "shop", "name": "Shop"}],
        "issuers": [{"id": "city", "name": "City", "means": ["card_uid"]}]});
    olga.put("/v1/registry", &registry);
    assert_eq!(otto.get("/v1/merchants/shop")["id"], "shop");
    let (status, told) = otto.try_put("/v1/merchants/kiosk", &json!({"name": "Kiosk"}));
    assert_eq!(status, 403, "an operator watches: {told}");
    assert_eq!(otto.try_get("/v1/registry").0, 403);
    let history = olga.get("/v1/merchants/shop/history");
    assert_eq!(history["items"][0]["by"], "administrator:olga", "{history}");

    // A change is missing, and one message is wrong.
    let register = node.talk("source", "dagr", "register");
    let told = register.events(&[person(1, SENIOR), person(3, SENIOR), person(1, "wrong")]);
    assert_eq!((&told["taken"], told["refused"].as_array().map(Vec::len)), (&json!(2), Some(1)));
    let gaps = otto.get("/v1/events/gaps");
    let gap = &gaps["gaps"][0];
    assert_eq!((&gap["missing_from"], &gap["missing_to"]), (&json!(2), &json!(2)), "{gaps}");
    assert_eq!(olga.try_get("/v1/events/gaps").0, 403, "whose they are is personal data");
    refused(&node.server, &olga, &otto, &node.talk("source", "vpvkac", "centres"));
    register.events(&[person(2, SENIOR)]);
    assert_eq!(otto.get("/v1/events/gaps")["gaps"], json!([]));

    let (_, metrics) = node.server.ask_text("", "GET", "/metrics", "", "");
    for line in [
        r#"avis_ingest_dead_letters_total{reason="invalid_value",source="dagr"} 1"#,
        "avis_books_difference_cents 0",
        r#"avis_ingest_appended_total{stream="person-changes"} 3"#,
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    nobodys(&node.server, &[&olga, &otto], &own_token(&node.folder, SENIOR), &metrics);
    node.server.stop();
}

/// What was refused is listed, translated again once what was missing is there, or dropped; while the node
/// runs, and without what came being told.
fn refused(server: &Server, olga: &Talk<'_>, otto: &Talk<'_>, centres: &Talk<'_>) {
    let service = json!({"specversion": "1.0", "id": "s-1", "source": "/vpvkac/new",
        "type": "lv.vpvkac.service.completed", "time": "2025-01-02T10:00:00Z",
        "data": {"service": "PAK_01", "centre": "new"}});
    assert_eq!(centres.events(&[service])["taken"], 0);
    let listed = otto.get("/v1/dead-letters");
    let letters = listed["letters"].as_array().expect("a list");
    let told: Vec<_> =
        letters.iter().map(|of| (of["connector"].clone(), of["reason"].clone())).collect();
    let expected = [("dagr", "invalid_value"), ("vpvkac", "unknown_reference")];
    assert_eq!(told, expected.map(|(connector, reason)| (json!(connector), json!(reason))));
    assert!(!listed.to_string().contains("wrong"), "what came is told: {listed}");
    let again = json!({"connector": "vpvkac"});
    let replayed = otto.post("/v1/dead-letters:replay", "d1", &again);
    assert_eq!(
        (&replayed["done"], replayed["left"].as_array().map(Vec::len)),
        (&json!(0), Some(1))
    );
    olga.put(
        "/v1/centres/new",
        &json!({"name": "New", "kind": "library", "territory": "LV0042000"}),
    );
    let replayed = otto.post("/v1/dead-letters:replay", "d2", &again);
    assert_eq!((&replayed["done"], &replayed["left"]), (&json!(1), &json!([])), "{replayed}");
    let ids = json!({"ids": [letters[0]["id"]], "note": "a test"});
    assert_eq!(otto.post("/v1/dead-letters:drop", "d3", &ids)["done"], 1);
    assert_eq!(otto.try_post("/v1/dead-letters:drop", "d4", &ids).0, 404, "dealt with");
    assert_eq!(otto.get("/v1/dead-letters")["letters"], json!([]));
    let services = "SELECT centre_id, service_id FROM services";
    let rows = until("the service", || {
        let rows = sql(server, "olga", &olga.token, services).expect("rows");
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(rows, ["new,PAK_01"]);
}

/// What is somebody's own is not told to who runs the platform, and nothing that they see names anybody.
fn nobodys(server: &Server, watchers: &[&Talk<'_>], own: &str, metrics: &str) {
    let personal = [
        "/v1/me/benefits",
        "/v1/me/transactions",
        "/v1/me/means",
        "/v1/me/consents",
        "/v1/me/notifications",
        "/v1/me/panels",
        "/v1/me/export",
        "/v1/means",
    ];
    for talk in watchers {
        for path in personal {
            assert_eq!(talk.try_get(path).0, 403, "{path}");
        }
        let means = json!({"kind": "card_uid", "value": "04A2", "valid_from": "2025-01-01"});
        assert_eq!(talk.try_post("/v1/means", "k", &means).0, 403);
    }
    let me = Talk::new(server, own);
    assert_eq!(me.get("/v1/me/means")["means"], json!([]));
    let whole = me.get("/v1/me/export");
    let id = whole["recipient"].as_str().expect("an id");
    let everything = "SELECT * FROM persons_current";
    let rows = until("the person's row", || {
        let rows = sql(server, "olga", &watchers[0].token, everything).expect("rows");
        (!rows.is_empty()).then_some(rows)
    });
    let seen = format!("{}\n{metrics}", rows.join("\n"));
    for hidden in [SENIOR, BORN, id] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
    let operator = sql(server, "otto", &watchers[1].token, everything);
    assert!(operator.is_err(), "an operator asks no SQL: {operator:?}");
}
