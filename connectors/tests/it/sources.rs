//! Events over the wire: single, in batches and in lines; what is refused, what is missing, and bodies
//! that are too large, too slow or cut.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, middleware};
use chrono::TimeDelta;
use connectors::{
    access::{Identity, Role, Tokens},
    edge,
    known::Known,
    load, registry,
    source::{
        self, Door, Settings,
        http::{self, Description},
    },
    vpvkac::CentreEvents,
};
use ingest::{
    log::{Log, model::ModelLog},
    register::people::People,
    topic::Topic,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use utoipa::OpenApi;

use crate::{
    Node,
    client::{Answer, parse, send},
};

const SINGLE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";
const CODE: &str = "326180-33995";
const REGISTRY: &str = r#"{"centres": [{"id": "ligatne", "name": "Library", "kind": "library",
    "territory": "LV0054010", "lat": 57.2, "lon": 25.0}]}"#;

struct Served {
    node: Node,
    at: SocketAddr,
    tokens: Tokens,
}

impl Served {
    async fn start(settings: Settings) -> Self {
        let node = Node::new();
        let document =
            registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
        let now = node.context.clock.now();
        registry::apply(&node.context.log, &document, now).await.expect("applied");
        let (tokens, at) = serve(&node, settings).await;
        Self { node, at, tokens }
    }

    /// The same streams behind another door, which knows nothing yet.
    async fn again(self) -> Self {
        let (tokens, at) = serve(&self.node, Settings::default()).await;
        Self { node: self.node, at, tokens }
    }

    fn bearer(&self, role: Role, organisation: &str) -> String {
        let (organisation, subject) = (organisation.into(), "system-1".into());
        let identity = Identity { role, organisation, subject };
        let until = self.node.context.clock.now() + TimeDelta::days(1);
        format!("Bearer {}", self.tokens.issue(&identity, until).expect("a token"))
    }

    async fn post(&self, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_as("", "/v1/events", kind, body).await
    }

    async fn post_as(
        &self,
        source: &str,
        path: &str,
        kind: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let bearer = self.bearer(Role::Source, source);
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        send(self.at, "POST", path, &headers, body.as_ref()).await
    }

    async fn get(&self, role: Role, organisation: &str, path: &str) -> Answer {
        let bearer = self.bearer(role, organisation);
        send(self.at, "GET", path, &[("authorization", bearer.as_str())], b"").await
    }

    /// The head of an upload of lines, with whatever says how long it is.
    fn head(&self, length: &str) -> String {
        let bearer = self.bearer(Role::Source, "");
        format!(
            "POST /v1/events HTTP/1.1\r\nhost: avis\r\nauthorization: {bearer}\r\n\
             content-type: {LINES}\r\n{length}\r\n\r\n"
        )
    }

    /// Waits until operators are told of so many gaps.
    async fn until_gaps_are(&self, open: usize) {
        let line = format!("\n{} {open}\n", connectors::metrics::GAPS);
        let told = async {
            let encoder = prometheus::TextEncoder::new();
            let text = || encoder.encode_to_string(&self.node.metrics.gather()).expect("a text");
            while !text().contains(&line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("gaps are told");
    }

    async fn present(&self) -> usize {
        let mut people = People::default();
        for record in self.node.records(Topic::PersonChanges).await {
            let position = ingest::record::Position { partition: 0, offset: 0 };
            let stored = ingest::record::Stored { position, record };
            people.apply(&self.node.context.vault, &stored).expect("a readable person");
        }
        people.iter().filter(|(_, person)| person.is_present()).count()
    }
}

/// As a node lets wait by default.
const DEADLINE: edge::Deadline =
    edge::Deadline { changing: Duration::from_secs(60), reading: Duration::from_secs(600) };

async fn serve(node: &Node, settings: Settings) -> (Tokens, SocketAddr) {
    serve_within(node, settings, DEADLINE).await
}

async fn serve_within(
    node: &Node,
    settings: Settings,
    deadline: edge::Deadline,
) -> (Tokens, SocketAddr) {
    let context = &node.context;
    let tokens = Tokens::of(&context.vault, Arc::clone(&context.clock));
    let door = Door::new(
        context.clone(),
        tokens.clone(),
        Known::default(),
        registry::Current::default(),
        settings,
    );
    let metrics = context.metrics.clone();
    let routes = http::routes(door);
    let routes = routes.layer(middleware::from_fn_with_state(deadline, edge::detached));
    let routes: Router = edge::around(routes, Description::openapi(), metrics);
    let (at, _) = crate::serve(routes).await;
    (tokens, at)
}

fn event(id: &str, kind: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/somewhere", "type": kind,
           "time": "2025-01-31T23:30:00Z", "data": data})
}

fn change(id: &str, person: &str, sequence: u64) -> Value {
    let attributes = json!({"birth_date": "1980-01-01", "status": "alive"});
    let data = json!({"person": person, "sequence": sequence, "attributes": attributes});
    event(id, "lv.dagr.person.changed", data)
}

fn service(id: &str) -> Value {
    let data = json!({"service": "PAK_01", "centre": "ligatne"});
    event(id, "lv.vpvkac.service.completed", data)
}

fn login(id: &str) -> Value {
    event(id, "lv.portal.login", json!({"basket": "public", "means": "eid", "user": "Anna"}))
}

fn snapshot(name: &str, people: std::ops::Range<u64>, says: u64) -> String {
    let line = |at: u64| {
        let mut line = change(&format!("{name}-{at}"), &format!("320000-{at:05}"), 1);
        if at == people.start {
            line["snapshot"] = json!(true);
            line["snapshotcount"] = json!(says);
        }
        format!("{line}\n")
    };
    people.clone().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_has_not_happened_is_refused() {
    let served = Served::start(Settings::default()).await;
    let now = served.node.context.clock.now();
    let at = |minutes: i64| {
        let mut event = service(&format!("in {minutes}"));
        event["time"] = json!((now + TimeDelta::minutes(minutes)).to_rfc3339());
        event
    };
    let told = served.post(BATCH, json!([at(9), at(11), at(60 * 24 * 365)]).to_string()).await;
    let told = told.json();
    assert_eq!(told["taken"], 1, "a clock may be a little ahead: {told}");
    let refused = told["refused"].as_array().expect("a list");
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|of| of["problem"]["code"] == "invalid_value"), "{told}");
    assert_eq!(served.node.dead_letters().await.len(), 2, "kept, for when its time has come");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_taken_known_or_refused_by_itself() {
    let served = Served::start(Settings::default()).await;
    let mut nowhere = service("s2");
    nowhere["data"]["centre"] = json!("nowhere");
    let batch = json!([
        change("d1", CODE, 1),
        nowhere,
        service("s1"),
        7,
        login("p1"),
        event("x1", "com.other.thing", json!({}))
    ]);
    let told = served.post(BATCH, batch.to_string()).await;
    assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.body));
    let told = told.json();
    assert_eq!((&told["taken"], &told["already_there"]), (&json!(3), &json!(0)), "{told}");
    let refused: Vec<_> = told["refused"].as_array().expect("a list").iter().collect();
    let named = |of: &Value| (of["index"].clone(), of["id"].clone(), of["problem"]["code"].clone());
    let expected = [
        (json!(1), json!("s2"), json!("unknown_reference")),
        (json!(3), Value::Null, json!("missing_field")),
        (json!(5), json!("x1"), json!("unknown_type")),
    ];
    assert_eq!(refused.iter().map(|of| named(of)).collect::<Vec<_>>(), expected);
    let letters = served.node.dead_letters().await;
    let kept: Vec<_> = letters.iter().map(|of| (of.line, of.connector.as_str())).collect();
    assert_eq!(kept, [(2, "vpvkac"), (4, "source"), (6, "source")]);
    for topic in [Topic::PersonChanges, Topic::ServiceEvents, Topic::PortalEvents] {
        assert_eq!(served.node.records(topic).await.len(), 1, "{topic}");
    }

    let again = served.post(BATCH, batch.to_string()).await.json();
    assert_eq!((&again["taken"], &again["already_there"]), (&json!(0), &json!(3)));
    let served = served.again().await;
    let lines = format!("{}\n\n{}\n{}", change("d1", CODE, 1), service("s1"), login("p2"));
    let told = served.post("application/x-ndjson; charset=utf-8", &lines).await.json();
    assert_eq!((&told["taken"], &told["already_there"]), (&json!(1), &json!(2)), "{told}");
    let mut other = service("s1");
    other["data"]["outcome"] = json!("another");
    let told = served.post(LINES, format!("\n{other}\n")).await.json();
    assert_eq!(told["refused"][0]["line"], 2);
    assert_eq!(told["refused"][0]["problem"]["code"], "duplicate_key");
    assert_eq!(served.node.dead_letters().await.len(), 4, "the same is kept once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_event_is_told_with_all_that_is_wrong() {
    let served = Served::start(Settings::default()).await;
    let fine = served.post(SINGLE, change("d1", CODE, 1).to_string()).await;
    assert_eq!((fine.status, &fine.json()["taken"]), (200, &json!(1)));
    let without = |field: &str| {
        let mut event = service("s1");
        event.as_object_mut().expect("an object").remove(field);
        event.to_string()
    };
    let with = |field: &str, value: Value| {
        let mut event = service("s1");
        event[field] = value;
        event.to_string()
    };
    let twice = r#"{"specversion":"1.0","id":"1","id":"2","type":"lv.portal.login"}"#.to_owned();
    for (body, status, code) in [
        ("{".to_owned(), 400, "malformed_json"),
        ("[]".to_owned(), 422, "missing_field"),
        (without("specversion"), 422, "missing_field"),
        (without("id"), 422, "missing_field"),
        (without("type"), 422, "missing_field"),
        (without("data"), 422, "missing_field"),
        (with("specversion", json!("0.3")), 422, "invalid_value"),
        (with("time", json!("yesterday")), 422, "invalid_value"),
        (with("id", json!(7)), 422, "wrong_type"),
        (with("type", json!("lv.vpvkac.call.sung")), 422, "unknown_type"),
        (twice, 422, "invalid_value"),
    ] {
        let answer = served.post(SINGLE, &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let both = json!({"id": 7, "type": "lv.vpvkac.call.rated", "data": {"rating": 9}}).to_string();
    let told = served.post(SINGLE, both).await.json();
    let detail = told["detail"].as_str().expect("a text");
    for named in
        ["specversion is missing", "/id", "source is missing", "/data: call", "/data/rating"]
    {
        assert!(detail.contains(named), "{named}: {detail}");
    }
    let letters = served.node.dead_letters().await.len();
    assert_eq!(letters, 12, "each is kept");
    let no_list = served.post(BATCH, service("s1").to_string()).await;
    assert_eq!((no_list.status, &no_list.json()["code"]), (422, &json!("wrong_type")));
    assert_eq!(served.post(BATCH, "[{]").await.status, 400);
    assert_eq!(served.post("text/plain", "x").await.status, 415);
    assert_eq!(served.node.dead_letters().await.len(), letters + 2);
    assert_eq!(served.node.records(Topic::ServiceEvents).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_out_of_order_leave_a_gap_until_the_missing_ones_come() {
    let served = Served::start(Settings::default()).await;
    let batch = json!([change("e1", CODE, 1), change("e5", CODE, 5)]);
    let told = served.post(BATCH, batch.to_string()).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert!(!text.contains("326180"), "{text}");
    let gap = told.json()["gaps"][0].clone();
    let said = (&gap["event_id"], &gap["sequence"], &gap["missing_from"], &gap["missing_to"]);
    assert_eq!(said, (&json!("e5"), &json!(5), &json!(2), &json!(4)));

    let late = json!([change("e3", CODE, 3), change("e1-again", CODE, 1)]);
    let told = served.post(BATCH, late.to_string()).await.json();
    assert_eq!((&told["taken"], &told["older"]), (&json!(1), &json!(1)), "{told}");
    let listed = served.get(Role::Source, "dagr", "/v1/events/gaps").await.json();
    assert_eq!(listed["open"], 2);
    let served = served.again().await;
    let context = served.node.context.clone();
    let watching =
        tokio::spawn(async move { source::watch_gaps(&context, &Known::default()).await });
    served.until_gaps_are(2).await;
    let rebuilt = served.get(Role::Operator, "", "/v1/events/gaps").await;
    assert!(!String::from_utf8_lossy(&rebuilt.body).contains("326180"));
    assert_eq!(rebuilt.json(), listed, "it is a view of the stream");
    let missing = |gap: &Value| (gap["missing_from"].clone(), gap["missing_to"].clone());
    let gaps: Vec<_> = listed["gaps"].as_array().expect("a list").iter().map(missing).collect();
    assert_eq!(gaps, [(json!(2), json!(2)), (json!(4), json!(4))]);
    assert!(listed["gaps"].as_array().expect("a list").iter().all(|of| of["event_id"] == "e5"));
    let person = listed["gaps"][0]["person"].as_str().expect("an id").to_owned();
    let page = format!("/v1/events/gaps?cursor={person}.2");
    let rest = served.get(Role::Operator, "", &page).await.json();
    assert_eq!(rest["gaps"].as_array().map(Vec::len), Some(1));
    assert_eq!(served.get(Role::Operator, "", "/v1/events/gaps?cursor=x").await.status, 422);

    let late = json!([change("e2", CODE, 2), change("e4", CODE, 4), change("e5b", CODE, 5)]);
    let told = served.post(BATCH, late.to_string()).await.json();
    assert_eq!((&told["taken"], &told["older"]), (&json!(2), &json!(1)));
    assert_eq!(served.get(Role::Operator, "", "/v1/events/gaps").await.json()["open"], 0);
    served.until_gaps_are(0).await;
    watching.abort();
    let records = served.node.records(Topic::PersonChanges).await;
    let told: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(told, [1, 5, 3, 2, 4], "what came late is on the stream");
    let (mut people, vault) = (People::default(), &served.node.context.vault);
    for record in records {
        let position = ingest::record::Position { partition: 0, offset: 0 };
        people.apply(vault, &ingest::record::Stored { position, record }).expect("readable");
    }
    assert!(people.iter().all(|(_, person)| person.sequence() == 5), "and changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_streams_take_nothing_there_is_an_answer_in_time_and_the_event_is_taken_once() {
    let mut served = Served::start(Settings::default()).await;
    let log = Arc::new(ModelLog::default());
    served.node.context.log = Arc::clone(&log) as Arc<dyn Log>;
    let deadline = edge::Deadline { changing: Duration::from_millis(500), ..DEADLINE };
    (served.tokens, served.at) = serve_within(&served.node, Settings::default(), deadline).await;
    log.hold(true);
    let event = change("e1", CODE, 1).to_string();
    for _ in 0..2 {
        let late = served.post(SINGLE, &event).await;
        assert_eq!((late.status, &late.json()["code"]), (503, &json!("late")));
        assert_eq!(late.headers["retry-after"], "1");
    }
    log.hold(false);
    // Both that were given up are dealt with before this one, which therefore is known already.
    let told = served.post(SINGLE, &event).await.json();
    assert_eq!((&told["taken"], &told["already_there"]), (&json!(0), &json!(1)), "{told}");
    assert_eq!(served.node.records(Topic::PersonChanges).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_looked_for_again_where_the_stream_could_not_be_read() {
    let served = Served::start(Settings::default()).await;
    served.post(BATCH, json!([change("e1", CODE, 1), change("e3", CODE, 3)]).to_string()).await;
    let log = Arc::new(ModelLog::default());
    let records = served.node.records(Topic::PersonChanges).await;
    log.append(Topic::PersonChanges, &records).await.expect("appended");
    let context =
        load::Context { log: Arc::clone(&log) as Arc<dyn Log>, ..served.node.context.clone() };
    let checked = format!("\n{} ", connectors::metrics::GAPS_CHECKED);
    let when = || {
        let encoder = prometheus::TextEncoder::new();
        let told = encoder.encode_to_string(&served.node.metrics.gather()).expect("a text");
        let (_, rest) = told.split_once(&checked).expect("it is told");
        let (figure, _) = rest.split_once('\n').expect("a line");
        figure.parse::<f64>().expect("a number")
    };
    let known = Known::default();
    let mut watching = pin!(source::watch_gaps(&context, &known));
    log.fail_reads(true);
    let ended = tokio::time::timeout(Duration::from_millis(20), &mut watching).await;
    assert!(ended.is_err(), "a look that fails ends nothing");
    assert!(when() < 1.0, "nothing was seen");
    log.fail_reads(false);
    tokio::select! {
        () = &mut watching => panic!("it ends"),
        () = served.until_gaps_are(1) => {}
    }
    assert!(when() > 1.0, "it is said when they were looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_removes_who_is_missing_only_when_it_is_whole() {
    let served = Served::start(Settings::default()).await;
    let whole = served.post(LINES, snapshot("a", 0..200, 200)).await.json();
    assert_eq!((&whole["taken"], &whole["removed"]), (&json!(200), &json!(0)));
    let cut = served.post(LINES, snapshot("b", 1..150, 199)).await;
    assert_eq!((cut.status, &cut.json()["code"]), (422, &json!("snapshot_cut")));
    // The connection ends in the middle of a line, and what was promised does not come.
    let text = snapshot("c", 1..200, 199);
    for length in [format!("content-length: {}", text.len()), "transfer-encoding: chunked".into()] {
        let mut stream = TcpStream::connect(served.at).await.expect("connected");
        let half = &text[..text.len() / 2];
        let half = match length.starts_with("content") {
            true => half.to_owned(),
            false => format!("{:x}\r\n{half}\r\n", half.len()),
        };
        let request = format!("{}{half}", served.head(&length));
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("ended");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let told = String::from_utf8_lossy(&answer);
        assert!(!told.contains("200 OK"), "{told}");
    }
    assert_eq!(served.present().await, 200);
    let bad = snapshot("d", 1..200, 199).replace("320000-00007", "nobody");
    let told = served.post(LINES, bad).await.json();
    assert_eq!((&told["removed"], served.present().await), (&json!(0), 200));
    let whole = served.post(LINES, snapshot("e", 1..200, 199)).await.json();
    assert_eq!((&whole["removed"], served.present().await), (&json!(1), 199), "{whole}");
    let many = snapshot("f", 1..100, 99);
    let refused = served.post(LINES, &many).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("snapshot_removes")));
    assert_eq!(served.present().await, 199);
    let meant = served.post_as("dagr", "/v1/events?yes=true", LINES, &many).await.json();
    assert_eq!((&meant["removed"], served.present().await), (&json!(100), 99));
    assert_eq!(served.get(Role::Operator, "", "/v1/events/gaps").await.json()["open"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_of_now_whatever_did_not_come_before_it() {
    let served = Served::start(Settings::default()).await;
    let changes = [change("1", CODE, 1), change("2", CODE, 4)].map(|of| format!("{of}\n"));
    let told = served.post(LINES, changes.concat()).await.json();
    assert_eq!(told["gaps"].as_array().map(Vec::len), Some(1));
    let mut line = change("3", CODE, 9);
    line["snapshot"] = json!(true);
    line["snapshotcount"] = json!(1);
    let told = served.post(SINGLE, line.to_string()).await.json();
    assert_eq!((&told["taken"], told["gaps"].as_array().map(Vec::len)), (&json!(1), Some(0)));
    let served = served.again().await;
    assert_eq!(served.get(Role::Operator, "", "/v1/events/gaps").await.json()["open"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_refused_before_their_end() {
    let served = Served::start(Settings::default()).await;
    let mut large = service("s1");
    large["padding"] = json!("x".repeat(1 << 20));
    let refused = served.post(SINGLE, large.to_string()).await;
    assert_eq!((refused.status, &refused.json()["code"]), (413, &json!("body_too_large")));
    let batch = format!("[{large},{}]", service("s2"));
    let told = served.post(BATCH, batch).await.json();
    assert_eq!(told["taken"], 1);
    assert_eq!(told["refused"][0]["problem"]["code"], "line_too_long");
    let huge = served.post(BATCH, vec![b' '; (16 << 20) + 1]).await;
    assert_eq!(huge.status, 413);

    // A gigabyte that is one line: a mebibyte of it is looked at.
    let (sent, answer) = junk(&served, &[b'x'; 1 << 16]).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("body_too_large")));
    assert!(sent < 512 << 20, "{sent} bytes were sent by then");
    // A gigabyte of lines that are no events: so many of them as are kept.
    let (sent, answer) = junk(&served, &b"junk!!!\n".repeat(1 << 13)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("too_many_refused")));
    assert!(sent < 512 << 20, "{sent} bytes were sent by then");
    assert!(served.node.dead_letters().await.len() < 2_000);
    // A gigabyte of nothing.
    let (sent, answer) = junk(&served, &[b'\n'; 1 << 16]).await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_value")));
    assert!(sent < 512 << 20, "{sent} bytes were sent by then");
}

/// Uploads a gigabyte until it has its answer: how much was sent by then, and the answer.
async fn junk(served: &Served, piece: &[u8]) -> (usize, Answer) {
    let stream = TcpStream::connect(served.at).await.expect("connected");
    let (mut from, mut to) = stream.into_split();
    let head = served.head(&format!("content-length: {}", 1 << 30));
    to.write_all(head.as_bytes()).await.expect("sent");
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        let _ = from.read_to_end(&mut answer).await;
        answer
    });
    let mut sent = 0;
    while sent < 1 << 30 && !reading.is_finished() && to.write_all(piece).await.is_ok() {
        sent += piece.len();
    }
    (sent, parse(&reading.await.expect("read")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stops_in_the_middle_is_not_waited_for() {
    let idle = Duration::from_millis(200);
    let served = Served::start(Settings { idle, ..Settings::default() }).await;
    let mut stream = TcpStream::connect(served.at).await.expect("connected");
    let head = served.head("content-length: 100000");
    let sent = format!("{head}{}\n{{\"half\":", service("s1"));
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = read.await.expect("an answer in time");
    let answer = parse(&answer);
    assert_eq!((answer.status, &answer.json()["code"]), (408, &json!("slow_sender")));
    let records = served.node.records(Topic::ServiceEvents).await;
    assert_eq!(records.len(), 1, "the line before it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_sends_its_own_events_only() {
    let served = Served::start(Settings::default()).await;
    let body = change("d1", CODE, 1).to_string();
    let headers = [("content-type", SINGLE)];
    assert_eq!(send(served.at, "POST", "/v1/events", &headers, body.as_bytes()).await.status, 401);
    let terminal = served.bearer(Role::Terminal, "shop");
    let headers = [("authorization", terminal.as_str()), ("content-type", SINGLE)];
    assert_eq!(send(served.at, "POST", "/v1/events", &headers, body.as_bytes()).await.status, 403);
    let portal = served.post_as("portal", "/v1/events", SINGLE, &body).await;
    assert_eq!((portal.status, &portal.json()["code"]), (422, &json!("unknown_type")));
    assert_eq!(served.post_as("elsewhere", "/v1/events", SINGLE, &body).await.status, 403);
    assert_eq!(served.post_as("dagr", "/v1/events", SINGLE, &body).await.status, 200);
    assert_eq!(served.get(Role::Source, "portal", "/v1/events/gaps").await.status, 403);
    assert_eq!(served.get(Role::Issuer, "card", "/v1/events/gaps").await.status, 403);
    assert_eq!(served.get(Role::Source, "dagr", "/v1/events/gaps").await.status, 200);
    let letters = served.node.dead_letters().await;
    assert!(letters.iter().all(|letter| !letter.detail.contains("326180")), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_asks_too_often_waits() {
    let settings = Settings { per_second: 1, at_once: 2, ..Settings::default() };
    let served = Served::start(settings).await;
    for name in ["s1", "s2"] {
        assert_eq!(served.post(SINGLE, service(name).to_string()).await.status, 200);
    }
    let third = served.post(SINGLE, service("s3").to_string()).await;
    assert_eq!((third.status, third.headers["retry-after"].as_str()), (429, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_it_and_however_often_an_event_is_on_its_stream_once() {
    let served = Arc::new(Served::start(Settings::default()).await);
    let events: Vec<_> = (0..300).map(|at| service(&format!("s{at}"))).collect();
    let senders = (0..8_usize).map(|sender| {
        let (served, mut own) = (Arc::clone(&served), events.clone());
        own.rotate_left(sender * 37);
        tokio::spawn(async move {
            let told = served.post(BATCH, Value::from(own).to_string()).await.json();
            told["taken"].as_u64().expect("a number")
        })
    });
    let mut taken = 0;
    for sender in senders.collect::<Vec<_>>() {
        taken += sender.await.expect("told");
    }
    assert_eq!(taken, 300, "each is taken from one sender");
    assert_eq!(served.node.records(Topic::ServiceEvents).await.len(), 300);
    // Beside it a file is loaded, and neither spoils the other.
    let context = &served.node.context;
    let connector = CentreEvents {
        centres: [domain::id::CentreId::new("ligatne").expect("an id")].into(),
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
    };
    let lines = format!("{}\n{}\n", service("s1"), service("from a file"));
    let reader = std::io::Cursor::new(lines);
    let account = load::load(context, connector, reader, "file", |_| {}).await.expect("loaded");
    assert_eq!((account.taken, account.already_there), (1, 1));
    let told = served.post(SINGLE, service("from a file").to_string()).await.json();
    assert_eq!((&told["taken"], &told["already_there"]), (&json!(0), &json!(1)));
}
