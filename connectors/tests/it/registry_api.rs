//! The registry over the wire: by everybody whose it is, and by nobody else.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, TerminalKeys, Tokens},
    client::{self, ClientError},
    edge,
    metrics::Metrics,
    portal::login,
    problem::Problem,
    registry::{
        self,
        http::{self, Door, Simulated, Simulating, Simulator},
        openapi,
        registrar::Registrar,
        rights::{self, Reach},
    },
    terminal::enrolment::{self as keys, http as enrolment},
};
use domain::registry::Kind;
use ingest::{
    clock::{Clock, ManualClock},
    log::{Log, model::ModelLog},
    topic::Topic,
    vault::Vault,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, send};

mod drafts;
mod listed;
mod others;
mod own_keys;

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

/// Simulations are the node's; here nobody asks for one.
struct Nowhere;

impl Simulator for Nowhere {
    fn simulate(&self, _: Simulating) -> Simulated<'_> {
        Box::pin(async { Err(Problem::unavailable("no simulation here")) })
    }
}

struct Node {
    http: SocketAddr,
    tokens: Tokens,
    log: Arc<dyn Log>,
    vault: Vault,
    _folder: TempDir,
}

#[derive(Clone, Copy)]
struct Who(Role, &'static str, &'static str);

const ADMINISTRATOR: Who = Who(Role::Administrator, "", "olga");
const RIGA: Who = Who(Role::Grantor, "riga", "anna");
const RIGA_TOO: Who = Who(Role::Grantor, "riga", "berta");
const LIEPAJA: Who = Who(Role::Grantor, "liepaja", "carl");

impl Node {
    async fn new(approval: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(noon()));
        let keys = Arc::<TerminalKeys>::default();
        let tokens = Tokens::beside(&vault, Arc::clone(&clock), None, Arc::clone(&keys));
        let condition = |text: &str| text.ends_with(">=").then(|| "ends too early".to_owned());
        let told = Arc::new(|_| ());
        let registrar = Registrar::new(Arc::clone(&log), clock, condition, told, approval, keys);
        let baskets = login::Baskets::from([("public".to_owned(), vec!["eid".to_owned()])]);
        let sign_on = login::routes(login::Door {
            registrar: registrar.clone(),
            tokens: tokens.clone(),
            baskets,
        });
        let enrolment = enrolment::routes(enrolment::Door {
            registrar: registrar.clone(),
            tokens: tokens.clone(),
            vault: vault.clone(),
        });
        let (simulator, tokens_too) = (Arc::new(Nowhere), tokens.clone());
        let door = Door { registrar, tokens: tokens_too, vault: vault.clone(), simulator };
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("fresh");
        let routes = edge::around(
            http::routes(door.clone()).merge(http::trials(door)).merge(sign_on).merge(enrolment),
            openapi::description(),
            metrics,
        );
        let (http, _) = crate::serve(routes).await;
        Self { http, tokens, log, vault, _folder: folder }
    }

    async fn ask(&self, who: Who, method: &str, path: &str, tag: &str, body: &Value) -> Answer {
        let Who(role, organisation, subject) = who;
        let identity =
            Identity { role, organisation: organisation.into(), subject: subject.into() };
        let token = self.tokens.issue(&identity, noon() + TimeDelta::days(1)).expect("a token");
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if !tag.is_empty() {
            headers.push(("if-match", tag));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        send(self.http, method, path, &headers, body.as_bytes()).await
    }

    async fn get(&self, who: Who, path: &str) -> Answer {
        self.ask(who, "GET", path, "", &Value::Null).await
    }

    async fn put(&self, who: Who, path: &str, tag: &str, body: &Value) -> Answer {
        self.ask(who, "PUT", path, tag, body).await
    }

    async fn tag(&self, path: &str) -> String {
        self.get(ADMINISTRATOR, path).await.headers["etag"].clone()
    }

    /// Two organisations of each sort, one entry of each kind for either.
    async fn fill(&self) {
        for (path, entry) in entries() {
            let put = self.put(ADMINISTRATOR, &path, "", &entry).await;
            assert_eq!(put.status, 201, "{path}: {}", String::from_utf8_lossy(&put.body));
        }
    }
}

/// Entries of each kind, of riga and shop and of liepaja and kiosk, in an order in which nothing is
/// missing.
fn entries() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (grantor, merchant, priority) in [("riga", "shop", 1), ("liepaja", "kiosk", 2)] {
        let mut entry = |kind: &str, id: String, entry: Value| {
            all.push((format!("/v1/{kind}/{id}"), entry));
        };
        let of = |what: &str| format!("{merchant}-{what}");
        entry("grantors", grantor.into(), json!({"kind": "municipality", "name": grantor}));
        entry("merchants", merchant.into(), json!({"name": {"lv": "Veikals", "en": "Shop"}}));
        let place = json!({"merchant": merchant, "territory": "LV0001000"});
        entry("places", of("place"), place);
        entry("terminals", of("till"), json!({"place": of("place"), "kind": "till"}));
        let item = json!({"merchant": merchant, "item": "milk", "category": "food.milk"});
        entry("catalogue", format!("{merchant}%2Fmilk"), item);
        let contract = json!({"grantor": grantor, "merchant": merchant, "from": "2025-01-01"});
        entry("contracts", of("contract"), contract);
        entry("issuers", of("issuer"), json!({"means": ["card_uid"]}));
        let group = json!({"grantor": grantor, "members": ["326180-33995"]});
        entry("groups", format!("{grantor}-staff"), group);
        entry("benefits", format!("{grantor}-milk"), json!({"grantor": grantor}));
        entry("instructions", format!("{grantor}-milk"), instruction(grantor, priority));
        let e_service =
            json!({"merchant": merchant, "url": "https://shop.lv/", "login_basket": "public"});
        entry("e-services", of("portal"), e_service);
        entry("centres", of("centre"), json!({"kind": "library", "territory": "LV0001000"}));
        entry("institutions", of("institution"), json!({"name": "VSAA"}));
        entry("services", of("service"), json!({"criteria": {"min_rating": 4.0}}));
        let official = json!({"institution": of("institution"), "services": [of("service")]});
        entry("officials", of("official"), official);
        let year = if grantor == "riga" { 2025 } else { 2026 };
        let (from, to) = (format!("{year}-01-01"), format!("{year}-12-31"));
        entry("subsidies", from.clone(), json!({"from": from, "to": to}));
    }
    all
}

fn instruction(grantor: &str, priority: i64) -> Value {
    json!({"benefit": format!("{grantor}-milk"), "label": "Milk", "valid": {"from": "2025-07-01"},
        "priority": priority, "recipients": {"any": [format!("{grantor}-staff")]},
        "effect": {"amount_off_cents": 10, "per": "unit"}, "funding": {"grantor_bp": 10_000}})
}

fn code(answer: &Answer) -> (u16, String) {
    let problem = answer.json();
    (answer.status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_made_read_changed_and_removed() {
    let node = Node::new(false).await;
    node.fill().await;
    for (path, entry) in entries() {
        let read = node.get(ADMINISTRATOR, &path).await;
        assert_eq!(read.status, 200, "{path}");
        for (name, value) in entry.as_object().expect("an object") {
            let told = &read.json()[name];
            // A text for both languages is told in both, and who is listed is not told at all.
            assert!(
                told == value || value.is_string() && told["lv"] == *value || name == "members"
            );
        }
        let history = node.get(ADMINISTRATOR, &format!("{path}/history")).await.json();
        assert_eq!(history["items"][0]["by"], "administrator:olga", "{path}");
    }
    // From the last to the first, so that nothing still needs what goes.
    for (path, _) in entries().into_iter().rev() {
        let tag = node.tag(&path).await;
        let removed = node.ask(ADMINISTRATOR, "DELETE", &path, &tag, &Value::Null).await;
        assert_eq!(removed.status, 204, "{path}");
        assert_eq!(node.get(ADMINISTRATOR, &path).await.status, 404, "{path}");
        let history = node.get(ADMINISTRATOR, &format!("{path}/history")).await.json();
        let items = history["items"].as_array().expect("items");
        assert_eq!((items.len(), &items[0]["entry"]), (2, &Value::Null), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overwrites_unseen_what_somebody_else_has_changed() {
    let node = Node::new(false).await;
    node.fill().await;
    let path = "/v1/merchants/shop";
    let named = |name: &str| json!({"name": {"lv": name, "en": name}});
    let unsaid = node.put(ADMINISTRATOR, path, "", &named("A")).await;
    assert_eq!(code(&unsaid), (428, "precondition_required".into()));
    let tag = node.tag(path).await;
    let first = node.put(ADMINISTRATOR, path, &tag, &named("A")).await;
    assert_eq!(first.status, 200);
    let stale = node.put(ADMINISTRATOR, path, &tag, &named("B")).await;
    assert_eq!(code(&stale), (412, "precondition_failed".into()));
    let again = node.put(ADMINISTRATOR, path, &tag, &named("A")).await;
    assert_eq!((again.status, &again.headers["etag"]), (200, &first.headers["etag"]), "sent twice");
    let gone = node.ask(ADMINISTRATOR, "DELETE", "/v1/merchants/none", "\"1\"", &Value::Null).await;
    assert_eq!(gone.status, 404);
    // Of many who have all seen the same, one wins.
    let tag = first.headers["etag"].clone();
    let names: Vec<_> = (0..20).map(|at| format!("N{at}")).collect();
    let bodies: Vec<_> = names.iter().map(|name| named(name)).collect();
    let all = bodies.iter().map(|body| node.put(ADMINISTRATOR, path, &tag, body));
    let statuses: Vec<_> =
        futures::future::join_all(all).await.iter().map(|of| of.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 19, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_at_once_and_nothing_changes() {
    let node = Node::new(false).await;
    node.fill().await;
    let end = node.log.end(Topic::RegistryChanges, 0).expect("an end");
    let wrong = json!({"benefit": "none", "valid": {"from": "2025-07-01"}, "priority": "high",
        "recipients": {"any": ["nobody"]}, "effect": {}, "funding": {"grantor_bp": 10_001}, "colour": 1});
    let answer = node.put(ADMINISTRATOR, "/v1/instructions/new", "", &wrong).await;
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    let told = problem["errors"].as_array().expect("faults").iter().map(|of| &of["pointer"]);
    let told: Vec<_> = told.map(|pointer| pointer.as_str().expect("text")).collect();
    for pointer in ["/priority", "/effect", "/funding/grantor_bp", "/colour"] {
        assert!(told.contains(&pointer), "{pointer} in {told:?}");
    }
    let group = json!({"where": "age(birth_date) >="});
    let answer = node.put(ADMINISTRATOR, "/v1/groups/old", "", &group).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/where");
    // The same priority for the same grantor, days and places.
    let twin = node.put(ADMINISTRATOR, "/v1/instructions/twin", "", &instruction("riga", 1)).await;
    assert_eq!(twin.json()["errors"][0]["pointer"], "/priority");
    let needed = node.tag("/v1/merchants/shop").await;
    let needed =
        node.ask(ADMINISTRATOR, "DELETE", "/v1/merchants/shop", &needed, &Value::Null).await;
    assert_eq!(code(&needed), (409, "referred_to".into()));
    assert!(
        needed.json()["errors"][0]["detail"]
            .as_str()
            .expect("text")
            .starts_with("places shop-place")
    );
    let misnamed = node.put(ADMINISTRATOR, "/v1/merchants/a", "", &json!({"id": "b"})).await;
    assert_eq!(misnamed.status, 422);
    for body in ["{", "[]", "{\"id\": \"x\", \"id\": \"y\"}"] {
        let token = node.tokens.issue(
            &Identity { role: Role::Administrator, organisation: "".into(), subject: "o".into() },
            noon() + TimeDelta::days(1),
        );
        let bearer = format!("Bearer {}", token.expect("a token"));
        let headers = [("authorization", bearer.as_str())];
        let answer = send(node.http, "PUT", "/v1/merchants/x", &headers, body.as_bytes()).await;
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.status);
    }
    assert_eq!(node.log.end(Topic::RegistryChanges, 0).expect("an end"), end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_instruction_is_its_next_version() {
    let node = Node::new(false).await;
    node.fill().await;
    let path = "/v1/instructions/riga-milk";
    let mut first = instruction("riga", 1);
    first["valid"]["from"] = json!("2025-01-01");
    first["version"] = json!(1);
    // It has not begun: it may still be anything.
    let put = node.put(RIGA, path, &node.tag(path).await, &first).await;
    assert_eq!((put.status, &put.json()["version"]), (200, &json!(1)));
    // Now it is in force, and stays as it is.
    let mut other = first.clone();
    other["priority"] = json!(7);
    let rewritten = node.put(RIGA, path, &node.tag(path).await, &other).await;
    assert_eq!(code(&rewritten), (409, "in_force".into()));
    let mut next = other.clone();
    next.as_object_mut().expect("an object").remove("version");
    let overlapping = node.put(RIGA, path, &node.tag(path).await, &next).await;
    assert_eq!(overlapping.status, 422, "it would be valid on the same days");
    next["valid"]["from"] = json!("2025-06-02");
    let today = node.put(RIGA, path, &node.tag(path).await, &next).await;
    assert_eq!(code(&today), (409, "in_force".into()), "today has been decided already");
    next["valid"]["from"] = json!("2025-09-01");
    let put = node.put(RIGA, path, &node.tag(path).await, &next).await;
    assert_eq!((put.status, &put.json()["version"]), (201, &json!(2)));
    let versions = node.get(RIGA, &format!("{path}/versions")).await.json();
    let of = |at: usize| versions["items"][at]["valid"].clone();
    assert_eq!(of(0), json!({"from": "2025-01-01", "to": "2025-08-31"}));
    assert_eq!(of(1)["from"], "2025-09-01");
    assert_eq!(node.get(RIGA, path).await.json()["version"], 1, "the one in force");
    assert_eq!(node.get(RIGA, &format!("{path}?version=2")).await.json()["priority"], 7);
    let in_force = node.ask(RIGA, "DELETE", path, &node.tag(path).await, &Value::Null).await;
    assert_eq!(code(&in_force), (409, "in_force".into()));
    let history = node.get(RIGA, &format!("{path}/history")).await.json();
    assert_eq!(history["items"].as_array().expect("items").len(), 4);
}

/// What each role may do, own and another's, as `rights.csv` says.
#[tokio::test(flavor = "multi_thread")]
async fn roles_do_what_the_table_says_and_nothing_else() {
    let node = Node::new(false).await;
    node.fill().await;
    let organisation = |role: Role, own: bool| match (role, own) {
        (Role::Grantor, true) => "riga",
        (Role::Grantor, false) => "liepaja",
        (Role::Merchant | Role::Terminal, true) => "shop",
        (Role::Merchant | Role::Terminal, false) => "kiosk",
        (Role::Issuer, true) => "shop-issuer",
        (Role::Issuer, false) => "kiosk-issuer",
        (Role::Centre, true) => "shop-centre",
        (Role::Centre, false) => "kiosk-centre",
        (Role::Official, true) => "shop-institution",
        (Role::Official, false) => "kiosk-institution",
        _ => "",
    };
    for (path, entry) in entries().into_iter().filter(|(path, _)| !path.contains("kiosk")) {
        if path.contains("liepaja") || path.contains("2026") {
            continue;
        }
        let name = path.split('/').nth(2).expect("a kind");
        let kind = rights::of_path(name).expect("a kind");
        let tag = node.tag(&path).await;
        for role in Role::ALL {
            let rights = rights::of(role, kind);
            for own in [true, false] {
                let who = Who(role, organisation(role, own), "somebody");
                let expected = |reach: Reach, yes: u16| match reach {
                    Reach::Nothing => 403,
                    Reach::All => yes,
                    Reach::Own if own => yes,
                    Reach::Own => 404,
                };
                let what = format!("{role:?} {} {path}", if own { "own" } else { "other's" });
                let read = node.get(who, &path).await;
                assert_eq!(read.status, expected(rights.read, 200), "{what}: read");
                let missing = node.get(who, &format!("/v1/{name}/nothing")).await;
                let nothing = if rights.read == Reach::Nothing { 403 } else { 404 };
                assert_eq!(missing.status, nothing, "{what}: read of nothing");
                if read.status == 404 {
                    let told = |answer: &Answer| answer.json()["code"].clone();
                    assert_eq!(told(&read), told(&missing), "another's is as nothing");
                }
                if kind != Kind::Official {
                    let list = node.get(who, &format!("/v1/{name}")).await;
                    let listed = if rights.read == Reach::Nothing { 403 } else { 200 };
                    assert_eq!(list.status, listed, "{what}: list");
                    let text = String::from_utf8_lossy(&list.body).into_owned();
                    if rights.read == Reach::Own && !own {
                        assert!(!text.contains("shop"), "{what}: {text}");
                    }
                }
                let mut same = entry.clone();
                same["id"] = node.get(ADMINISTRATOR, &path).await.json()["id"].clone();
                if matches!(kind, Kind::CatalogueItem | Kind::Subsidy) {
                    same.as_object_mut().expect("an object").remove("id");
                }
                if kind == Kind::Instruction {
                    same["version"] = json!(1);
                }
                let put = node.put(who, &path, &tag, &same).await;
                assert_eq!(put.status, expected(rights.change, 200), "{what}: put");
                let removed = node.ask(who, "DELETE", &path, "\"0\"", &Value::Null).await;
                // A tag that is not the entry's: whoever may remove it is told so.
                let kept = expected(rights.change, 412);
                let first = node.tag(&path).await == "\"0\"";
                assert!(removed.status == kept || first, "{what}: remove {}", removed.status);
            }
        }
    }
    let members = node.get(RIGA, "/v1/groups/riga-staff").await.json();
    let listed = members["members"][0].as_str().expect("a member");
    assert!(listed.starts_with("person:"), "{listed}");
    let hidden = node.get(ADMINISTRATOR, "/v1/groups/riga-staff").await.json();
    assert_eq!((hidden.get("members"), &hidden["members_count"]), (None, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_cannot_be_taken_named_or_given_away() {
    let node = Node::new(false).await;
    node.fill().await;
    let tag = node.tag("/v1/benefits/riga-milk").await;
    let taken = json!({"grantor": "liepaja"});
    assert_eq!(node.put(LIEPAJA, "/v1/benefits/riga-milk", &tag, &taken).await.status, 404);
    let given = node.put(RIGA, "/v1/benefits/riga-milk", &tag, &taken).await;
    assert_eq!(given.status, 403);
    let mut spying = instruction("liepaja", 9);
    spying["recipients"] = json!({"any": ["riga-staff"]});
    let named = node.put(LIEPAJA, "/v1/instructions/spy", "", &spying).await;
    spying["recipients"] = json!({"any": ["never-was"]});
    let never = node.put(LIEPAJA, "/v1/instructions/spy", "", &spying).await;
    assert_eq!((named.status, never.status), (422, 422));
    let shop = Who(Role::Merchant, "shop", "m");
    let place = json!({"place": "kiosk-place", "kind": "till"});
    assert_eq!(node.put(shop, "/v1/terminals/T9", "", &place).await.status, 403);
    let place = json!({"place": "shop-place", "kind": "till"});
    assert_eq!(node.put(shop, "/v1/terminals/T9", "", &place).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let node = Node::new(false).await;
    node.fill().await;
    for at in 0..25 {
        let place =
            json!({"merchant": "shop", "territory": "LV0001000", "name": format!("Place {at}")});
        assert_eq!(
            node.put(ADMINISTRATOR, &format!("/v1/places/p{at:02}"), "", &place).await.status,
            201
        );
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/places?merchant=shop&limit=10{cursor}");
        let answer = node.get(ADMINISTRATOR, &path).await;
        let page = answer.json();
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|of| of["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!(items.len(), 10);
        let link = format!("</v1/places?merchant=shop&limit=10&cursor={next}>; rel=\"next\"");
        assert_eq!(answer.headers["link"], link);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 26);
    assert!(seen.is_sorted());
    let named = node.get(ADMINISTRATOR, "/v1/places?q=place%2017").await.json();
    assert_eq!(named["items"].as_array().expect("items").len(), 1);
    let none = node.get(ADMINISTRATOR, "/v1/instructions?valid_on=2025-06-30").await.json();
    assert_eq!(none["items"], json!([]));
    for path in [
        "/v1/places?colour=red",
        "/v1/places?limit=0",
        "/v1/places?cursor=%21",
        "/v1/places?valid_on=x",
    ] {
        assert_eq!(node.get(ADMINISTRATOR, path).await.status, 422, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_is_exported_compared_and_imported() {
    let node = Node::new(false).await;
    node.fill().await;
    let exported = node.get(ADMINISTRATOR, "/v1/registry").await;
    assert_eq!(node.get(RIGA, "/v1/registry").await.status, 403);
    let mut wanted = exported.json();
    let same = node.ask(ADMINISTRATOR, "POST", "/v1/registry:diff", "", &wanted).await.json();
    assert_eq!(same["changes"], json!([]));
    for document in [&wanted, &crate::real_registry().value] {
        let written = registry::yaml(document).expect("YAML");
        assert_eq!(registry::parse(&written).as_ref(), Ok(document));
    }
    wanted["centres"].as_array_mut().expect("centres").remove(0);
    wanted["services"][0]["criteria"]["min_rating"] = json!(3.0);
    let diff = node.ask(ADMINISTRATOR, "POST", "/v1/registry:diff", "", &wanted).await.json();
    let changes = diff["changes"].as_array().expect("changes");
    assert_eq!(changes.len(), 2, "{diff}");
    let unsaid = node.put(ADMINISTRATOR, "/v1/registry", "", &wanted).await;
    assert_eq!(unsaid.status, 428);
    let tag = exported.headers["etag"].clone();
    let careless = node.put(ADMINISTRATOR, "/v1/registry", &tag, &wanted).await;
    assert_eq!(code(&careless), (409, "removes".into()), "one of some thirty entries");
    let put = node.put(ADMINISTRATOR, "/v1/registry?yes=true", &tag, &wanted).await;
    assert_eq!((put.status, put.json()), (200, diff));
    assert_eq!(node.get(ADMINISTRATOR, "/v1/registry").await.json(), wanted);
    wanted["grantors"] = json!([{"id": "x"}]);
    let tag = put.headers["etag"].clone();
    let faulty = node.put(ADMINISTRATOR, "/v1/registry", &tag, &wanted).await;
    assert_eq!(faulty.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_means_of_identity_that_a_basket_does_not_allow_is_refused_with_the_reason() {
    let node = Node::new(false).await;
    node.fill().await;
    let path = |means: &str| format!("/v1/e-services/shop-portal/login?means={means}");
    let portal = Who(Role::Source, "portal", "vpm");
    let opens = node.get(portal, &path("eid")).await.json();
    assert_eq!(opens, json!({"allowed": true, "basket": "public", "reason": null}));
    let refused = node.get(portal, &path("bank")).await.json();
    assert_eq!(refused["reason"]["en"], "bank is not allowed in the basket public");
    assert_eq!(node.get(Who(Role::Merchant, "kiosk", "m"), &path("eid")).await.status, 404);
    assert_eq!(node.get(Who(Role::Recipient, "", "r"), &path("eid")).await.status, 403);
    assert_eq!(node.get(portal, "/v1/e-services/shop-portal/login").await.status, 422);
}
