//! Terminals over the wire: HTTP and gRPC against one authoriser on an embedded log.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use authoriser::{
    authorise::{Authoriser, Parts, Settings},
    claims::Claims,
    fence::Fence,
    index::Index,
    metrics::Metrics,
    service::{self, Bounds, Running},
};
use axum::Router;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, Tokens},
    edge,
    issuer::MeansFiles,
    load::{self, Context},
    registry,
    terminal::{
        grpc,
        http::{self, Door},
    },
};
use domain::id::IssuerId;
use ingest::{
    audit::Deed,
    clock::{Clock, ManualClock},
    log::{
        Log,
        embedded::{self, EmbeddedLog},
        model::{Fault, ModelLog},
    },
    topic::Topic,
    vault::Vault,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, send};

mod client;
mod streams;
mod uploads;

const REGISTRY: &str = include_str!("terminals/registry.yaml");

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

fn said(at: DateTime<Utc>) -> String {
    at.to_rfc3339()
}

struct Node {
    http: SocketAddr,
    grpc: SocketAddr,
    tokens: Tokens,
    log: Arc<dyn Log>,
    running: Running,
    clock: Arc<ManualClock>,
    /// What the audit trail was told.
    told: Arc<Mutex<Vec<Deed>>>,
    /// What operators see.
    prometheus: prometheus::Registry,
}

impl Node {
    async fn start(folder: &Path, settings: http::Settings) -> Self {
        let streams = ingest::metrics::Metrics::register(&prometheus::Registry::new());
        let (place, streams) = (folder.join("log"), streams.expect("metrics"));
        let log = EmbeddedLog::open(&place, &embedded::Settings::default(), streams);
        Self::over(Arc::new(log.expect("a log")), folder, settings).await
    }

    async fn over(log: Arc<dyn Log>, folder: &Path, settings: http::Settings) -> Self {
        let prometheus = prometheus::Registry::new();
        let streams = ingest::metrics::Metrics::register(&prometheus).expect("metrics");
        let vault = Vault::open(&folder.join("keys")).expect("a vault");
        let manual = Arc::new(ManualClock::at(noon()));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        let metrics = connectors::metrics::Metrics::register(&prometheus).expect("metrics");
        let context = Context {
            log: Arc::clone(&log),
            vault: vault.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            streams,
        };
        fill(&context).await;
        let index = Index::open(&folder.join("index"), &log).await.expect("an index");
        let parts = Parts {
            log: Arc::clone(&log),
            vault: vault.clone(),
            clock: Arc::clone(&clock),
            metrics: Metrics::register(&prometheus).expect("metrics"),
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            index,
        };
        let authoriser = Authoriser::embedded(parts, Settings::default()).await.expect("one");
        let (handle, running) = service::start(authoriser, Bounds::default()).expect("started");
        let tokens = Tokens::of(&vault, clock);
        let told: Arc<Mutex<Vec<Deed>>> = Arc::default();
        let deeds = Arc::clone(&told);
        let tell = Arc::new(move |deed| deeds.lock().expect("no panic").push(deed));
        let (own, streams) = (tokens.clone(), context.streams);
        let door = Door::new(handle, vault, own, metrics.clone(), streams, settings);
        let door = door.audited(tell);
        let routes = edge::around(http::routes(door.clone()), Default::default(), metrics);
        let http = open(routes).await;
        let grpc = open(grpc::routes(door).await.expect("routes")).await;
        Self { http, grpc, tokens, log, running, clock: manual, told, prometheus }
    }

    fn token(&self, role: Role, organisation: &str, subject: &str) -> String {
        let identity =
            Identity { role, organisation: organisation.into(), subject: subject.into() };
        self.tokens.issue(&identity, noon() + TimeDelta::days(1)).expect("a token")
    }

    async fn ask(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask_as("T1", path, key, body.to_string().as_bytes()).await
    }

    async fn ask_as(&self, terminal: &str, path: &str, key: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token(Role::Terminal, "shop", terminal));
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        send(self.http, "POST", path, &headers, body).await
    }

    /// The answers to what a terminal did offline.
    async fn upload(&self, lines: &[Value]) -> Vec<Value> {
        let answer = self.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(lines)).await;
        assert_eq!(answer.status, 200);
        answer.lines()
    }

    async fn get(&self, role: Role, organisation: &str, subject: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token(role, organisation, subject));
        send(self.http, "GET", path, &[("authorization", bearer.as_str())], b"").await
    }
}

async fn open(routes: Router) -> SocketAddr {
    crate::serve(routes).await.0
}

/// The registry, and two cards that stand without a person.
async fn fill(context: &Context) {
    let document = registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
    registry::apply(&context.log, &document, context.clock.now()).await.expect("applied");
    let connector = MeansFiles {
        issuers: [IssuerId::new("city-card").expect("an id")].into(),
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
    };
    let line = |value: &str| {
        json!({"person": null, "issuer": "city-card", "kind": "card_uid", "value": value,
            "valid_from": "2025-01-01", "valid_to": null})
    };
    let lines = format!("{}\n{}\n", line("04A1"), line("04A2"));
    let reader = std::io::Cursor::new(lines.into_bytes());
    let account = load::load(context, connector, Box::new(reader), "means", |_| ()).await;
    assert_eq!(account.expect("loaded").taken, 2);
}

fn basket(mode: &str, card: &str, units: u32) -> Value {
    json!({"terminal_id": "T1", "occurred_at": said(noon()), "mode": mode,
        "means": {"kind": "card_uid", "value": card},
        "lines": [{"line": 1, "item": "milk", "category": "food.milk", "quantity": units, "unit_price_cents": 150}]})
}

async fn node() -> (TempDir, Node) {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), http::Settings::default()).await;
    (folder, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_reserves_captures_and_refunds() {
    let (_folder, node) = node().await;
    let held = node.ask("/v1/authorisations", "r1", &basket("reserve", "04A1", 3)).await;
    assert_eq!(held.status, 200);
    assert!(held.headers.contains_key("x-request-id"));
    let told = held.json();
    assert_eq!((&told["status"], &told["benefit_cents"]), (&json!("reserved"), &json!(300)));
    assert_eq!(told["lines"][0]["benefits"][0]["label"], json!({"lv": "Piens", "en": "Milk"}));
    assert_eq!(
        told["remaining"],
        json!([{"instruction": "milk", "per": "recipient",
        "period": "month", "measure": "units", "left": 1}])
    );
    assert_eq!(told["explanation"][0]["text"]["lv"], "Piens: −3,00 EUR");
    let again = node.ask("/v1/authorisations", "\"r1\"", &basket("reserve", "04A1", 3)).await;
    assert_eq!(again.body, held.body, "the same key, the same bytes");
    let other = node.ask("/v1/authorisations", "r1", &basket("reserve", "04A1", 2)).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("key_reused")));
    let id = told["authorisation_id"].as_str().expect("an id");
    let path = |what: &str| format!("/v1/authorisations/{id}/{what}");
    let receipt = json!({"receipt": {"number": "17", "register": "2"}});
    let captured = node.ask(&path("capture"), "c1", &receipt).await;
    assert_eq!(captured.json()["status"], "captured");
    let void = node.ask_as("T2", &path("void"), "v1", b"").await;
    assert_eq!((void.status, &void.json()["code"]), (409, &json!("wrong_state")));
    let back = json!({"lines": [{"line": 1, "quantity": 1}]});
    let refunded = node.ask(&path("refunds"), "f1", &back).await.json();
    assert_eq!(refunded["status"], "partially_refunded");
    assert_eq!(refunded["refunds"][0]["refunded_cents"], 50);
    let seen = node.get(Role::Terminal, "shop", "T1", &format!("/v1/authorisations/{id}")).await;
    assert_eq!(seen.json(), refunded);
    let hidden = node.get(Role::Merchant, "kiosk", "x", &format!("/v1/authorisations/{id}")).await;
    assert_eq!(hidden.status, 404, "another merchant's does not exist");
    let path = format!("/v1/authorisations/{id}?explain=full");
    let explained = node.get(Role::Grantor, "state", "clerk", &path).await.json();
    assert_eq!(explained["explanation"][0]["instruction"], "milk");
    let told = node.told.lock().expect("no panic").clone();
    let told: Vec<_> = told.iter().map(|deed| (&*deed.role, deed.action, &*deed.object)).collect();
    assert_eq!(told, [("grantor", "authorisation.read", id)], "who saw what is not their own");
    let undone = json!({"terminal_id": "T1", "idempotency_key": "r1"});
    let undone = node.ask("/v1/reversals", "x1", &undone).await.json();
    assert_eq!(undone["outcome"], "refunded");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grantor_sees_its_own_part_of_a_basket_and_nothing_else_that_was_bought() {
    let (_folder, node) = node().await;
    let mut bought = basket("sale", "04A1", 1);
    let bread = json!({"line": 2, "item": "bread", "quantity": 2, "unit_price_cents": 250});
    bought["lines"].as_array_mut().expect("lines").push(bread);
    let sold = node.ask("/v1/authorisations", "s1", &bought).await.json();
    let path = format!("/v1/authorisations/{}", sold["authorisation_id"].as_str().expect("an id"));
    let back = json!({"lines": [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]});
    node.ask(&format!("{path}/refunds"), "f1", &back).await;
    let sums =
        |of: &Value| ["total_cents", "benefit_cents", "payable_cents"].map(|key| of[key].clone());
    let whole = node.get(Role::Merchant, "shop", "x", &path).await.json();
    assert_eq!(sums(&whole), [650, 100, 550].map(Value::from));
    for path in [&path, &format!("{path}?explain=full")] {
        let part = node.get(Role::Grantor, "state", "clerk", path).await.json();
        assert_eq!(sums(&part), [150, 100, 50].map(Value::from));
        assert_eq!(part["lines"], json!([whole["lines"][0]]));
        let told = &part["refunds"][0];
        assert_eq!((&told["refunded_cents"], &told["benefit_cents"]), (&json!(50), &json!(100)));
        assert_eq!(told["lines"], json!([whole["refunds"][0]["lines"][0]]));
    }
    node.running.stop().await.expect("stopped");
}

const PROBLEM: &str = "application/problem+json";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_place() {
    let (_folder, node) = node().await;
    let mut wrong = basket("sale", "04A1", 1);
    wrong["occured_at"] = json!("typo");
    wrong["lines"][0]["quantity"] = json!(0);
    wrong["mode"] = json!("offline");
    let answer = node.ask("/v1/authorisations", "s1", &wrong).await;
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    let told = problem["errors"].as_array().expect("faults").iter().map(|of| &of["pointer"]);
    let mut told: Vec<_> = told.map(|pointer| pointer.as_str().expect("text")).collect();
    told.sort_unstable();
    assert_eq!(told, ["/lines/0", "/mode", "/occured_at"]);
    let garbage = node.ask_as("T1", "/v1/authorisations", "s1", b"{").await;
    assert_eq!((garbage.status, &garbage.json()["code"]), (400, &json!("malformed_json")));
    let long = vec![b' '; 300 << 10];
    assert_eq!(node.ask_as("T1", "/v1/authorisations", "s1", &long).await.status, 413);
    let of_another = basket("sale", "04A1", 1).to_string();
    let foreign = node.ask_as("T2", "/v1/authorisations", "s1", of_another.as_bytes()).await;
    assert_eq!(foreign.status, 403, "a terminal speaks for itself");
    let nobody = send(node.http, "POST", "/v1/authorisations", &[], b"{}").await;
    assert_eq!((nobody.status, nobody.headers["www-authenticate"].as_str()), (401, "Bearer"));
    let bearer = format!("Bearer {}", node.token(Role::Terminal, "shop", "T1"));
    let keyless = [("authorization", bearer.as_str())];
    let keyless = send(node.http, "POST", "/v1/authorisations", &keyless, b"{}").await;
    assert_eq!((keyless.status, &keyless.json()["code"]), (400, &json!("idempotency_key")));
    let late = TimeDelta::minutes(11);
    let mut early = basket("sale", "04A1", 1);
    early["occurred_at"] = json!(said(noon() - late));
    assert_eq!(node.ask("/v1/authorisations", "s1", &early).await.json()["code"], "clock_off");
    let nowhere = send(node.http, "GET", "/v1/nowhere", &[], b"").await;
    assert_eq!((nowhere.status, &nowhere.json()["code"]), (404, &json!("not_found")));
    let method = send(node.http, "DELETE", "/v1/reversals", &[], b"").await;
    assert_eq!((method.status, method.headers["allow"].as_str()), (405, "POST"));
    for refused in [&answer, &garbage, &foreign, &nobody, &keyless, &nowhere, &method] {
        let (problem, kind) = (refused.json(), &refused.headers["content-type"]);
        assert_eq!((&problem["status"], kind.as_str()), (&json!(refused.status), PROBLEM));
        let named = &problem["instance"];
        assert_eq!(named, &format!("urn:avis:request:{}", refused.headers["x-request-id"]));
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
    }
    // A short one may be somebody's.
    let whose = [("x-request-id", "010180-12346")];
    let hidden = send(node.http, "GET", "/v1/nowhere", &whose, b"").await;
    assert_eq!(hidden.headers["x-request-id"], "010180-12346");
    let named = hidden.json()["instance"].as_str().expect("a name").to_owned();
    assert!(named.starts_with("urn:avis:request:") && !named.contains("010180"), "{named}");
    let fine = node.ask("/v1/authorisations", "s1", &basket("sale", "04A1", 1)).await;
    assert_eq!(fine.status, 200, "a refused request leaves its key free");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_asks_too_often_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = http::Settings { per_second: 1, at_once: 2, ..Default::default() };
    let node = Node::start(folder.path(), settings).await;
    for key in ["a", "b"] {
        assert_eq!(
            node.ask("/v1/authorisations", key, &basket("sale", "04A1", 1)).await.status,
            200
        );
    }
    let third = node.ask("/v1/authorisations", "c", &basket("sale", "04A1", 1)).await;
    assert_eq!((third.status, third.headers["retry-after"].as_str()), (429, "1"));
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_room_hears_so_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = http::Settings { decided_at_once: 1, ..Default::default() };
    let node = Arc::new(Node::start(folder.path(), settings).await);
    let asks = (0..64).map(|number| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let (key, sale) = (format!("k{number}"), basket("sale", "04A1", 1));
            (key.clone(), node.ask("/v1/authorisations", &key, &sale).await)
        })
    });
    let mut turned_away = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        let (key, answer) = ask.await.expect("asked");
        if answer.status == 200 {
            continue;
        }
        assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"));
        assert_eq!(answer.json()["code"], "busy");
        turned_away.push(key);
    }
    assert!((1..64).contains(&turned_away.len()), "{turned_away:?}");
    for key in &turned_away {
        let answer = node.ask("/v1/authorisations", key, &basket("sale", "04A1", 1)).await;
        assert_eq!(answer.status, 200, "its key is free");
    }
    let topic = Topic::Authorisations;
    let ends = (0..node.log.partitions(topic)).map(|of| node.log.end(topic, of).expect("an end"));
    assert!(ends.sum::<u64>() >= 64, "each is on the stream");
}

fn offline(key: &str, units: u32, applied: Option<u32>) -> Value {
    let mut upload = basket("offline", "04A2", units);
    upload["idempotency_key"] = json!(key);
    upload["occurred_at"] = json!(said(noon() - TimeDelta::hours(3)));
    if let Some(cents) = applied {
        upload["applied"] = json!([{"instruction": "milk", "line": 1, "amount_cents": cents}]);
    }
    upload
}

fn ndjson(lines: &[Value]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_the_same_verdict_however_it_comes_again() {
    let (_folder, node) = node().await;
    let old = json!(said(noon() - TimeDelta::days(41)));
    let mut too_old = offline("u4", 1, None);
    too_old["occurred_at"] = old;
    let lines = [
        offline("u1", 3, None),
        json!({"terminal_id": "T1"}),
        offline("u2", 2, Some(200)),
        offline("u3", 1, None),
        too_old,
    ];
    let first = node.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(&lines)).await;
    let told = first.lines();
    let status: Vec<_> = told.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(status, [200, 422, 200, 200, 422].map(Some));
    let benefit = |at: usize| &told[at]["authorisation"]["lines"][0]["benefits"][0];
    assert_eq!(benefit(0)["amount_cents"], 300);
    assert_eq!(
        (&benefit(2)["amount_cents"], &benefit(2)["excess_cents"]),
        (&json!(100), &json!(100))
    );
    assert_eq!(benefit(2)["excess_borne_by"], "grantor");
    assert_eq!(told[4]["problem"]["code"], "too_old");
    let verdicts = |answer: &Answer, order: &[usize]| -> Vec<Value> {
        let lines = answer.lines();
        order.iter().map(|at| lines[*at]["authorisation"].clone()).collect()
    };
    let expected = verdicts(&first, &[0, 2, 3]);
    for _ in 0..2 {
        let again = node.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(&lines)).await;
        assert_eq!(verdicts(&again, &[0, 2, 3]), expected);
    }
    let reversed: Vec<Value> = lines.iter().rev().cloned().collect();
    let again = node.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(&reversed)).await;
    assert_eq!(verdicts(&again, &[4, 2, 1]), expected);
    for (part, at) in [(&lines[..1], 0), (&lines[2..3], 1), (&lines[3..4], 2)] {
        let again = node.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(part)).await;
        assert_eq!(verdicts(&again, &[0]), expected[at..=at]);
    }
    let other = offline("u1", 2, None);
    let other = node.ask_as("T1", "/v1/transactions:batch", "-", &ndjson(&[other])).await;
    assert_eq!(other.lines()[0]["problem"]["code"], "key_reused");
    assert_eq!(node.log.end(Topic::TerminalTransactions, 0).expect("an end"), 3);
    let letters = node.log.end(Topic::DeadLetters, 0).expect("an end");
    assert!(letters >= 3, "{letters} dead letters");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_given_too_much_offline_gets_back_what_was_paid() {
    let (_folder, node) = node().await;
    let mut much = offline("u2", 2, Some(200));
    let gone = json!({"instruction": "gone", "line": 1, "amount_cents": 40});
    much["applied"].as_array_mut().expect("a list").push(gone);
    let told = node.upload(&[offline("u1", 3, None), much]).await;
    // Of three euro the terminal gave 2.40, all but one euro of it beyond ours.
    let id = told[1]["authorisation"]["authorisation_id"].as_str().expect("an id");
    let back = json!({"lines": [{"line": 1, "quantity": 1}]});
    let refunded = node.ask(&format!("/v1/authorisations/{id}/refunds"), "f1", &back).await.json();
    let told = &refunded["refunds"][0];
    assert_eq!((&told["refunded_cents"], &told["benefit_cents"]), (&json!(30), &json!(50)));
    let nobody = node.get(Role::Grantor, "", "x", &format!("/v1/authorisations/{id}")).await;
    assert_eq!(nobody.status, 404, "an instruction that is gone is no grantor's");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_streams_take_nothing_each_line_is_told_so_and_what_is_known_stands() {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), Arc::new(ModelLog::default()));
    let streams: Arc<dyn Log> = Arc::<ModelLog>::clone(&log);
    let node = Node::over(streams, folder.path(), http::Settings::default()).await;
    let status = |told: &[Value]| -> Vec<String> {
        told.iter().map(|of| format!("{} {}", of["line"], of["status"])).collect()
    };
    let known = offline("u1", 1, None);
    let first = node.upload(std::slice::from_ref(&known)).await;
    let lines = [known, json!({"terminal_id": "T1"}), offline("u2", 1, None)];
    log.die_at(0, Fault::Before);
    let away = node.upload(&lines).await;
    assert_eq!(status(&away), ["1 200", "2 503", "3 503", "4 503"], "{away:?}");
    assert_eq!(away[0], first[0]);
    assert_eq!(away[3]["problem"]["code"], "not_ready");
    assert_eq!(away[3]["problem"]["retry_after_seconds"], 1);
    log.revive();
    let again = node.upload(&lines).await;
    assert_eq!(status(&again), ["1 200", "2 422", "3 200"], "{again:?}");
    assert_eq!(again[0], first[0]);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_streams_do_not_answer_lines_are_told_so_in_time_and_decided_once() {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), Arc::new(ModelLog::default()));
    let streams: Arc<dyn Log> = Arc::<ModelLog>::clone(&log);
    let settings = http::Settings { patience: Duration::from_millis(200), ..Default::default() };
    let node = Node::over(streams, folder.path(), settings).await;
    let line = offline("u1", 1, None);
    log.hold(true);
    let late = node.upload(std::slice::from_ref(&line)).await;
    let codes: Vec<_> = late.iter().map(|of| of["problem"]["code"].clone()).collect();
    assert_eq!(codes, ["late", "not_ready"], "the line, and that no more are read: {late:?}");
    log.hold(false);
    // It may take longer than this patience to decide it, so it is asked as a terminal asks.
    let asked = async {
        loop {
            let told = node.upload(std::slice::from_ref(&line)).await;
            if told[0]["status"] == 200 {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("decided");
    assert_eq!(told.len(), 1);
    assert_eq!(node.upload(&[line]).await, told, "again, the same");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_spoils_no_other() {
    let (_folder, node) = node().await;
    let mut upload = ndjson(&[offline("u1", 1, None)]);
    upload.extend(vec![b'x'; 300_000]);
    upload.push(b'\n');
    upload.extend(ndjson(&[offline("u2", 1, None)]));
    let told = node.ask_as("T1", "/v1/transactions:batch", "-", &upload).await.lines();
    let told: Vec<_> = told.iter().map(|of| (&of["line"], &of["status"])).collect();
    let [ok, refused] = [json!(200), json!(422)];
    assert_eq!(told, [(&json!(1), &ok), (&json!(2), &refused), (&json!(3), &ok)]);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_online_stands_when_it_is_uploaded_too() {
    let (_folder, node) = node().await;
    let online = node.ask("/v1/authorisations", "u1", &basket("sale", "04A2", 2)).await.json();
    let upload = ndjson(&[offline("u1", 3, None)]);
    let answer = node.ask_as("T1", "/v1/transactions:batch", "-", &upload).await;
    assert_eq!(answer.lines()[0]["authorisation"], online);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_is_signed_and_tells_what_changed_since() {
    let (_folder, node) = node().await;
    let signed = node.get(Role::Terminal, "shop", "T1", "/v1/terminals/T1/offline-kit").await;
    assert_eq!(signed.status, 200);
    let (whole, key) = opened(&signed.json());
    assert_eq!(whole["instructions"][0]["id"], "milk");
    assert_eq!(whole["caps"]["uses_per_card_and_day"], 4);
    assert!(whole["groups"]["nobody"]["bits"].as_u64().expect("bits") > 0);
    let version = whole["version"].as_str().expect("a version");
    let path = format!("/v1/terminals/T1/offline-kit?since={version}");
    let (delta, again) = opened(&node.get(Role::Terminal, "shop", "T1", &path).await.json());
    assert_eq!(again, key);
    assert_eq!((&delta["since"], &delta["instructions"]), (&json!(version), &json!(null)));
    // The next day it reaches one day further, and others may be in the groups: nothing was read.
    node.clock.advance_to(noon() + TimeDelta::hours(13));
    let (later, _) = opened(&node.get(Role::Terminal, "shop", "T1", &path).await.json());
    assert_eq!(later["since"], version);
    assert_eq!(later["instructions"][0]["id"], "milk");
    assert!(later["groups"]["nobody"].is_object(), "{later}");
    let other = node.get(Role::Terminal, "shop", "T2", "/v1/terminals/T1/offline-kit").await;
    assert_eq!(other.status, 403);
    node.running.stop().await.expect("stopped");
}

/// A kit whose signature holds, and the key that it names.
fn opened(signed: &Value) -> (Value, Vec<u8>) {
    let part = |name: &str| signed[name].as_str().expect("text").to_owned();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base 64");
    let header: Value = serde_json::from_slice(&decode(&part("protected"))).expect("JSON");
    let key = decode(header["jwk"]["x"].as_str().expect("a key"));
    let said = format!("{}.{}", part("protected"), part("payload"));
    let verifying = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &key);
    verifying.verify(said.as_bytes(), &decode(&part("signature"))).expect("a true signature");
    (serde_json::from_slice(&decode(&part("payload"))).expect("JSON"), key)
}
