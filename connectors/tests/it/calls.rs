//! Calls from centres to remote officials: the rules, the routes, and the live board.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, Tokens},
    edge,
    metrics::Metrics,
    registry,
    vpvkac::{
        desk::{Desk, Settings},
        http,
    },
};
use ingest::{
    clock::{Clock, ManualClock},
    log::{Log, model::ModelLog},
    record::Record,
    topic::Topic,
    vault::Vault,
    wire::v1::{Event, ServiceEvent},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, send};

mod crowd;
mod live;
mod loss;
mod model;
mod observer;
mod routes;

/// Two institutions, two centres; of `vsaa` anna and berta consult on all, clara in English only; at
/// `vid` only dace.
const REGISTRY: &str = include_str!("calls/registry.yaml");

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

/// A node with a desk, over streams in memory.
struct Node {
    http: SocketAddr,
    desk: Desk,
    tokens: Tokens,
    log: Arc<dyn Log>,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

fn settings() -> Settings {
    let meeting = "https://meet.example.lv/{room}?as={role}".into();
    Settings { meeting, ..Settings::default() }
}

impl Node {
    async fn start() -> Self {
        Self::over(Arc::new(ModelLog::default()), settings()).await
    }

    async fn over(log: Arc<dyn Log>, settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let manual = Arc::new(ManualClock::at(noon()));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        apply(&log, REGISTRY).await;
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        let (to, now) = (Arc::clone(&log), Arc::clone(&clock));
        let opened = Desk::open(to, vault.clone(), now, settings, metrics);
        let desk = opened.await.expect("a desk");
        let tokens = Tokens::of(&vault, clock);
        let answers = edge::Answers::in_memory(Arc::<ManualClock>::clone(&manual));
        let http = open(http::routes(desk.clone(), tokens.clone(), answers)).await;
        Self { http, desk, tokens, log, clock: manual, _folder: folder }
    }

    fn token(&self, role: Role, organisation: &str, subject: &str) -> String {
        let identity =
            Identity { role, organisation: organisation.into(), subject: subject.into() };
        self.tokens.issue(&identity, noon() + TimeDelta::days(30)).expect("a token")
    }

    async fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.keyed(who, method, path, "", body).await
    }

    /// Somebody asks: `centre-1`, an official by name, or a role.
    async fn keyed(&self, who: &str, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token_of(who));
        let mut headers = vec![("authorization", bearer.as_str())];
        if !key.is_empty() {
            headers.push(("idempotency-key", key));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        send(self.http, method, path, &headers, body.as_bytes()).await
    }

    fn token_of(&self, who: &str) -> String {
        match Role::parse(who) {
            Some(role) => self.token(role, "", "somebody"),
            None if who.starts_with("centre") => self.token(Role::Centre, who, "Specialist Ozola"),
            None => self.token(Role::Official, "", who),
        }
    }

    async fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "GET", path, &Value::Null).await
    }

    async fn post(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "POST", path, &Value::Null).await
    }

    async fn stand(&self, official: &str, state: &str) -> Answer {
        let path = format!("/v1/officials/{official}/availability");
        self.ask(official, "PUT", &path, &json!({"state": state})).await
    }

    /// A centre asks for an official of `vsaa` in Latvian.
    async fn call(&self, centre: &str, key: &str) -> Value {
        let answer = self.keyed(centre, "POST", "/v1/calls", key, &wanted()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// What the desk told, in order.
    async fn told(&self) -> Vec<(Record, ServiceEvent)> {
        let stored = self.log.read(Topic::ServiceEvents, 0, 0, 100_000).await.expect("read");
        let records = stored.into_iter().map(|stored| stored.record);
        let ours = records.filter_map(|record| match record.event.clone() {
            Event::ServiceEvent(event) if event.desk.is_some() => Some((record, event)),
            _ => None,
        });
        ours.collect()
    }

    /// Waits until a call stands there.
    async fn until(&self, call: &str, state: &str) -> Value {
        for _ in 0..200 {
            let found = self.get("operator", &format!("/v1/calls/{call}")).await.json();
            if found["state"] == state {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{call} is not {state}");
    }

    fn pass(&self, time: TimeDelta) {
        self.clock.advance_to(self.clock.now() + time);
    }
}

async fn apply(log: &Arc<dyn Log>, text: &str) {
    let document = registry::read(text, "registry", &|_| None, &|_| None).expect("a registry");
    registry::apply(log, &document, noon()).await.expect("applied");
}

async fn open(routes: Router) -> SocketAddr {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let description = <http::Description as utoipa::OpenApi>::openapi();
    let routes = edge::around(routes, description, metrics);
    crate::serve(routes).await.0
}

/// A call to `vsaa` about PAK_10 in Latvian.
fn wanted() -> Value {
    json!({"institution": "vsaa", "service": "PAK_10", "language": "lv",
        "client_identified": true})
}

fn id(call: &Value) -> &str {
    call["call"].as_str().expect("a call")
}

fn path(call: &Value, step: &str) -> String {
    format!("/v1/calls/{}/{step}", id(call))
}
