//! A recipient over the wire: enrolled at a service centre, buys, sees what was given and what is left,
//! reports the card lost, agrees and withdraws, and takes everything along.

use serde_json::{Value, json};

use crate::{
    avis, succeeded,
    talk::{Node, Talk, own_token, today, until},
};

pub const SENIOR: &str = "326180-33995";
const OTHER: &str = "322360-67989";
const CARD: &str = "04A2B3C4D5E6F7";
const MILK: &str = "senior-milk";

/// What an administrator describes: a shop with a till, milk for seniors, an issuer, a centre.
fn registry() -> Value {
    json!({
        "grantors": [{"id": "riga", "name": {"lv": "Rīga", "en": "Riga"}, "kind": "municipality",
            "iban": "LV57TREL0000002180451"}],
        "merchants": [{"id": "shop", "name": "Shop", "iban": "LV65HABA0000055100001"}],
        "places": [{"id": "shop-1", "merchant": "shop", "territory": "LV0001000"}],
        "terminals": [{"id": "T-1", "place": "shop-1", "kind": "till"}],
        "catalogue": [{"merchant": "shop", "item": "milk", "category": "food.milk",
            "name": {"lv": "Piens", "en": "Milk"}}],
        "contracts": [{"id": "C-1", "grantor": "riga", "merchant": "shop", "from": "2025-01-01",
            "vat_bp": 2100}],
        "issuers": [{"id": "city-card", "name": "City card", "means": ["card_uid"]}],
        "groups": [{"id": "seniors", "name": {"lv": "Seniori", "en": "Seniors"},
            "where": "age(birth_date) >= 65 AND status = 'alive'"}],
        "benefits": [{"id": "food", "grantor": "riga", "name": "Food", "legal_basis": "Rules 1",
            "kind": "discount"}],
        "instructions": [{"id": MILK, "benefit": "food", "version": 1, "priority": 1,
            "label": {"lv": "Piens senioriem", "en": "Milk for seniors"},
            "valid": {"from": "2025-01-01"}, "recipients": {"any": ["seniors"]},
            "content": {"any": [{"category": "food.milk"}]},
            "effect": {"amount_off_cents": 100, "per": "unit"}, "funding": {"grantor_bp": 10_000},
            "limits": [{"per": "recipient", "period": "year", "measure": "units", "max": 5}]}],
        "e_services": [{"id": "orders", "merchant": "shop", "name": {"lv": "Pasūtījumi", "en": "Orders"},
            "url": "https://shop.example.lv", "login_basket": "merchant"}],
        "centres": [{"id": "ligatne", "name": "Library", "kind": "library", "territory": "LV0042000"}],
        "institutions": [{"id": "vsaa", "name": "VSAA"}],
        "services": [{"id": "PAK_03", "name": "Consultation"}],
        "officials": [{"id": "ilze", "institution": "vsaa", "services": ["PAK_03"],
            "languages": ["lv"]}],
    })
}

fn person(code: &str, born: &str) -> Value {
    json!({"specversion": "1.0", "id": format!("dagr-{code}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00Z",
        "data": {"person": code, "sequence": 1, "attributes": {"birth_date": born,
            "territory": "LV0001000", "status": "alive"}}})
}

/// The entry of a list of the person's own whose field has a value, once it is there.
fn own(me: &Talk<'_>, list: &str, field: &str, is: &str) -> Value {
    until(&format!("{is} in {list}"), || {
        let all = me.get(&format!("/v1/me/{list}"));
        let all = all[list].as_array().expect("a list").clone();
        all.into_iter().find(|entry| entry[field] == is)
    })
}

fn buy(till: &Talk<'_>, key: &str, units: u32) -> Value {
    let line = json!({"line": 1, "item": "milk", "category": "food.milk", "quantity": units,
        "unit_price_cents": 150});
    till.sell("T-1", key, Some(CARD), &line)
}

#[test]
fn a_recipient_is_enrolled_buys_and_sees_everything_that_is_their_own() {
    let node = Node::start(&[("AVIS__REGISTRY__APPROVAL", "false")]);
    is_enrolled_buys_and_sees(&node);
    node.server.stop();

    // Who did what with the card stands in the audit trail, without the card.
    let mut tail = avis();
    tail.args(["stream", "tail", "audit", "--from", "earliest", "--most", "100", "--data"]);
    tail.arg(&node.folder);
    let trail = succeeded(&tail.output().expect("run"));
    let of = |action: &str| trail.lines().filter(|line| line.contains(action)).count();
    let kinds = ["means.enrol", "means.lost", "panel.put", "panel.withdraw", "me.export"];
    assert_eq!(kinds.map(of), [1, 1, 2, 1, 1], "{trail}");
    for hidden in [CARD, SENIOR] {
        assert!(!trail.contains(hidden), "{hidden} in the audit trail");
    }
}

/// All of it, at a node where a registry needs no approval.
pub fn is_enrolled_buys_and_sees(node: &Node) {
    node.talk("administrator", "", "olga").put("/v1/registry", &registry());
    let told = node
        .talk("source", "dagr", "register")
        .events(&[person(SENIOR, "1950-03-01"), person(OTHER, "1990-03-01")]);
    assert_eq!(told["taken"], 2, "{told}");
    enrolled(&node.talk("official", "vsaa", "ilze"));

    let me = Talk::new(&node.server, &own_token(&node.folder, SENIOR));
    let milk = until("the person is a senior", || {
        let milk = own(&me, "benefits", "instruction", MILK);
        (milk["entitled"] == true).then_some(milk)
    });
    assert_eq!(
        milk["why"],
        json!([{"lv": "Jūs esat grupā: Seniori", "en": "You are in: Seniors"}])
    );
    assert_eq!(milk["limits"][0]["left"], 5);

    let till = node.talk("terminal", "shop", "T-1");
    let sold = buy(&till, "k1", 4);
    assert_eq!((&sold["decision"], &sold["benefit_cents"]), (&json!("approved"), &json!(400)));
    let id = sold["authorisation_id"].as_str().expect("an id");
    let bought = own(&me, "transactions", "authorisation_id", id);
    assert_eq!((&bought["benefit_cents"], &bought["payable_cents"]), (&json!(400), &json!(200)));
    let explained = me.get(&format!("/v1/authorisations/{id}?explain=full"));
    let why = &explained["explanation"][0];
    assert_eq!((&why["instruction"], &why["outcome"]), (&json!(MILK), &json!("applied")), "{why}");
    assert!(why["text"]["lv"].is_string() && why["text"]["en"].is_string(), "{why}");
    assert_eq!(own(&me, "benefits", "instruction", MILK)["limits"][0]["left"], 1);
    own(&me, "notifications", "kind", "limit_nearly_used");

    lost(&me, &till);
    agreed(&me);
    shown(&me, &node.talk("merchant", "shop", "app"));

    let whole = me.get("/v1/me/export");
    assert_eq!(
        whole["transactions"].as_array().map(Vec::len),
        Some(1),
        "a declined one is nobody's"
    );
    assert_eq!(whole["means"][0]["blocked"], true);
    assert_eq!(whole["consents"].as_array().map(Vec::len), Some(2));
    // Nobody else's is there, and who is not known here does not exist.
    let other = Talk::new(&node.server, &own_token(&node.folder, OTHER));
    assert_eq!(other.get("/v1/me/transactions")["transactions"], json!([]));
    assert_eq!(other.get("/v1/me/means")["means"], json!([]));
    assert_eq!(other.try_get(&format!("/v1/authorisations/{id}")).0, 404);
    let stranger = Talk::new(&node.server, &own_token(&node.folder, "320000-00001"));
    assert_eq!(stranger.try_get("/v1/me/benefits").0, 404);
}

/// An official enrols the card for its issuer, under a consent that was read out.
fn enrolled(official: &Talk<'_>) {
    let mut card = json!({"issuer": "city-card", "kind": "card_uid", "value": CARD,
        "person": SENIOR, "valid_from": today()});
    let (status, told) = official.try_post("/v1/means", "e1", &card);
    assert_eq!((status, &told["code"]), (422, &json!("missing_field")), "no consent: {told}");
    card["consent"] = json!({"version": "2026-1"});
    let token = official.post("/v1/means", "e2", &card)["token"].clone();
    assert_eq!(official.post("/v1/means", "e2", &card)["token"], token, "sent again");
    assert_eq!(official.try_get("/v1/means").0, 403, "an official sees nobody's means");
}

/// The card is reported lost: the next terminal that asks is told.
fn lost(me: &Talk<'_>, till: &Talk<'_>) {
    let means = own(me, "means", "status", "valid");
    assert_eq!(means["issuer"]["id"], "city-card");
    let token = means["token"].as_str().expect("a token");
    let path = format!("/v1/means/{token}");
    let (status, told) = me.try_put(&path, &json!({"status": "active"}));
    assert_eq!(status, 403, "a recipient unblocks nothing: {told}");
    assert_eq!(me.put(&path, &json!({"status": "lost"}))["status"], "lost");
    let declined = buy(till, "k2", 1);
    let told = (&declined["decision"], &declined["means_status"]);
    assert_eq!(told, (&json!("declined"), &json!("blocked")));
    own(me, "means", "status", "blocked");
}

/// A consent is given and withdrawn; both steps and the official's stay.
fn agreed(me: &Talk<'_>) {
    let path = "/v1/me/consents/news";
    let given = me.put(path, &json!({"purpose": "notices", "text_version": "2026-1"}));
    assert_eq!(given["given"], true);
    assert_eq!(me.delete(path), 200);
    let news = own(me, "consents", "consent", "news");
    assert_eq!(
        (&news["given"], news["history"].as_array().map(Vec::len)),
        (&json!(false), Some(2))
    );
    let enrolment = own(me, "consents", "purpose", "identification-means");
    assert_eq!(enrolment["history"][0]["recorded_by"], "official");
}

/// The shop's application shows something, and the recipient puts it away.
fn shown(me: &Talk<'_>, application: &Talk<'_>) {
    let item = json!({"person": SENIOR, "title": {"lv": "Pasūtījums gatavs", "en": "Order ready"},
        "link": "https://shop.example.lv/orders/7", "state": "action_needed"});
    let taken = application.put("/v1/e-services/orders/panels/7", &item);
    let panel = taken["panel"].as_str().expect("an id");
    let seen = own(me, "panels", "panel", panel);
    assert_eq!(
        (&seen["title"]["en"], &seen["merchant"]["id"]),
        (&json!("Order ready"), &json!("shop"))
    );
    assert_eq!(me.delete(&format!("/v1/me/panels/{panel}")), 204);
    assert_eq!(me.get("/v1/me/panels")["panels"], json!([]));
    application.put("/v1/e-services/orders/panels/8", &item);
    assert_eq!(application.delete("/v1/e-services/orders/panels/8"), 204);
    // Where roles are apart, another process is told of it.
    until("what is withdrawn is gone", || {
        (me.get("/v1/me/panels")["panels"] == json!([])).then_some(())
    });
    assert_eq!(application.try_get("/v1/me/panels").0, 403);
}
