//! `Idempotency-Key` of requests whose answers are kept.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{Router, http::StatusCode, routing::post};
use connectors::{
    access::{Identity, Role, Tokens},
    edge::{self, Answers},
};
use tokio::sync::Semaphore;

use crate::{
    Node,
    client::{Answer, send},
};

/// A door whose work is counted, and goes on when it is let.
struct Door {
    to: std::net::SocketAddr,
    tokens: Tokens,
    done: Arc<AtomicU32>,
    begun: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
    node: Node,
}

impl Door {
    async fn open() -> Self {
        let node = Node::new();
        let (vault, clock) = (&node.context.vault, Arc::clone(&node.context.clock));
        let tokens = Tokens::of(vault, Arc::clone(&clock));
        let done = Arc::new(AtomicU32::new(0));
        let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let counted = (Arc::clone(&done), Arc::clone(&begun), Arc::clone(&go_on));
        let work = move |body: String| {
            let (done, begun, go_on) = counted.clone();
            async move {
                begun.add_permits(1);
                go_on.acquire().await.expect("open").forget();
                let number = done.fetch_add(1, Ordering::SeqCst) + 1;
                match body.as_str() {
                    "bad" => (StatusCode::CONFLICT, String::new()),
                    _ => (StatusCode::CREATED, number.to_string()),
                }
            }
        };
        let routes = Router::new().route("/v1/work", post(work.clone()).put(work.clone()));
        let routes = routes.route("/v1/more", post(work));
        let routes = edge::keyed(routes, tokens.clone(), Answers::in_memory(clock));
        let routes = edge::around(routes, Default::default(), node.context.metrics.clone());
        let (to, _) = crate::serve(routes).await;
        Self { to, tokens, done, begun, go_on, node }
    }

    fn token(&self, who: &str) -> String {
        let (role, organisation, subject) = (Role::Centre, "centre-1".into(), who.into());
        let until = self.node.context.clock.now() + chrono::TimeDelta::hours(1);
        self.tokens.issue(&Identity { role, organisation, subject }, until).expect("a token")
    }

    fn asked(
        &self,
        (who, key): (&str, &str),
        (method, path): (&'static str, &'static str),
        body: &'static str,
    ) -> tokio::task::JoinHandle<Answer> {
        let (to, bearer) = (self.to, format!("Bearer {}", self.token(who)));
        let key = key.to_owned();
        tokio::spawn(async move {
            let headers = [("authorization", bearer.as_str()), ("idempotency-key", key.as_str())];
            send(to, method, path, &headers, body.as_bytes()).await
        })
    }

    /// Asked and done at once.
    async fn at_once(
        &self,
        by: (&str, &str),
        to: (&'static str, &'static str),
        body: &'static str,
    ) -> (u16, String) {
        self.go_on.add_permits(1);
        let answer = self.asked(by, to, body).await.expect("answered");
        // Unless it was needed it is taken back.
        self.go_on.forget_permits(1);
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

const WORK: (&str, &str) = ("POST", "/v1/work");

#[tokio::test(flavor = "multi_thread")]
async fn the_second_waits_for_the_first_and_hears_the_same() {
    let door = Door::open().await;
    let first = door.asked(("anna", "k"), WORK, "a");
    door.begun.acquire().await.expect("open").forget();
    let (second, other) =
        (door.asked(("anna", "k"), WORK, "a"), door.asked(("anna", "k"), WORK, "b"));
    // Another key is not held up.
    let beside = door.asked(("anna", "l"), WORK, "a");
    door.begun.acquire().await.expect("open").forget();
    door.go_on.add_permits(4);
    let (first, second) = (first.await.expect("told"), second.await.expect("told"));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers["content-type"], second.headers["content-type"]);
    let other = other.await.expect("told");
    assert_eq!((other.status, &other.json()["code"]), (422, &serde_json::json!("key_reused")));
    assert_eq!(beside.await.expect("told").status, 201);
    assert_eq!(door.done.load(Ordering::SeqCst), 2, "each key once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_callers_and_of_what_it_asked() {
    let door = Door::open().await;
    assert_eq!(door.at_once(("anna", "k"), WORK, "a").await, (201, "1".into()));
    assert_eq!(door.at_once(("anna", "k"), WORK, "a").await, (201, "1".into()));
    assert_eq!(door.at_once(("anna", "k"), ("POST", "/v1/more"), "a").await.0, 422);
    assert_eq!(door.at_once(("anna", "k"), ("POST", "/v1/work?yes=true"), "a").await.0, 422);
    assert_eq!(door.at_once(("anna", "k"), ("PUT", "/v1/work"), "a").await, (201, "2".into()));
    assert_eq!(door.at_once(("berta", "k"), WORK, "b").await, (201, "3".into()));
    // What was refused has changed nothing.
    assert_eq!(door.at_once(("anna", "l"), WORK, "bad").await.0, 409);
    assert_eq!(door.at_once(("anna", "l"), WORK, "good").await, (201, "5".into()));
    assert_eq!(door.at_once(("anna", "no key"), WORK, "a").await.0, 400);
}
