//! The routes: one call from a centre to an official, and what whom is allowed.

use chrono::TimeDelta;
use connectors::access::Role;
use serde_json::{Value, json};

use super::{Node, id, path, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_from_a_centre_to_an_official_and_is_rated() {
    let node = Node::start().await;
    assert_eq!(node.stand("anna", "available").await.status, 200);
    let call = node.call("centre-1", "k1").await;
    assert_eq!((&call["state"], &call["official"]), (&json!("offered"), &json!("anna")));
    assert_eq!(call["expected_wait_seconds"], 0);
    let address = call["address"].as_str().expect("an address");
    let room = address.strip_prefix("https://meet.example.lv/").expect("the template");
    let room = room.strip_suffix("?as=moderator").expect("the specialist leads");
    assert_eq!(room.len(), 32);
    assert!(!room.contains(id(&call)), "who knows the call cannot walk in");

    let taken = node.post("anna", &path(&call, "accept")).await;
    assert_eq!((taken.status, &taken.json()["state"]), (200, &json!("accepted")));
    assert_eq!(taken.json()["address"], format!("https://meet.example.lv/{room}?as=guest"));
    assert_eq!(node.post("anna", &path(&call, "accept")).await.status, 200, "twice is once");
    let early = node.ask("centre-1", "POST", &path(&call, "rating"), &json!({"rating": 5})).await;
    assert_eq!((early.status, &early.json()["code"]), (409, &json!("wrong_state")));
    assert_eq!(node.post("centre-1", &path(&call, "connect")).await.status, 200);
    node.pass(TimeDelta::minutes(7));
    let ended =
        node.ask("anna", "POST", &path(&call, "end"), &json!({"resolved": true})).await.json();
    assert_eq!((&ended["state"], &ended["resolved"]), (&json!("ended"), &json!(true)));
    let rated = node.ask("centre-1", "POST", &path(&call, "rating"), &json!({"rating": 4})).await;
    assert_eq!((rated.status, &rated.json()["rating"]), (200, &json!(4)));
    let other = node.ask("centre-1", "POST", &path(&call, "rating"), &json!({"rating": 1})).await;
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("said_otherwise")));

    let told = node.told().await;
    let told: Vec<_> = told
        .iter()
        .map(|(_, event)| event.event_type.strip_prefix("lv.vpvkac.").expect("ours"))
        .collect();
    let expected = [
        "official.available",
        "call.requested",
        "call.offered",
        "official.busy",
        "call.accepted",
        "call.connected",
        "call.ended",
        "official.available",
        "call.rated",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_under_a_key_is_answered_like_the_first_time() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    let decline = path(&call, "decline");
    for _ in 0..2 {
        let answer = node.keyed("anna", "POST", &decline, "k", &Value::Null).await;
        assert_eq!(answer.status, 204);
    }
    assert!(node.post("anna", &decline).await.status >= 400, "there is nothing to decline");
    let other = node.keyed("anna", "POST", &path(&call, "accept"), "k", &Value::Null).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("key_reused")));
}

/// The table of calls takes the greatest name of all events of a call for its official.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_took_a_call_stands_in_its_events() {
    let node = Node::start().await;
    node.stand("berta", "available").await;
    let call = node.call("centre-1", "k1").await;
    node.pass(TimeDelta::seconds(1));
    node.stand("anna", "available").await;
    assert_eq!(node.post("berta", &path(&call, "decline")).await.status, 204);
    let now = node.until(id(&call), "offered").await;
    assert_eq!(now["official"], "anna", "declined, it goes to the next");
    node.post("anna", &path(&call, "accept")).await;
    node.post("anna", &path(&call, "end")).await;
    let told = node.told().await;
    let of_calls = told.iter().filter(|(_, event)| event.event_type.contains(".call."));
    let names: Vec<_> = of_calls.filter_map(|(_, event)| event.official_id.clone()).collect();
    assert_eq!(names, ["anna", "anna"]);
    for (record, event) in &told {
        assert_eq!(event.date, "2025-06-02", "the local day");
        if event.event_type.contains(".call.") {
            assert_eq!(record.key, "centre-1", "in the order of its centre");
        }
        let text = format!("{event:?}");
        assert!(!text.contains("Ozola"), "the specialist is a keyed hash: {text}");
    }
    let requested = told.iter().find(|(_, event)| event.event_type.ends_with("requested"));
    assert!(requested.is_some_and(|(_, event)| event.specialist.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_free_for_the_longest_is_asked_and_who_waits_first_is_served_first() {
    let node = Node::start().await;
    for official in ["berta", "anna"] {
        node.stand(official, "available").await;
        node.pass(TimeDelta::seconds(10));
    }
    let calls = [node.call("centre-1", "k1").await, node.call("centre-2", "k1").await];
    assert_eq!([&calls[0]["official"], &calls[1]["official"]], ["berta", "anna"]);
    let waiting = [node.call("centre-1", "k2").await, node.call("centre-2", "k2").await];
    let position = |at: usize| (waiting[at]["state"].clone(), waiting[at]["position"].clone());
    assert_eq!(position(0), (json!("waiting"), json!(1)));
    assert_eq!(position(1), (json!("waiting"), json!(2)));
    assert_eq!(waiting[1]["expected_wait_seconds"], 300, "two talks, two on duty");
    node.post("berta", &path(&calls[0], "accept")).await;
    node.post("berta", &path(&calls[0], "connect")).await;
    node.pass(TimeDelta::seconds(10));
    node.post("berta", &path(&calls[0], "end")).await;
    let first = node.get("centre-1", &format!("/v1/calls/{}", id(&waiting[0]))).await.json();
    assert_eq!((&first["state"], &first["official"]), (&json!("offered"), &json!("berta")));
    let second = node.get("centre-2", &format!("/v1/calls/{}", id(&waiting[1]))).await.json();
    assert_eq!((&second["state"], &second["position"]), (&json!("waiting"), &json!(1)));
    assert_eq!(second["expected_wait_seconds"], 5, "the last talk was of ten seconds");
    node.post("centre-2", &path(&waiting[1], "abandon")).await;
    let gone = node.get("centre-2", &format!("/v1/calls/{}", id(&waiting[1]))).await.json();
    assert_eq!(gone["state"], "abandoned");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_nobody_takes_goes_to_the_next_and_its_official_is_away() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    node.pass(TimeDelta::seconds(5));
    node.stand("berta", "available").await;
    node.pass(TimeDelta::seconds(14));
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let still = node.until(id(&call), "offered").await;
    assert_eq!(still["official"], "anna", "nineteen seconds are not twenty");
    node.pass(TimeDelta::seconds(1));
    for _ in 0..200 {
        if node.until(id(&call), "offered").await["official"] == "berta" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(node.until(id(&call), "offered").await["official"], "berta");
    let late = node.post("anna", &path(&call, "accept")).await;
    assert_eq!(late.status, 404, "it is another's now");
    let all = node.get("operator", "/v1/officials?institution=vsaa&language=lv").await.json();
    let states: Vec<_> = all["officials"].as_array().expect("a list").iter().collect();
    let state = |at: usize| (states[at]["official"].clone(), states[at]["state"].clone());
    assert_eq!(state(0), (json!("anna"), json!("away")));
    assert_eq!(state(1), (json!("berta"), json!("busy")));
    assert_eq!(states.len(), 2, "clara speaks English");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handed_over_call_goes_on_in_the_same_room() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    node.post("anna", &path(&call, "accept")).await;
    let to = json!({"institution": "vid", "official": "elza"});
    let over = node.ask("anna", "POST", &path(&call, "hand-over"), &to).await;
    assert_eq!(over.status, 200, "{}", String::from_utf8_lossy(&over.body));
    let next = over.json();
    assert_eq!((&next["state"], &next["continues"]), (&json!("waiting"), &call["call"]));
    assert_eq!(next["expected_wait_seconds"], Value::Null, "elza is not at work");
    let again = node.ask("centre-1", "POST", &path(&call, "hand-over"), &to).await;
    assert_eq!(again.json()["call"], next["call"]);
    assert_eq!(again.json()["address"], call["address"]);
    let before = node.get("centre-1", &format!("/v1/calls/{}", id(&call))).await.json();
    assert_eq!(
        (&before["outcome"], &before["continued_by"]),
        (&json!("handed_over"), &next["call"])
    );
    node.stand("elza", "available").await;
    let taken = node.post("elza", &path(&next, "accept")).await;
    assert_eq!(taken.status, 200);
    let guest = call["address"].as_str().expect("one").replace("moderator", "guest");
    assert_eq!(taken.json()["address"], guest);
    // Anna is free again, and is offered what others ask.
    assert_eq!(node.call("centre-1", "k2").await["official"], "anna");
    let nowhere = json!({"institution": "empty"});
    let refused = node.ask("elza", "POST", &path(&next, "hand-over"), &nowhere).await;
    assert_eq!(refused.status, 422);
    let behalf = json!({"service": "PAK_05", "institution": "vsaa"});
    let refused = node.ask("elza", "POST", &path(&next, "hand-over"), &behalf).await;
    assert_eq!(refused.status, 422, "PAK_05 needs a mandate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_answer_and_another_body_none() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let first = node.keyed("centre-1", "POST", "/v1/calls", "k1", &wanted()).await;
    node.post("anna", &path(&first.json(), "accept")).await;
    let again = node.keyed("centre-1", "POST", "/v1/calls", "k1", &wanted()).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let mut other = wanted();
    other["language"] = json!("en");
    let other = node.keyed("centre-1", "POST", "/v1/calls", "k1", &other).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("key_reused")));
    let without = node.ask("centre-1", "POST", "/v1/calls", &wanted()).await;
    assert_eq!((without.status, &without.json()["code"]), (400, &json!("idempotency_key")));
    let theirs = node.call("centre-2", "k1").await;
    assert_ne!(theirs["call"], first.json()["call"], "a key belongs to its centre");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_wrong_are_told_with_every_fault() {
    let node = Node::start().await;
    let ask = |body: Value| {
        let node = &node;
        async move { node.keyed("centre-1", "POST", "/v1/calls", "k", &body).await.json() }
    };
    let bad = json!({"institution": "nowhere", "service": "PAK_77", "language": "latviski",
        "client_identified": false, "colour": 1});
    let told = ask(bad).await;
    let pointers: Vec<_> = told["errors"].as_array().expect("a list").iter().collect();
    let pointers: Vec<_> = pointers.iter().map(|fault| fault["pointer"].clone()).collect();
    let expected = ["/institution", "/service", "/language", "/client_identified", "/colour"];
    assert_eq!(pointers, expected);
    let with = |name: &str, value: Value| {
        let mut body = wanted();
        body[name] = value;
        body
    };
    for (body, fault) in [
        (with("client_identified", Value::Null), "client_identified is missing"),
        (with("service", json!("PAK_05")), "mandate is missing"),
        (with("language", json!("de")), "nobody of the institution"),
        (with("institution", json!("empty")), "nobody of the institution"),
        (with("official", json!("nobody")), "no such official"),
        (with("official", json!("clara")), "the official does not consult"),
        (with("official", json!("dace")), "the official does not consult"),
    ] {
        let told = ask(body.clone()).await;
        assert_eq!(told["status"], 422, "{body}");
        assert!(told["detail"].as_str().is_some_and(|it| it.contains(fault)), "{body}: {told}");
    }
    let mut behalf = with("service", json!("PAK_05"));
    behalf["mandate"] = json!("M-17");
    let answer = node.keyed("centre-1", "POST", "/v1/calls", "m", &behalf).await;
    assert_eq!(answer.status, 200);
    let told = node.told().await;
    let requested = told.iter().find(|(_, event)| event.event_type.ends_with("requested"));
    let mandate = requested.and_then(|(_, event)| event.mandate_number.clone());
    assert_eq!(mandate.as_deref(), Some("M-17"));
    let busy = node.stand("anna", "busy").await;
    assert_eq!(busy.status, 422, "in a call is who has one");
    let text = node.ask("centre-1", "POST", "/v1/calls/x/rating", &Value::Null).await;
    assert_eq!(text.status, 404, "there is no such call");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_what_it_may_and_nothing_else() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    let one = format!("/v1/calls/{}", id(&call));
    let state = json!({"state": "offline"});
    let (hand, rate) = (json!({"institution": "vid"}), json!({"rating": 3}));
    let (none, visit) = (Value::Null, json!({"service": "PAK_10", "channel": "phone"}));
    let step = |step: &str| format!("{one}/{step}");
    // Whoever is nobody here, an official and a centre that have nothing to do with it, an operator.
    let table = [
        ("GET", "/v1/officials".to_owned(), &none, [403, 200, 200, 200]),
        ("GET", "/v1/calls".to_owned(), &none, [403, 200, 200, 200]),
        ("GET", one.clone(), &none, [403, 404, 404, 200]),
        ("POST", step("accept"), &none, [403, 404, 403, 403]),
        ("POST", step("decline"), &none, [403, 404, 403, 403]),
        ("POST", step("connect"), &none, [403, 404, 404, 403]),
        ("POST", step("end"), &none, [403, 404, 404, 403]),
        ("POST", step("abandon"), &none, [403, 403, 404, 403]),
        ("POST", step("hand-over"), &hand, [403, 404, 404, 403]),
        ("POST", step("rating"), &rate, [403, 403, 404, 403]),
        ("POST", "/v1/calls".to_owned(), &none, [403, 403, 400, 403]),
        ("POST", "/v1/services:start".to_owned(), &visit, [403, 403, 200, 403]),
        ("PUT", "/v1/officials/anna/availability".to_owned(), &state, [403, 404, 403, 409]),
    ];
    // What an operator may and cannot do now is refused by its state, not by who asks.
    node.post("anna", &path(&call, "accept")).await;
    for (method, path, body, expected) in &table {
        let whos = ["terminal", "dace", "centre-2", "operator"];
        for (who, status) in whos.iter().zip(expected) {
            let answer = node.keyed(who, method, path, &format!("r-{who}"), body).await;
            assert_eq!(answer.status, *status, "{who}: {method} {path}");
        }
        for role in Role::ALL {
            let known = [Role::Official, Role::Centre, Role::Operator, Role::Administrator];
            if !known.contains(&role) {
                let answer = node.keyed(role.code(), method, path, "r", body).await;
                assert_eq!(answer.status, 403, "{}: {method} {path}", role.code());
            }
        }
        let answer = crate::client::send(node.http, method, path, &[], b"").await;
        assert_eq!(answer.status, 401, "nobody: {method} {path}");
    }
    let unknown = node.get("centre-9", "/v1/calls").await;
    assert_eq!(unknown.status, 403, "a centre that the registry does not have");
    assert_eq!(node.get("nobody", "/v1/calls").await.status, 403);
    let online = json!({"state": "available"});
    let other = node.ask("operator", "PUT", "/v1/officials/berta/availability", &online).await;
    assert_eq!(other.status, 403, "an operator sets offline only");
    let gone = node.ask("operator", "PUT", "/v1/officials/berta/availability", &state).await;
    assert_eq!((gone.status, &gone.json()["state"]), (200, &json!("offline")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_no_address_and_no_mandate() {
    let node = Node::start().await;
    let mut behalf = wanted();
    (behalf["service"], behalf["mandate"]) = (json!("PAK_05"), json!("M-17"));
    let first = node.keyed("centre-1", "POST", "/v1/calls", "k1", &behalf).await.json();
    node.pass(TimeDelta::seconds(1));
    let second = node.call("centre-2", "k1").await;
    let path = format!("/v1/calls/{}", id(&first));
    assert_eq!(node.get("centre-1", &path).await.json()["mandate"], "M-17");
    for who in ["operator", "administrator"] {
        let seen = node.get(who, &path).await.json();
        assert!(seen.get("mandate").is_none() && seen.get("address").is_none(), "{seen}");
    }
    let ids = |answer: Value| -> Vec<Value> {
        let calls = answer["calls"].as_array().expect("a list");
        calls.iter().map(|call| call["call"].clone()).collect()
    };
    let list = |who: &'static str, query: &'static str| {
        let node = &node;
        async move { ids(node.get(who, &format!("/v1/calls{query}")).await.json()) }
    };
    let (one, two) = (first["call"].clone(), second["call"].clone());
    assert_eq!(list("operator", "").await, [two.clone(), one.clone()], "the newest first");
    assert_eq!(list("centre-1", "").await, std::slice::from_ref(&one), "its own");
    assert_eq!(list("anna", "?state=waiting").await.len(), 2, "those to the own institution");
    assert!(list("dace", "").await.is_empty());
    assert_eq!(list("operator", "?state=open&service=PAK_05").await, std::slice::from_ref(&one));
    assert!(list("operator", "?state=ended").await.is_empty());
    let before = node.get("operator", &format!("/v1/calls?cursor={}", id(&second))).await.json();
    assert_eq!(ids(before), [one]);
    assert_eq!(node.get("operator", "/v1/calls?state=lost").await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_begins_and_is_completed() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    node.post("anna", &path(&call, "accept")).await;
    let (start, complete) = ("/v1/services:start", "/v1/services:complete");
    let begun = json!({"service": "PAK_05", "channel": "in_person", "mandate": "M-17"});
    let visit = node.keyed("centre-1", "POST", start, "v1", &begun).await;
    assert_eq!(visit.status, 200, "{}", String::from_utf8_lossy(&visit.body));
    let again = node.keyed("centre-1", "POST", start, "v1", &begun).await;
    assert_eq!(again.body, visit.body, "the same key, the same bytes");
    let used = node.keyed("centre-1", "POST", start, "k1", &begun).await;
    assert_eq!(used.status, 422, "the key asked for a call");
    let without = json!({"service": "PAK_05", "channel": "in_person"});
    assert_eq!(node.keyed("centre-1", "POST", start, "v2", &without).await.status, 422);
    let carrier = json!({"service": "PAK_10", "channel": "pigeon"});
    assert_eq!(node.keyed("centre-1", "POST", start, "v3", &carrier).await.status, 422);
    node.pass(TimeDelta::minutes(12));
    let done = json!({"visit": visit.json()["visit"], "outcome": "resolved", "call": call["call"]});
    let theirs = node.ask("centre-2", "POST", complete, &done).await;
    assert_eq!(theirs.status, 404, "another centre's");
    for _ in 0..2 {
        let told = node.ask("centre-1", "POST", complete, &done).await.json();
        assert_eq!((&told["state"], &told["outcome"]), (&json!("completed"), &json!("resolved")));
    }
    let mut other = done.clone();
    other["outcome"] = json!("forwarded");
    assert_eq!(node.ask("centre-1", "POST", complete, &other).await.status, 409);
    let told = node.told().await;
    let completed: Vec<_> =
        told.iter().filter(|(_, event)| event.event_type.ends_with("completed")).collect();
    let [(_, event)] = completed.as_slice() else { panic!("once") };
    assert_eq!(event.mandate_number.as_deref(), Some("M-17"));
    assert_eq!(event.official_id.as_deref(), Some("anna"));
    let took = event.completed_at.expect("then") - event.started_at.expect("then");
    assert_eq!(took, 12 * 60 * 1_000_000);
}
