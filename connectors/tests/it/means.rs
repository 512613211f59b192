//! Means over the wire: registered, blocked, replaced and listed, each by whoever may; and what a
//! terminal is told afterwards.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use authoriser::{
    authorise::{Authoriser, Parts, Settings},
    claims::Claims,
    fence::Fence,
    index::Index,
    refresh::read,
    service::{self, Bounds, Running},
};
use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, Tokens},
    edge, issuer,
    load::Context,
    registry,
    terminal::http,
};
use domain::{id::MeansToken, person_code::PersonCode};
use ingest::{
    audit::Deed,
    clock::{Clock, ManualClock},
    log::{
        Log,
        embedded::{self, EmbeddedLog},
        replay,
    },
    topic::Topic,
    vault::Vault,
    wire::{self, v1::Event},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use utoipa::OpenApi;

use crate::client::{Answer, send};

mod batch;
mod kits;
mod trail;
mod under_token;

const REGISTRY: &str = include_str!("terminals/registry.yaml");
/// Issuers beside the card's; the last one is a grantor, too.
const ISSUERS: &str = "issuers: [{id: city-card, name: Card, means: [card_uid, qr]}, \
                       {id: bank, name: Bank, means: [bank_card]}, \
                       {id: state, name: State, means: [document]}]";
const CODE: &str = "326180-33995";
const CARD: &str = "04B1C2D3E4";

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

struct Node {
    at: SocketAddr,
    tokens: Tokens,
    context: Context,
    running: Running,
    /// What the audit trail was told.
    told: Arc<Mutex<Vec<Deed>>>,
    _folder: TempDir,
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let prometheus = prometheus::Registry::new();
        let context = context(folder.path(), &prometheus);
        let text =
            REGISTRY.replace("issuers: [{id: city-card, name: Card, means: [card_uid]}]", ISSUERS);
        assert!(text.contains("bank_card"));
        let document = registry::read(&text, "registry", &|_| None, &|_| None).expect("a registry");
        registry::apply(&context.log, &document, noon()).await.expect("applied");
        let index = Index::open(&folder.path().join("index"), &context.log).await.expect("one");
        let parts = Parts {
            log: Arc::clone(&context.log),
            vault: context.vault.clone(),
            clock: Arc::clone(&context.clock),
            metrics: authoriser::metrics::Metrics::register(&prometheus).expect("metrics"),
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            index,
        };
        let authoriser = Authoriser::embedded(parts, Settings::default()).await.expect("one");
        let (handle, running) = service::start(authoriser, Bounds::default()).expect("started");
        let tokens = Tokens::of(&context.vault, Arc::clone(&context.clock));
        let (vault, metrics) = (context.vault.clone(), context.metrics.clone());
        let settings = http::Settings::default();
        let people = Arc::clone(handle.people());
        let streams = context.streams.clone();
        let till =
            http::Door::new(handle, vault, tokens.clone(), metrics.clone(), streams, settings);
        let (registry, told) = (registry::Current::default(), Arc::<Mutex<Vec<Deed>>>::default());
        let deeds = Arc::clone(&told);
        let tell = Arc::new(move |deed| deeds.lock().expect("no panic").push(deed));
        let holdings =
            Arc::new(move |person| read(&people).holders.tokens(person).collect::<Vec<_>>());
        let means =
            issuer::http::Door::new(context.clone(), tokens.clone(), registry, holdings, tell);
        let routes = http::routes(till).merge(issuer::http::routes(means));
        let routes = edge::around(routes, issuer::http::Description::openapi(), metrics);
        let (at, _) = crate::serve(routes).await;
        Self { at, tokens, context, running, told, _folder: folder }
    }

    async fn ask(
        &self,
        who: &Who,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let (role, organisation, subject) = who;
        let (role, organisation, subject) =
            (*role, (*organisation).into(), subject.as_str().into());
        let identity = Identity { role, organisation, subject };
        let token = self.tokens.issue(&identity, noon() + TimeDelta::days(1)).expect("a token");
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(more);
        send(self.at, method, path, &headers, body.as_bytes()).await
    }

    async fn register(&self, who: &Who, key: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.ask(who, "POST", "/v1/means", &[("idempotency-key", key)], &body).await
    }

    async fn registered(&self, who: &Who, key: &str, body: &Value) -> String {
        let answer = self.register(who, key, body).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    async fn get(&self, who: &Who, token: &str) -> Answer {
        self.ask(who, "GET", &format!("/v1/means/{token}"), &[], "").await
    }

    async fn put(&self, who: &Who, token: &str, etag: &str, body: &Value) -> Answer {
        let path = format!("/v1/means/{token}");
        self.ask(who, "PUT", &path, &[("if-match", etag)], &body.to_string()).await
    }

    async fn sell(&self, key: &str, card: &str) -> Value {
        let body = json!({"terminal_id": "T1", "occurred_at": noon().to_rfc3339(), "mode": "sale",
            "means": {"kind": "card_uid", "value": card},
            "lines": [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 1,
                       "unit_price_cents": 150}]});
        let till = (Role::Terminal, "shop", "T1".to_owned());
        let headers = [("idempotency-key", key)];
        let path = "/v1/authorisations";
        self.ask(&till, "POST", path, &headers, &body.to_string()).await.json()
    }

    /// Everything that the streams hold, as text.
    async fn text(&self) -> String {
        let mut text = String::new();
        for topic in Topic::ALL {
            replay(&self.context.log, topic, |stored| {
                text.push_str(&String::from_utf8_lossy(&wire::encode(&stored.record)));
                Ok::<(), ingest::error::LogError>(())
            })
            .await
            .expect("readable");
        }
        text
    }
}

type Who = (Role, &'static str, String);

fn issuer(id: &'static str) -> Who {
    (Role::Issuer, id, "clerk".into())
}

fn context(folder: &Path, prometheus: &prometheus::Registry) -> Context {
    let streams = ingest::metrics::Metrics::register(prometheus).expect("metrics");
    let log =
        EmbeddedLog::open(&folder.join("log"), &embedded::Settings::default(), streams.clone());
    let log: Arc<dyn Log> = Arc::new(log.expect("a log"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(noon()));
    let vault = Vault::open(&folder.join("keys")).expect("a vault");
    let metrics = connectors::metrics::Metrics::register(prometheus).expect("metrics");
    Context { log, vault, clock, metrics, streams }
}

fn card(value: &str) -> Value {
    json!({"kind": "card_uid", "value": value, "valid_from": "2025-01-01", "valid_to": null})
}

fn etag(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.headers["etag"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_means_is_declined_at_the_next_terminal() {
    let node = Node::start().await;
    let city = issuer("city-card");
    assert_eq!(node.sell("s0", CARD).await["means_status"], "unknown");
    let token = node.registered(&city, "r1", &card(CARD)).await;
    let sold = node.sell("s1", CARD).await;
    assert_eq!((&sold["decision"], &sold["means_status"]), (&json!("approved"), &json!("valid")));
    let first = etag(&node.get(&city, &token).await);
    let blocked = node.put(&city, &token, &first, &json!({"status": "blocked"})).await;
    assert_eq!(blocked.json()["status"], "blocked");
    let sold = node.sell("s2", CARD).await;
    assert_eq!((&sold["decision"], &sold["means_status"]), (&json!("declined"), &json!("blocked")));
    let free = node.put(&city, &token, &etag(&blocked), &json!({"status": "active"})).await;
    assert_eq!(node.sell("s3", CARD).await["decision"], "approved");
    let path = format!("/v1/means/{token}");
    let seen = etag(&free);
    let gone = node.ask(&city, "DELETE", &path, &[("if-match", &seen)], "").await;
    assert_eq!((gone.status, &gone.json()["status"]), (200, &json!("withdrawn")));
    assert_eq!(node.sell("s4", CARD).await["decision"], "declined");
    let again = node.put(&city, &token, "*", &json!({"status": "active"})).await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("wrong_state")));
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_means_is_registered_once_under_a_key_and_its_value_is_kept_nowhere() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let keyless = node.ask(&city, "POST", "/v1/means", &[], &card(CARD).to_string()).await;
    assert_eq!((keyless.status, &keyless.json()["code"]), (400, &json!("idempotency_key")));
    let first = node.register(&city, "r1", &card(CARD)).await;
    assert_eq!(first.status, 201);
    let again = node.register(&city, "r1", &card(CARD)).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let token = first.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(first.headers["location"], format!("/v1/means/{token}"));
    let other = node.register(&city, "r1", &card("04FF")).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("key_reused")));
    let twice = node.register(&city, "r2", &card(CARD)).await;
    assert_eq!((twice.status, &twice.json()["code"]), (409, &json!("already_registered")));
    // A key is its sender's: another issuer uses the same one.
    let bank = json!({"kind": "bank_card", "value": "tok_4242", "valid_from": "2025-01-01"});
    let of_bank = node.registered(&issuer("bank"), "r1", &bank).await;
    assert_ne!(of_bank, token);
    for (wrong, pointer) in [
        (json!({"kind": "bank_card", "value": CARD, "valid_from": "2025-01-01"}), "/kind"),
        (json!({"kind": "card_uid", "value": "", "valid_from": "2025-01-01"}), "/value"),
        (json!({"kind": "card_uid", "value": CARD, "valid_from": "x"}), "/valid_from"),
        (
            json!({"kind": "card_uid", "value": CARD, "valid_from": "2025-02-01",
                "valid_to": "2025-01-01"}),
            "/valid_to",
        ),
        (
            json!({"kind": "card_uid", "value": CARD, "valid_from": "2025-01-01", "person": CODE}),
            "/person",
        ),
        (
            json!({"kind": "card_uid", "value": CARD, "valid_from": "2025-01-01", "number": CARD}),
            "/number",
        ),
    ] {
        let refused = node.register(&city, "r9", &wrong).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer))
        );
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(!text.contains(CARD) && !text.contains(CODE), "{text}");
    }
    let (text, told) = (node.text().await, node.get(&city, &token).await);
    assert!(!text.contains(CARD) && !text.contains("tok_4242"));
    assert!(!String::from_utf8_lossy(&told.body).contains(CARD));
    let expected = json!({"token": token, "issuer": "city-card", "kind": "card_uid",
        "status": "active", "held": false, "valid_from": "2025-01-01", "valid_to": null});
    assert_eq!(told.json(), expected);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_issuers_means_is_not_there() {
    let node = Node::start().await;
    let (city, bank) = (issuer("city-card"), issuer("bank"));
    let token = node.registered(&city, "r1", &card(CARD)).await;
    let missing = node.get(&bank, &MeansToken::from_u128(7).to_string()).await;
    let hidden = node.get(&bank, &token).await;
    assert_eq!(hidden.status, 404);
    let told = |answer: &Answer| (answer.json()["title"].clone(), answer.json()["detail"].clone());
    assert_eq!(told(&hidden), told(&missing), "as if it were not");
    let path = format!("/v1/means/{token}");
    let block = json!({"status": "blocked"});
    assert_eq!(node.put(&bank, &token, "*", &block).await.status, 404);
    assert_eq!(node.ask(&bank, "DELETE", &path, &[("if-match", "*")], "").await.status, 404);
    let listed = node.ask(&bank, "GET", "/v1/means", &[], "").await.json();
    assert_eq!(listed["means"], json!([]));
    let foreign = json!({"kind": "bank_card", "value": "t", "valid_from": "2025-01-01",
                         "replaces": token});
    assert_eq!(node.register(&bank, "r2", &foreign).await.status, 422);
    let mut for_another = card("04FF");
    for_another["issuer"] = json!("city-card");
    assert_eq!(node.register(&bank, "r3", &for_another).await.status, 403);
    assert_eq!(node.get(&city, "not-a-token").await.status, 404);
    for role in [Role::Terminal, Role::Merchant, Role::Analyst, Role::Official, Role::Source] {
        let who = (role, "city-card", "x".to_owned());
        assert_eq!(node.get(&who, &token).await.status, 403, "{role:?}");
        assert_eq!(node.put(&who, &token, "*", &block).await.status, 403, "{role:?}");
    }
    assert_eq!(send(node.at, "GET", &path, &[], b"").await.status, 401);
    assert_eq!(node.sell("s1", CARD).await["decision"], "approved", "nothing was changed");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_of_the_state_that_was_seen() {
    let node = Arc::new(Node::start().await);
    let city = issuer("city-card");
    let token = node.registered(&city, "r1", &card(CARD)).await;
    let path = format!("/v1/means/{token}");
    let block = json!({"status": "blocked"});
    let blind = node.ask(&city, "PUT", &path, &[], &block.to_string()).await;
    assert_eq!((blind.status, &blind.json()["code"]), (428, &json!("precondition_required")));
    assert_eq!(node.ask(&city, "DELETE", &path, &[], "").await.status, 428);
    let seen = etag(&node.get(&city, &token).await);
    // Eight at once say that it is lost or ends some day: one of them has seen it as it is.
    let changes = (0..8).map(|at| {
        let (node, city, token, seen) =
            (Arc::clone(&node), city.clone(), token.clone(), seen.clone());
        tokio::spawn(async move {
            let ends = json!({"valid_to": format!("2025-07-0{}", at + 1)});
            node.put(&city, &token, &seen, &ends).await.status
        })
    });
    let mut told = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        told.push(change.await.expect("told"));
    }
    told.sort_unstable();
    assert_eq!(told, [200, 412, 412, 412, 412, 412, 412, 412]);
    let now = node.get(&city, &token).await;
    let stale = node.put(&city, &token, &seen, &block).await;
    assert_eq!((stale.status, &stale.json()["code"]), (412, &json!("precondition_failed")));
    let open = node.put(&city, &token, &etag(&now), &json!({"valid_to": null})).await;
    assert_eq!(open.json()["valid_to"], Value::Null);
    let same = node.put(&city, &token, &etag(&open), &json!({"status": "active"})).await;
    assert_eq!(etag(&same), etag(&open), "what changes nothing is no change");
    let early = node.put(&city, &token, "*", &json!({"valid_to": "2024-01-01"})).await;
    assert_eq!((early.status, &early.json()["errors"][0]["pointer"]), (422, &json!("/valid_to")));
    let bare = node.put(&city, &token, "*", &json!({"status": "replaced"})).await;
    assert_eq!(bare.status, 422, "replaced by what?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_means_that_is_replaced_says_by_which_and_stays_so() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let old = node.registered(&city, "r1", &card(CARD)).await;
    let mut renewed = card("04NEW");
    renewed["replaces"] = json!(old);
    let new = node.registered(&city, "r2", &renewed).await;
    let told = node.get(&city, &old).await.json();
    assert_eq!((&told["status"], &told["replaced_by"]), (&json!("replaced"), &json!(new)));
    assert_eq!(node.sell("s1", CARD).await["decision"], "declined");
    assert_eq!(node.sell("s2", "04NEW").await["decision"], "approved");
    let back = node.put(&city, &old, "*", &json!({"status": "active"})).await;
    assert_eq!(back.status, 409);
    assert_eq!(node.registered(&city, "r2", &renewed).await, new, "the same key, the same answer");
    renewed["value"] = json!("04NEWER");
    assert_eq!(node.register(&city, "r3", &renewed).await.status, 409, "it is replaced already");
    let other = node.registered(&city, "r4", &card("04C3")).await;
    let by = json!({"status": "replaced", "replaced_by": new});
    let told = node.put(&city, &other, "*", &by).await.json();
    assert_eq!((&told["status"], &told["replaced_by"]), (&json!("replaced"), &json!(new)));
    let own = json!({"status": "replaced", "replaced_by": new});
    assert_eq!(node.put(&city, &new, "*", &own).await.status, 422, "not by itself");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_official_enrols_under_a_consent_and_the_holder_reports_it_lost() {
    let node = Node::start().await;
    let code = PersonCode::parse(CODE).expect("a code");
    let id = node.context.vault.enrol(std::slice::from_ref(&code)).expect("enrolled")[0];
    let official = (Role::Official, "vsaa", "official-1".to_owned());
    let mut body = card(CARD);
    body["issuer"] = json!("city-card");
    body["person"] = json!(CODE);
    let without = node.register(&official, "r1", &body).await;
    assert_eq!((without.status, &without.json()["code"]), (422, &json!("missing_field")));
    body["consent"] = json!({"version": "2025-1", "text": "I agree that the card is mine"});
    let token = node.registered(&official, "r1", &body).await;
    assert_eq!(node.registered(&official, "r1", &body).await, token);
    let mut consents = Vec::new();
    replay(&node.context.log, Topic::Consents, |stored| {
        consents.push(stored.record.event);
        Ok::<(), ingest::error::LogError>(())
    })
    .await
    .expect("readable");
    let [Event::ConsentChanged(consent)] = &consents[..] else { panic!("{consents:?}") };
    assert_eq!((consent.person.as_str(), consent.given), (id.to_string().as_str(), true));
    assert_eq!(
        (consent.text_version.as_str(), consent.recorded_by.as_str()),
        ("2025-1", "official")
    );
    assert_eq!(consent.consent_id, format!("means-{token}"));
    assert!(!node.text().await.contains("33995"), "no code is on a stream");

    let holder = (Role::Recipient, "", id.to_string());
    let other = (Role::Recipient, "", MeansToken::from_u128(9).to_string());
    // Whose means are which the authoriser knows from its next decision on.
    assert_eq!(node.sell("s0", CARD).await["means_status"], "valid");
    let listed = node.ask(&holder, "GET", "/v1/means", &[], "").await.json();
    assert_eq!(listed["means"][0]["token"], json!(token));
    assert_eq!(listed["means"][0]["held"], true);
    assert_eq!(node.ask(&other, "GET", "/v1/means", &[], "").await.json()["means"], json!([]));
    assert_eq!(node.get(&other, &token).await.status, 404);
    assert_eq!(node.put(&other, &token, "*", &json!({"status": "lost"})).await.status, 404);
    let seen = etag(&node.get(&holder, &token).await);
    let lost = node.put(&holder, &token, &seen, &json!({"status": "lost"})).await;
    assert_eq!(lost.json()["status"], "lost");
    assert_eq!(node.sell("s1", CARD).await["decision"], "declined");
    for wrong in [json!({"status": "active"}), json!({"status": "lost", "valid_to": "2030-01-01"})]
    {
        assert_eq!(node.put(&holder, &token, "*", &wrong).await.status, 403, "{wrong}");
    }
    let path = format!("/v1/means/{token}");
    assert_eq!(node.ask(&holder, "DELETE", &path, &[("if-match", "*")], "").await.status, 403);
    assert_eq!(node.register(&holder, "r1", &card("04FF")).await.status, 403);
    let city = issuer("city-card");
    let found = node.put(&city, &token, "*", &json!({"status": "active"})).await;
    assert_eq!(found.json()["status"], "active", "its issuer may");
    node.context.vault.destroy(&[id]).expect("forgotten");
    node.put(&city, &token, "*", &json!({"status": "blocked"})).await;
    let back = node.put(&city, &token, "*", &json!({"status": "active"})).await;
    assert_eq!(back.status, 409, "whoever is forgotten stays so");
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grantor_that_issues_means_blocks_and_unblocks_its_own() {
    let node = Node::start().await;
    let (state, clerk) = (issuer("state"), (Role::Grantor, "state", "clerk".to_owned()));
    let body = json!({"kind": "document", "value": "LV1234567", "valid_from": "2025-01-01"});
    assert_eq!(node.register(&clerk, "r1", &body).await.status, 403);
    let token = node.registered(&state, "r1", &body).await;
    let blocked = node.put(&clerk, &token, "*", &json!({"status": "blocked"})).await;
    assert_eq!(blocked.json()["status"], "blocked");
    let free = node.put(&clerk, &token, "*", &json!({"status": "active"})).await;
    assert_eq!(free.json()["status"], "active");
    for wrong in [json!({"status": "lost"}), json!({"valid_to": "2030-01-01"})] {
        assert_eq!(node.put(&clerk, &token, "*", &wrong).await.status, 403, "{wrong}");
    }
    node.put(&state, &token, "*", &json!({"status": "lost"})).await;
    assert_eq!(node.put(&clerk, &token, "*", &json!({"status": "active"})).await.status, 409);
    let of_city = node.registered(&issuer("city-card"), "r1", &card(CARD)).await;
    assert_eq!(node.put(&clerk, &of_city, "*", &json!({"status": "blocked"})).await.status, 404);
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_page_by_page_and_say_what_ends_soon() {
    let node = Node::start().await;
    let city = issuer("city-card");
    let mut tokens = Vec::new();
    for at in 0..130 {
        let mut body = card(&format!("C{at}"));
        // Every third ends: in June, or before today.
        body["valid_to"] = match at % 6 {
            0 => json!("2025-06-20"),
            3 => json!("2025-05-20"),
            _ => Value::Null,
        };
        tokens.push(node.registered(&city, &format!("r{at}"), &body).await);
    }
    let ended = node.put(&city, &tokens[0], "*", &json!({"status": "blocked"})).await;
    assert_eq!(ended.status, 200);
    let all = |path: &'static str| {
        let (node, city) = (&node, &city);
        async move {
            let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let path = format!("{path}{cursor}");
                let page = node.ask(city, "GET", &path, &[], "").await.json();
                let means = page["means"].as_array().expect("a list").clone();
                assert!(means.len() <= 100);
                pages += 1;
                all.extend(means.iter().map(|of| of["token"].as_str().expect("one").to_owned()));
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            all.sort_unstable();
            (all, pages)
        }
    };
    let (found, pages) = all("/v1/means?").await;
    let sorted = |mut tokens: Vec<String>| {
        tokens.sort_unstable();
        tokens
    };
    assert_eq!((found, pages), (sorted(tokens.clone()), 2));
    let (found, _) = all("/v1/means?expiring_before=2025-07-01").await;
    let due = tokens.iter().step_by(6).skip(1).cloned().collect();
    assert_eq!(found, sorted(due), "neither ended nor blocked");
    assert_eq!(all("/v1/means?expiring_before=2025-06-20").await.0, Vec::<String>::new());
    assert_eq!(all("/v1/means?blocked=true").await.0, [tokens[0].clone()]);
    for wrong in ["/v1/means?expiring_before=soon", "/v1/means?cursor=x"] {
        assert_eq!(node.ask(&city, "GET", wrong, &[], "").await.status, 422, "{wrong}");
    }
    node.running.stop().await.expect("stopped");
}

/// What comes of a change, by whom, from which state, to which.
fn expected(caller: &Who, before: &str, wanted: &str) -> u16 {
    let stays = matches!(before, "replaced" | "withdrawn");
    match (caller.0, wanted) {
        (Role::Issuer, _) if stays && wanted != before => 409,
        (Role::Issuer, _) => 200,
        (Role::Grantor, "active" | "blocked") if stays || before == "lost" => 409,
        (Role::Recipient, "lost") if stays => 409,
        (Role::Grantor, "active" | "blocked") | (Role::Recipient, "lost") => 200,
        _ => 403,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_every_state_each_caller_reaches_what_is_theirs() {
    let node = Node::start().await;
    let set = async |who: &Who, token: &str, status: &str| match status {
        "withdrawn" => {
            let path = format!("/v1/means/{token}");
            node.ask(who, "DELETE", &path, &[("if-match", "*")], "").await
        }
        _ => node.put(who, token, "*", &json!({"status": status})).await,
    };
    for before in ["active", "blocked", "lost", "replaced", "withdrawn"] {
        for wanted in ["active", "blocked", "lost", "withdrawn"] {
            for role in [Role::Issuer, Role::Grantor, Role::Recipient] {
                let case = format!("{before}-{wanted}-{}", role.code());
                let state: Who = (Role::Issuer, "state", case.clone());
                let mut body = json!({"kind": "document", "valid_from": "2025-01-01"});
                body["value"] = json!(case);
                let token = node.registered(&state, &case, &body).await;
                if before == "replaced" {
                    body["value"] = json!(format!("{case} anew"));
                    body["replaces"] = json!(token);
                    node.registered(&state, &format!("{case}-anew"), &body).await;
                } else {
                    assert_eq!(set(&state, &token, before).await.status, 200, "{case}");
                }
                let subject = if role == Role::Recipient { &token } else { &case };
                let caller: Who = (role, "state", subject.clone());
                let status = set(&caller, &token, wanted).await.status;
                assert_eq!(status, expected(&caller, before, wanted), "{case}");
                let after = if status == 200 { wanted } else { before };
                assert_eq!(node.get(&state, &token).await.json()["status"], after, "{case}");
            }
        }
    }
    node.running.stop().await.expect("stopped");
}
