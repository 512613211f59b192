//! An authorisation is followed from the terminal to the tables, as a collector of OpenTelemetry sees it.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use chrono::Utc;
use domain::id::AuthorisationId;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::{Value, json};

use crate::{avis, succeeded, talk::token, up::Server};

const CARD: &str = "04CAFEF00D0001";
/// Where a terminal's own trace is when it asks, and the id of that trace.
pub const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub const CALLERS: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

/// What a collector was told: the steps, and the bytes that they came in.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<(Vec<Span>, Vec<u8>)>>);

impl Told {
    /// All of it, as text that may be looked through.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("told").1).into_owned()
    }

    /// The steps in the trace of an authorisation.
    pub fn spans(&self, id: &Value) -> Vec<Span> {
        let id = id.as_str().and_then(AuthorisationId::parse).expect("an id").as_u128();
        let told = self.0.lock().expect("told");
        told.0.iter().filter(|span| span.trace_id == id.to_be_bytes()).cloned().collect()
    }
}

/// A collector that wants the key `secret`, and where it is.
pub fn collector() -> (Told, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    listener.set_nonblocking(true).expect("set");
    let told = Told::default();
    let routes = Router::new().route("/v1/traces", post(take)).with_state(told.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, routes).await.expect("served");
        });
    });
    (told, url)
}

async fn take(State(told): State<Told>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("authorization").is_none_or(|key| key != "Bearer secret") {
        return StatusCode::UNAUTHORIZED;
    }
    let sent = ExportTraceServiceRequest::decode(body.clone()).expect("a request");
    let scopes = sent.resource_spans.into_iter().flat_map(|of| of.scope_spans);
    let mut told = told.0.lock().expect("told");
    told.0.extend(scopes.flat_map(|of| of.spans));
    told.1.extend(body);
    StatusCode::OK
}

/// A folder with a city that takes half a euro off milk, and a till.
fn described(place: &Path) -> (PathBuf, String) {
    let (folder, file) = (place.join("data"), place.join("registry.json"));
    let registry = json!({
        "grantors": [{"id": "riga", "name": "Riga", "kind": "municipality",
            "iban": "LV57TREL0000002180451"}],
        "merchants": [{"id": "shop", "name": "Shop", "iban": "LV65HABA0000055100001"}],
        "places": [{"id": "shop-1", "merchant": "shop", "territory": "LV0001000"}],
        "terminals": [{"id": "T-1", "place": "shop-1", "kind": "till"}],
        "contracts": [{"id": "C-1", "grantor": "riga", "merchant": "shop", "from": "2025-01-01"}],
        "benefits": [{"id": "milk", "grantor": "riga", "name": "Milk"}],
        "instructions": [{"id": "milk", "benefit": "milk", "version": 1, "label": "Milk",
            "valid": {"from": "2025-01-01"}, "priority": 1, "recipients": {"everyone": true},
            "effect": {"amount_off_cents": 50, "per": "unit"}, "funding": {"grantor_bp": 6_000}}],
    });
    std::fs::write(&file, registry.to_string()).expect("written");
    let mut command = avis();
    command.args(["registry", "apply"]).arg(&file).arg("--data").arg(&folder);
    succeeded(&command.output().expect("run"));
    let token = token(&folder, "terminal", "shop", "T-1");
    (folder, token)
}

fn basket(mode: &str) -> Value {
    json!({"terminal_id": "T-1", "occurred_at": Utc::now().to_rfc3339(), "mode": mode,
        "means": {"kind": "card_uid", "value": CARD},
        "lines": [{"line": 1, "item": "milk", "quantity": 2, "unit_price_cents": 129}]})
}

fn ask(server: &Server, token: &str, path: &str, key: &str, body: &Value) -> Value {
    let headers = format!("Idempotency-Key: {key}\r\ntraceparent: {CALLER}\r\n");
    let (status, _, told) = server.ask(token, "POST", path, &headers, body);
    assert_eq!(status, 200, "{told}");
    told
}

#[test]
fn an_authorisation_is_followed_from_the_terminal_to_the_tables() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, token) = described(place.path());
    let (told, url) = collector();
    let settings = [("AVIS__TRACES__URL", url.as_str()), ("AVIS__TRACES__KEY", "secret")].to_vec();
    let all = [settings.clone(), vec![("AVIS__TRACES__PER_MILLION", "1000000")]].concat();
    let server = Server::start_with(&folder, &all);
    server.wait_until_ready();
    let path = "/v1/authorisations";
    let reserving = basket("reserve");
    let reserved = ask(&server, &token, path, "k1", &reserving);
    assert_eq!(ask(&server, &token, path, "k1", &reserving), reserved);
    let id = &reserved["authorisation_id"];
    let capture = format!("{path}/{}/capture", id.as_str().expect("an id"));
    ask(&server, &token, &capture, "k2", &json!({}));
    let mut upload = basket("offline");
    upload["idempotency_key"] = json!("o1");
    ask(&server, &token, "/v1/transactions:batch", "b1", &upload);
    server.stop();

    let spans = told.spans(id);
    let first = spans.iter().find(|span| span.parent_span_id.is_empty()).expect("a first step");
    assert_eq!((&*first.name, first.kind), ("authorise", SpanKind::Internal as i32));
    for span in &spans {
        let hangs_on_it = span.parent_span_id == first.span_id || std::ptr::eq(span, first);
        assert!(hangs_on_it && span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "each step once");
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    // Asked twice under one key it is decided once.
    for (name, times) in [
        ("POST /v1/authorisations", 2),
        ("authorise", 1),
        ("POST /v1/authorisations/{id}/capture", 1),
        ("decide", 2),
        ("append", 2),
    ] {
        assert_eq!(count(name), times, "{name}: {spans:#?}");
    }
    for table in ["authorisations", "benefit_lines", "authorisation_events", "usage_by_minute"] {
        assert!(count(&format!("land {table}")) > 0, "{table}: {spans:#?}");
    }
    let asked = spans.iter().find(|span| span.name == "POST /v1/authorisations").expect("asked");
    let caller: Vec<_> = asked.links.iter().map(|link| link.trace_id.as_slice()).collect();
    assert_eq!(caller, [CALLERS.to_be_bytes()]);

    let all = told.0.lock().expect("told");
    let uploaded = all.0.iter().filter(|span| {
        let offline = |value: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            value.key == "avis.mode" && format!("{:?}", value.value).contains("offline")
        };
        span.attributes.iter().any(offline)
    });
    let uploaded: Vec<_> = uploaded.collect();
    assert!(matches!(uploaded[..], [of] if of.name == "authorise"), "{uploaded:?}");
    let lands = |span: &Span| span.name.starts_with("land ");
    assert!(all.0.iter().any(|of| of.trace_id == uploaded[0].trace_id && lands(of)));
    let so_far = all.0.len();
    drop(all);
    assert!(!told.text().contains(CARD), "nobody's card is told");

    let none = [settings, vec![("AVIS__TRACES__PER_MILLION", "0")]].concat();
    let server = Server::start_with(&folder, &none);
    server.wait_until_ready();
    ask(&server, &token, path, "k3", &basket("sale"));
    server.stop();
    assert_eq!(told.0.lock().expect("told").0.len(), so_far, "of none of a million");
}

#[test]
fn nobody_waits_for_a_collector_that_is_not_there() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, token) = described(place.path());
    // It takes a connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/traces", silent.local_addr().expect("an address"));
    let log = place.path().join("up.log");
    let settings = [("AVIS__TRACES__URL", &*url), ("AVIS__TRACES__PER_MILLION", "1000000")];
    let server =
        Server::start_logged(&folder, &settings, std::fs::File::create(&log).expect("a file"));
    server.wait_until_ready();
    ask(&server, &token, "/v1/authorisations", "k1", &basket("sale"));
    let stopped = Instant::now();
    server.stop();
    assert!(stopped.elapsed() < Duration::from_secs(20), "{:?}", stopped.elapsed());
    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(log.contains("traces are not told"), "{log}");
}
