//! A merchant over the wire: its places, tills and goods, a till that signs under a key of its own,
//! what it grants itself beside what a city grants, sales, a file of them, refunds, its service on
//! the portal, and what it is owed; and of all that what another merchant sees: nothing.

use std::{path::Path, time::Duration};

use chrono::Utc;
use connectors::client::{self, Client, ClientError, Credential, Key, Settings};
use domain::period::LocalTime;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{
    avis, succeeded,
    talk::{Talk, own_token, sql, today, token, until},
    up::Server,
};

const CLIENT: &str = "326180-33995";

/// What was there before: a city that takes half a euro off milk and bears three fifths of it, and
/// two merchants who are grantors of their own programmes.
fn registry() -> Value {
    json!({
        "grantors": [
            {"id": "riga", "name": "Riga", "kind": "municipality", "iban": "LV57TREL0000002180451"},
            {"id": "shop", "name": "Shop", "kind": "merchant", "iban": "LV65HABA0000055100001"}],
        "merchants": [{"id": "shop", "name": "Shop", "iban": "LV65HABA0000055100001"},
            {"id": "kiosk", "name": "Kiosk", "iban": "LV38HABA0000055100002"}],
        "places": [{"id": "kiosk-1", "merchant": "kiosk", "territory": "LV0001000"}],
        "terminals": [{"id": "K-1", "place": "kiosk-1", "kind": "till"}],
        "contracts": [
            {"id": "C-1", "grantor": "riga", "merchant": "shop", "from": "2025-01-01"},
            {"id": "C-2", "grantor": "riga", "merchant": "kiosk", "from": "2025-01-01"}],
        "benefits": [{"id": "milk", "grantor": "riga", "name": "Milk"}],
        "instructions": [{"id": "milk", "benefit": "milk", "version": 1, "label": "Milk",
            "valid": {"from": "2025-01-01"}, "priority": 1, "recipients": {"everyone": true},
            "content": {"any": [{"category": "food.milk"}]},
            "effect": {"amount_off_cents": 50, "per": "unit"}, "funding": {"grantor_bp": 6_000}}],
    })
}

/// The shop's own programme: a euro off every coffee, which nobody pays it for.
fn coffee_club() -> Value {
    json!({"entries": {"instructions": [{"id": "coffee", "benefit": "club", "label": "Coffee club",
        "valid": {"from": today()}, "priority": 1, "recipients": {"everyone": true},
        "scope": {"merchants": ["shop"]}, "content": {"any": [{"category": "food.coffee"}]},
        "effect": {"amount_off_cents": 100, "per": "unit"}, "funding": {"grantor_bp": 10_000}}]}})
}

fn line(number: u32, item: &str, quantity: u32) -> Value {
    json!({"line": number, "item": item, "quantity": quantity, "unit_price_cents": 300})
}

/// A till of the shop that asks under its own key.
struct Till {
    client: Client,
    runtime: Runtime,
}

impl Till {
    /// Brings its key with the code that its merchant was given, and begins.
    fn enrol(server: &Server, code: &str, journal: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let key = Key::generate("first").expect("a key");
        let (server, timeout) = (format!("http://{}", server.address()), Duration::from_secs(10));
        let enrol = |key: &Key| runtime.block_on(client::enrol(&server, "T-1", key, code, timeout));
        enrol(&key).expect("enrolled");
        let other = enrol(&Key::generate("other").expect("a key"));
        assert!(matches!(other, Err(ClientError::Refused { status: 401, .. })), "a code is once");
        let settings = Settings {
            server,
            terminal: "T-1".into(),
            credential: Credential::Key(key),
            timeout,
            patience: timeout,
        };
        Self { client: Client::open(settings, journal).expect("a journal"), runtime }
    }

    fn sell(&self, lines: &[Value]) -> Result<Value, ClientError> {
        let basket =
            json!({"mode": "sale", "occurred_at": Utc::now().to_rfc3339(), "lines": lines});
        self.runtime.block_on(self.client.authorise(basket))
    }

    fn refund(&self, id: &str, line: u32, quantity: u32) -> Value {
        let lines = json!([{"line": line, "quantity": quantity}]);
        self.runtime.block_on(self.client.refund(id, lines)).expect("refunded")
    }
}

fn id(sold: &Value) -> &str {
    sold["authorisation_id"].as_str().expect("an id")
}

/// Puts a draft, and submits it; whoever wrote it does not approve it.
fn submitted(by: &Talk<'_>, name: &str, draft: &Value) {
    let path = format!("/v1/drafts/{name}");
    by.put(&path, draft);
    let state = format!("{path}/state");
    by.put(&state, &json!({"state": "submitted"}));
    assert_eq!(by.try_put(&state, &json!({"state": "published"})).0, 403, "{name}");
}

fn published(by: &Talk<'_>, name: &str) {
    let path = format!("/v1/drafts/{name}/state");
    assert_eq!(by.put(&path, &json!({"state": "published"}))["state"], "published");
}

fn needs_approval((status, told): (u16, Value)) {
    assert_eq!((status, &told["code"]), (403, &json!("needs_approval")), "{told}");
}

#[test]
fn a_merchant_sells_grants_and_is_owed_what_is_its_own() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    let file = place.path().join("registry.json");
    std::fs::write(&file, registry().to_string()).expect("written");
    let mut apply = avis();
    apply.args(["registry", "apply"]).arg(&file).arg("--data").arg(&folder);
    succeeded(&apply.output().expect("run"));
    let server = Server::start(&folder);
    server.wait_until_ready();
    let talk = |role: &str, organisation: &str, subject: &str| {
        Talk::new(&server, &token(&folder, role, organisation, subject))
    };
    let (maria, kurts) = (talk("merchant", "shop", "maria"), talk("merchant", "kiosk", "kurts"));
    let olga = talk("administrator", "", "olga");
    described(&maria, &kurts, &olga);
    let code = maria.put("/v1/terminals/T-1/enrolment", &Value::Null)["code"].clone();
    let code = code.as_str().expect("a code");
    let till = Till::enrol(&server, code, &place.path().join("journal"));
    let (sara, toms) = (talk("grantor", "shop", "sara"), talk("grantor", "shop", "toms"));
    sara.put("/v1/benefits/club", &json!({"grantor": "shop", "name": "Club", "kind": "loyalty"}));
    needs_approval(
        sara.try_put("/v1/instructions/coffee", &coffee_club()["entries"]["instructions"][0]),
    );
    submitted(&sara, "club", &coffee_club());
    published(&toms, "club");

    sold(&till, &maria, &kurts);
    filed(&maria);
    owed(&maria, &kurts, &sara);
    on_the_portal(&folder, &maria, &kurts, &olga);

    // A till that is lost asks no more from the next request on.
    assert_eq!(kurts.delete("/v1/terminals/T-1/keys/first"), 404);
    assert_eq!(maria.delete("/v1/terminals/T-1/keys/first"), 204);
    let refused = till.sell(&[line(1, "milk", 1)]);
    assert!(matches!(refused, Err(ClientError::Refused { status: 401, .. })), "{refused:?}");
    server.stop();
}

/// Where it sells, with what, and which goods: its own, a place once an administrator has approved
/// it.
fn described(maria: &Talk<'_>, kurts: &Talk<'_>, olga: &Talk<'_>) {
    let entry = json!({"merchant": "shop", "territory": "LV0001000", "name": "Market square"});
    needs_approval(maria.try_put("/v1/places/shop-1", &entry));
    let mut place = entry;
    place["id"] = json!("shop-1");
    submitted(maria, "place", &json!({"entries": {"places": [place]}}));
    assert_eq!(kurts.try_get("/v1/drafts/place").0, 404);
    published(olga, "place");
    let till = json!({"place": "shop-1", "kind": "till"});
    maria.put("/v1/terminals/T-1", &till);
    assert_eq!(kurts.try_put("/v1/terminals/T-2", &till).0, 403, "at another's place");
    for (item, category) in [("coffee", "food.coffee"), ("milk", "food.milk")] {
        let entry = json!({"merchant": "shop", "item": item, "category": category});
        maria.put(&format!("/v1/catalogue/shop%2F{item}"), &entry);
    }
    // Each sees its own, and of the other what everybody may.
    for (kind, own, others) in [("terminals", "T-1", "K-1"), ("contracts", "C-1", "C-2")] {
        let listed = maria.get(&format!("/v1/{kind}"));
        let ids: Vec<_> = listed["items"].as_array().expect("items").iter().collect();
        assert!(ids.len() == 1 && ids[0]["id"] == own, "{listed}");
        assert_eq!(maria.try_get(&format!("/v1/{kind}/{others}")).0, 404, "{others}");
        assert_eq!(kurts.try_get(&format!("/v1/{kind}/{own}")).0, 404, "{own}");
    }
    assert_eq!(kurts.try_get("/v1/catalogue/shop%2Fmilk").0, 404);
    assert_eq!(kurts.try_put("/v1/terminals/T-1/enrolment", &Value::Null).0, 404);
    assert!(maria.get("/v1/merchants/shop")["iban"].is_string());
    assert_eq!(kurts.get("/v1/merchants/shop").get("iban"), None, "an account is its owner's");
    for path in ["/v1/instructions", "/v1/groups"] {
        assert_eq!(maria.try_get(path).0, 403, "{path}");
    }
}

/// Two sales at the till, the first given back whole, of the second a coffee.
fn sold(till: &Till, maria: &Talk<'_>, kurts: &Talk<'_>) {
    let first = until("the club reaches the till", || {
        till.sell(&[line(1, "coffee", 1)]).ok().filter(|sold| sold["decision"] == "approved")
    });
    assert_eq!(first["benefit_cents"], 100);
    assert_eq!(till.refund(id(&first), 1, 1)["status"], "refunded");
    let second = till.sell(&[line(1, "coffee", 2), line(2, "milk", 4)]).expect("sold");
    assert_eq!((&second["benefit_cents"], &second["payable_cents"]), (&json!(400), &json!(1_400)));
    let [club, city] = [0, 1].map(|at| second["lines"][at]["benefits"][0].clone());
    let parts = |of: &Value| (of["grantor_cents"].clone(), of["merchant_cents"].clone());
    assert_eq!(parts(&club), (json!(200), json!(0)), "the shop is the grantor: {club}");
    assert_eq!(parts(&city), (json!(120), json!(80)), "{city}");
    assert_eq!(till.refund(id(&second), 1, 1)["status"], "partially_refunded");
    let path = format!("/v1/authorisations/{}", id(&second));
    assert_eq!(maria.get(&path)["status"], "partially_refunded");
    assert_eq!(kurts.try_get(&path).0, 404);
}

/// A file of what its tills did while they were cut off: one answer a line, the same when it is
/// sent again; another's till is not its to speak for.
fn filed(maria: &Talk<'_>) {
    let of = |terminal: &str, key: &str| {
        json!({"terminal_id": terminal, "idempotency_key": key, "mode": "offline",
            "occurred_at": Utc::now().to_rfc3339(), "lines": [line(1, "coffee", 3)]})
        .to_string()
    };
    let file = [of("T-1", "f-1"), "{\"terminal_id\":".into(), of("K-1", "f-2")].join("\n");
    let upload = || {
        let kind = "Content-Type: application/x-ndjson\r\n";
        let path = "/v1/transactions:batch";
        let (head, told) = maria.server.ask_text(&maria.token, "POST", path, kind, &file);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    let told = upload();
    let statuses: Vec<_> = told.iter().map(|of| of["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(200), Some(422), Some(422)], "{told:?}");
    let why = [1, 2].map(|at| told[at]["problem"]["code"].clone());
    assert_eq!(why, [json!("malformed_json"), json!("unknown_terminal")]);
    assert_eq!(told[0]["authorisation"]["benefit_cents"], 300);
    assert_eq!(upload()[0], told[0]);
}

/// The month's statements so far: what the city owes, and the own programme, of which nothing is
/// paid.
fn owed(maria: &Talk<'_>, kurts: &Talk<'_>, sara: &Talk<'_>) {
    let month = LocalTime::of(Utc::now()).date.format("%Y-%m");
    let path = format!("/v1/settlements?period={month}");
    // 503 while the newest sales are landing.
    let stated = until("the statements", || {
        let (status, told) = maria.try_get(&path);
        (status == 200).then(|| told["statements"].as_array().expect("a list").clone())
    });
    let sums = |of: &Value| {
        let cents = |name: &str| of[name].as_i64().expect(name);
        (
            of["statement"].as_str().expect("a number").to_owned(),
            [cents("amount_cents"), cents("owed_cents"), cents("payable_cents")],
        )
    };
    let (city, own) = (format!("riga-shop-{month}"), format!("shop-shop-{month}"));
    let expected = [(city.clone(), [200, 120, 120]), (own.clone(), [400, 400, 0])];
    assert_eq!(stated.iter().map(sums).collect::<Vec<_>>(), expected);
    assert!(stated.iter().all(|of| of["state"] == "draft"), "{stated:?}");
    let whole = maria.get(&format!("/v1/settlements/{own}"));
    let rows = whole["instructions"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "{whole}");
    // A refund takes back units and cents, not the use.
    let told = ["uses", "units", "amount_cents", "grantor_cents"].map(|name| rows[0][name].clone());
    assert_eq!(told, [3, 4, 400, 400].map(|number| json!(number)), "{whole}");
    let file = format!("/v1/settlements/{city}/files");
    let csv = maria.server.ask_text(&maria.token, "GET", &format!("{file}/csv"), "", "");
    assert!(csv.0.starts_with("HTTP/1.1 200") && csv.1.contains(&city), "{csv:?}");
    assert_eq!(maria.try_get(&format!("{file}/pain001")).0, 403, "the grantor's");
    // As a grantor the shop sees its own programme and not the city's; another merchant nothing.
    let seen = sara.get(&path);
    assert_eq!(seen["statements"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(kurts.get(&path)["statements"], json!([]));
    for number in [&city, &own] {
        assert_eq!(kurts.try_get(&format!("/v1/settlements/{number}")).0, 404);
    }
    let lines = "SELECT COUNT(*), COALESCE(SUM(amount), 0), COALESCE(SUM(merchant_amount), 0), \
                 COUNT(recipient) FROM benefit_lines";
    let ask = |talk: &Talk<'_>, who: &str| sql(talk.server, who, &talk.token, lines).expect("rows");
    assert_eq!(ask(maria, "maria"), ["6,6.00,0.80,0"]);
    assert_eq!(ask(kurts, "kurts"), ["0,0.00,0.00,0"]);
    let persons = "SELECT COUNT(*) FROM persons_current";
    assert!(sql(maria.server, "maria", &maria.token, persons).is_err(), "no merchant's business");
}

/// Its service on the portal, once an administrator has approved it; what its application shows a
/// client, and how often it is used.
fn on_the_portal(folder: &Path, maria: &Talk<'_>, kurts: &Talk<'_>, olga: &Talk<'_>) {
    let entry = json!({"merchant": "shop", "name": "Orders", "url": "https://shop.example.lv",
        "login_basket": "merchant", "identity_means": ["eid"]});
    needs_approval(maria.try_put("/v1/e-services/orders", &entry));
    let mut service = entry;
    service["id"] = json!("orders");
    submitted(maria, "orders", &json!({"entries": {"e_services": [service]}}));
    let decide = json!({"state": "published"});
    let colleague = Talk::new(maria.server, &token(folder, "merchant", "shop", "marta"));
    let (status, told) = colleague.try_put("/v1/drafts/orders/state", &decide);
    assert_eq!(status, 403, "an administrator decides: {told}");
    assert_eq!(kurts.try_put("/v1/drafts/orders/state", &decide).0, 404);
    published(olga, "orders");
    let login = |means: &str| maria.get(&format!("/v1/e-services/orders/login?means={means}"));
    assert_eq!(
        (&login("eid")["allowed"], &login("bank")["allowed"]),
        (&json!(true), &json!(false))
    );

    let source =
        |subject: &str| Talk::new(maria.server, &token(folder, "source", subject, subject));
    let born = json!({"birth_date": "1950-03-01", "territory": "LV0001000", "status": "alive"});
    let register = json!({"specversion": "1.0", "id": "p-1", "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00Z",
        "data": {"person": CLIENT, "sequence": 1, "attributes": born}});
    assert_eq!(source("dagr").events(&[register])["taken"], 1);
    let item = json!({"person": CLIENT, "title": "Order ready", "state": "action_needed"});
    let path = "/v1/e-services/orders/panels/7";
    assert_eq!(kurts.try_put(path, &item).0, 404);
    let panel = maria.put(path, &item)["panel"].clone();
    let me = Talk::new(maria.server, &own_token(folder, CLIENT));
    until("the client sees it", || {
        let seen = me.get("/v1/me/panels");
        seen["panels"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|of| of["panel"] == panel)
            .then_some(())
    });

    let used = json!({"specversion": "1.0", "id": "u-1", "source": "/portal",
        "type": "lv.portal.e-service.used", "time": Utc::now().to_rfc3339(),
        "data": {"e_service": "orders", "merchant": "shop", "user": "somebody"}});
    assert_eq!(source("portal").events(&[used])["taken"], 1);
    let report = format!("/v1/reports/e-services?from={0}&to={0}", today());
    let row = until("its use is reported", || {
        let rows = maria.get(&report);
        rows.as_array().expect("rows").first().cloned()
    });
    assert_eq!((&row["e_service"], &row["uses"]), (&json!("orders"), &json!(1)), "{row}");
    assert_eq!(row["users"], Value::Null, "fewer than five are nobody's business");
    assert_eq!(kurts.get(&report), json!([]));
}
