//! Terminals by gRPC: a stream of requests, answered by their ids as over HTTP.

use std::collections::BTreeMap;

use connectors::terminal::wire::{
    self, BasketLine, request::What, response::Outcome, terminal_client::TerminalClient,
};

use super::*;

impl Node {
    /// What somebody's stream is answered, by the requests' ids.
    async fn stream(&self, token: &str, asked: Vec<wire::Request>) -> BTreeMap<String, Outcome> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc));
        let channel = channel.expect("an address").connect().await.expect("connected");
        let bearer = format!("Bearer {token}");
        let with_token = move |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
            Ok(request)
        };
        let mut client = TerminalClient::with_interceptor(channel, with_token);
        let answers = client.authorise(tokio_stream::iter(asked)).await.expect("a stream");
        let (mut answers, mut told) = (answers.into_inner(), BTreeMap::new());
        while let Some(answer) = answers.message().await.expect("an answer") {
            told.insert(answer.id.clone(), answer.outcome.expect("an outcome"));
        }
        told
    }
}

fn request(id: &str, what: What) -> wire::Request {
    wire::Request { id: id.into(), idempotency_key: id.into(), what: Some(what) }
}

/// A sale of a pint of milk.
fn sale() -> wire::Basket {
    wire::Basket {
        terminal_id: "T1".into(),
        occurred_at: noon().to_rfc3339(),
        mode: "sale".into(),
        lines: vec![BasketLine {
            line: 1,
            item: "milk".into(),
            category: "food.milk".into(),
            quantity_thousandths: 1_000,
            unit_price_cents: 150,
            ..BasketLine::default()
        }],
        ..wire::Basket::default()
    }
}

fn problem<'a>(told: &'a BTreeMap<String, Outcome>, id: &str) -> &'a wire::Problem {
    match &told[id] {
        Outcome::Problem(problem) => problem,
        other => panic!("{id}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_grpc_answers_by_id_with_the_same_meaning() {
    let (_folder, node) = node().await;
    let ask = |n: u32| {
        let mode = if n == 99 { "never" } else { "sale" };
        let basket = wire::Basket { mode: mode.into(), ..sale() };
        request(&format!("g{n}"), What::Authorise(basket))
    };
    let token = node.token(Role::Terminal, "shop", "T1");
    let told = node.stream(&token, (0..100).map(ask).collect()).await;
    assert_eq!(told.len(), 100);
    let refused = problem(&told, "g99");
    assert_eq!((refused.status, refused.errors[0].pointer.as_str()), (422, "/mode"));
    let Outcome::Authorisation(one) = &told["g1"] else { panic!("{:?}", told["g1"]) };
    let over_http = json!({"terminal_id": "T1", "occurred_at": said(noon()), "mode": "sale",
        "lines": [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 1, "unit_price_cents": 150}]});
    let same = node.ask("/v1/authorisations", "g1", &over_http).await;
    assert_eq!(same.json(), serde_json::to_value(one).expect("JSON"), "one key, either door");
    assert_eq!(node.clock.now(), noon());
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_by_grpc_at_what_is_not_their_own_is_in_the_audit_trail_too() {
    let (_folder, node) = node().await;
    let sold = node.ask("/v1/authorisations", "s1", &basket("sale", "04A1", 1)).await.json();
    let id = sold["authorisation_id"].as_str().expect("an id").to_owned();
    let look = || vec![request("l", What::LookUp(wire::LookUp { authorisation_id: id.clone() }))];
    for (role, organisation, subject) in [
        (Role::Terminal, "shop", "T1"),
        (Role::Merchant, "shop", "maria"),
        (Role::Grantor, "state", "clerk"),
    ] {
        let told = node.stream(&node.token(role, organisation, subject), look()).await;
        assert!(matches!(told["l"], Outcome::Authorisation(_)), "{told:?}");
    }
    let other = node.stream(&node.token(Role::Merchant, "kiosk", "x"), look()).await;
    assert_eq!(problem(&other, "l").status, 404, "another merchant's does not exist");
    let told = node.told.lock().expect("no panic").clone();
    let told: Vec<_> = told.iter().map(|deed| (&*deed.actor, deed.action, &*deed.object)).collect();
    let seen = |who| (who, "authorisation.read", id.as_str());
    assert_eq!(told, [seen("maria"), seen("clerk")]);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_looks_by_grpc_within_its_pace_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = http::Settings { per_second: 1, at_once: 2, ..Default::default() };
    let node = Node::start(folder.path(), settings).await;
    let unknown = authoriser::claims::key_of("T1", "none").to_string();
    let look = |n: u32| {
        let of = wire::LookUp { authorisation_id: unknown.clone() };
        request(&format!("l{n}"), What::LookUp(of))
    };
    let token = node.token(Role::Terminal, "shop", "T1");
    let told = node.stream(&token, (0..8).map(look).collect()).await;
    let status = |wanted: u32| {
        let of = told.keys().filter(|id| problem(&told, id).status == wanted);
        of.count()
    };
    assert!(status(404) >= 2 && status(429) >= 4, "{told:?}");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_refuses_grpc_refuses_by_the_same_code() {
    let (_folder, node) = node().await;
    let held = node.ask("/v1/authorisations", "r1", &basket("reserve", "04A1", 1)).await.json();
    let id = held["authorisation_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/authorisations/{id}");
    let with = |change: &dyn Fn(&mut BasketLine)| {
        let mut basket = sale();
        change(&mut basket.lines[0]);
        What::Authorise(basket)
    };
    let long = Some("9".repeat(65));
    let undo = |terminal: &str| {
        let (terminal_id, idempotency_key) = (terminal.into(), "x y".into());
        What::Reverse(wire::Reversal { terminal_id, idempotency_key })
    };
    let asked = [
        ("line-0", with(&|line| line.line = 0), "invalid_value", "/lines/0"),
        ("line-1000001", with(&|line| line.line = 1_000_001), "invalid_value", "/lines/0"),
        ("none", with(&|line| line.quantity_thousandths = 0), "invalid_quantity", "/lines/0"),
        ("dear", with(&|line| line.unit_price_cents = i64::MAX), "overflow", "/lines/0"),
        (
            "points",
            What::Authorise(wire::Basket { spend_points: i64::MAX, ..sale() }),
            "invalid_value",
            "/spend_points",
        ),
        (
            "receipt",
            What::Capture(wire::Capture { authorisation_id: id, receipt_number: long }),
            "invalid_value",
            "/receipt_number",
        ),
        ("key", undo("T1"), "invalid_value", "/idempotency_key"),
    ];
    let requests = asked.iter().map(|(id, what, ..)| request(id, what.clone())).collect();
    let token = node.token(Role::Terminal, "shop", "T1");
    let told = node.stream(&token, requests).await;
    for (id, _, code, pointer) in &asked {
        let problem = problem(&told, id);
        let pointers: Vec<_> = problem.errors.iter().map(|fault| &*fault.pointer).collect();
        assert_eq!(
            (problem.status, &*problem.code, pointers),
            (422, *code, vec![*pointer]),
            "{id}"
        );
    }
    let keyless = wire::Request { idempotency_key: String::new(), ..request("k", undo("T1")) };
    let nothing = wire::Request { what: None, ..request("n", undo("T1")) };
    let longest = "l".repeat(65);
    let told = node.stream(&token, vec![keyless, nothing, request(&longest, undo("T1"))]).await;
    let code = |id: &str| (problem(&told, id).status, problem(&told, id).code.clone());
    assert_eq!(code("k"), (400, "idempotency_key".into()), "as without the header");
    assert_eq!([code("n"), code(&longest)], [(422, "invalid_value".into()), code("n")]);
    let still = node.get(Role::Terminal, "shop", "T1", &path).await;
    assert_eq!(still.json()["status"], "reserved");
    node.running.stop().await.expect("stopped");
}
