//! Recipients over the wire: each sees what is their own, in both languages, and nobody else's.

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
    metrics::Metrics,
    refresh::read,
    service::{self, Bounds, Running},
};
use chrono::{DateTime, TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, TerminalKeys, Tokens},
    edge,
    issuer::MeansFiles,
    load::{self, Context},
    portal::panels::{self as items, PanelBook},
    recipient,
    registry::{self, Current, registrar::Registrar},
    terminal::http as terminals,
};
use domain::{
    id::{IssuerId, RecipientId},
    person_code::PersonCode,
};
use ingest::{
    audit::Deed,
    clock::ManualClock,
    log::{Log, model::ModelLog},
    record::{Record, outside_id},
    topic::Topic,
    vault::Vault,
    wire::v1::{EntitlementEvaluated, Event, GroupDays},
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::client::{Answer, send};

const REGISTRY: &str = include_str!("recipients/registry.yaml");
const READS: [&str; 7] = [
    "/v1/me/benefits",
    "/v1/me/means",
    "/v1/me/transactions",
    "/v1/me/notifications",
    "/v1/me/consents",
    "/v1/me/export",
    "/v1/me/panels",
];

const BREAD: &str = "student-bread";

mod consents;
mod notices;
mod panels;

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

/// The streams, the keys and three people: a senior, a student, and one whom the state has listed.
struct Country {
    folder: tempfile::TempDir,
    context: Context,
    clock: Arc<ManualClock>,
    senior: RecipientId,
    student: RecipientId,
    listed: RecipientId,
}

const CODES: [&str; 3] = ["326180-33995", "322360-67989", "328541-01970"];

impl Country {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(&folder.path().join("keys")).expect("a vault");
        let clock = Arc::new(ManualClock::at(noon()));
        let prometheus = prometheus::Registry::new();
        let context = Context {
            log: Arc::new(ModelLog::default()),
            vault: vault.clone(),
            clock: Arc::<ManualClock>::clone(&clock),
            metrics: connectors::metrics::Metrics::register(&prometheus).expect("metrics"),
            streams: ingest::metrics::Metrics::register(&prometheus).expect("metrics"),
        };
        let document =
            registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
        registry::apply(&context.log, &document, noon()).await.expect("applied");
        let codes = CODES.map(|code| PersonCode::parse(code).expect("a code"));
        let ids = vault.enrol(&codes).expect("ids");
        let country =
            Self { folder, context, clock, senior: ids[0], student: ids[1], listed: ids[2] };
        country.evaluate(country.senior, "seniors", "2025-01-01", None).await;
        country.evaluate(country.student, "students", "2025-01-01", None).await;
        country.evaluate(country.listed, "secret-list", "2025-01-01", None).await;
        country.give_cards().await;
        country
    }

    /// Tells the days of a person in a group, as known from the first of them.
    async fn evaluate(&self, person: RecipientId, group: &str, from: &str, until: Option<&str>) {
        let known_from = format!("{from}T00:00:00+02:00");
        let known_from = DateTime::parse_from_rfc3339(&known_from).expect("an instant").to_utc();
        let event = EntitlementEvaluated {
            person: person.to_string(),
            household: person.to_string(),
            known_from: known_from.timestamp_micros(),
            alive: true,
            groups: vec![GroupDays {
                group_id: group.into(),
                from: from.into(),
                until: until.map(str::to_owned),
            }],
            ..EntitlementEvaluated::default()
        };
        let record = Record {
            id: outside_id("test", &format!("{person}{from}")),
            key: person.to_string(),
            source: "test".into(),
            sequence: 0,
            event_time: known_from,
            recorded_at: noon(),
            event: Event::EntitlementEvaluated(event),
        };
        self.context.log.append(Topic::Entitlements, &[record]).await.expect("appended");
    }

    /// Everybody has a card; the senior a second one that soon ends.
    async fn give_cards(&self) {
        let connector = MeansFiles {
            issuers: [IssuerId::new("city-card").expect("an id")].into(),
            vault: self.context.vault.clone(),
            clock: Arc::clone(&self.context.clock),
        };
        let line = |person: &str, value: &str, to: Value| {
            json!({"person": person, "issuer": "city-card", "kind": "card_uid", "value": value,
                "valid_from": "2025-01-01", "valid_to": to})
            .to_string()
        };
        let mut lines: Vec<_> =
            CODES.iter().map(|code| line(code, &card(code), Value::Null)).collect();
        lines.push(line(CODES[0], "04FFEE", json!("2025-06-15")));
        let reader = std::io::Cursor::new(lines.join("\n").into_bytes());
        let account = load::load(&self.context, connector, reader, "means", |_| ()).await;
        assert_eq!(account.expect("loaded").taken, 4);
    }

    async fn start(&self) -> Node {
        Node::start(self.folder.path(), &self.context).await
    }
}

/// The number of a person's card.
fn card(code: &str) -> String {
    format!("04{}", code.replace('-', ""))
}

struct Node {
    http: SocketAddr,
    tokens: Tokens,
    running: Running,
    serving: tokio::task::JoinHandle<()>,
    told: Arc<Mutex<Vec<Deed>>>,
}

impl Node {
    async fn start(folder: &Path, context: &Context) -> Self {
        let log: Arc<dyn Log> = Arc::clone(&context.log);
        let index = Index::open(&folder.join("index"), &log).await.expect("an index");
        let parts = Parts {
            log,
            vault: context.vault.clone(),
            clock: Arc::clone(&context.clock),
            metrics: Metrics::register(&prometheus::Registry::new()).expect("metrics"),
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            index,
        };
        let authoriser = Authoriser::embedded(parts, Settings::default()).await.expect("one");
        let (handle, running) = service::start(authoriser, Bounds::default()).expect("started");
        let tokens = Tokens::of(&context.vault, Arc::clone(&context.clock));
        let (vault, metrics) = (context.vault.clone(), context.metrics.clone());
        let settings = terminals::Settings::default();
        let (own, streams) = (tokens.clone(), context.streams.clone());
        let tills =
            terminals::Door::new(handle.clone(), vault, own, metrics.clone(), streams, settings);
        let told: Arc<Mutex<Vec<Deed>>> = Arc::default();
        let deeds = Arc::clone(&told);
        let tell = Arc::new(move |deed| deeds.lock().expect("no panic").push(deed));
        let Context { log, vault, clock, .. } = context.clone();
        let book = PanelBook::over(Arc::clone(&log), vault.clone(), Arc::clone(&clock));
        let keys = Arc::<TerminalKeys>::default();
        let registrar = Registrar::new(log, clock, |_| None, Arc::new(|_| ()), true, keys);
        let people = Arc::clone(handle.people());
        let holder = Arc::new(move |token| read(&people).means.get(token)?.person);
        let (own, deeds) = (tokens.clone(), Arc::clone(&tell));
        let panels = items::http::Door::new(book.clone(), registrar, own, vault, holder, deeds);
        let (own, current) = (tokens.clone(), Current::default());
        let door = recipient::http::Door::new(handle, own, current, book, tell);
        let routes = terminals::routes(tills)
            .merge(recipient::http::routes(door))
            .merge(items::http::routes(panels));
        let beside = recipient::http::Description::openapi();
        let routes = edge::around(routes, beside, metrics);
        let (http, serving) = crate::serve(routes).await;
        Self { http, tokens, running, serving, told }
    }

    /// Ends it, so that its folder is free.
    async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
        self.running.stop().await.expect("stopped");
    }

    async fn ask_as(&self, role: Role, who: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let identity = Identity { role, organisation: "shop".into(), subject: who.into() };
        let token = self.tokens.issue(&identity, noon() + TimeDelta::days(300)).expect("a token");
        let bearer = format!("Bearer {token}");
        send(self.http, method, path, &[("authorization", bearer.as_str())], body).await
    }

    async fn get(&self, who: RecipientId, path: &str) -> Value {
        let answer = self.ask_as(Role::Recipient, &who.to_string(), "GET", path, b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.json()
    }

    /// The entry of a list of the person's whose field has a value.
    async fn one(&self, who: RecipientId, path: &str, list: &str, field: &str, is: &str) -> Value {
        let answer = self.get(who, path).await;
        let entries = answer[list].as_array().expect("a list");
        let found = entries.iter().find(|entry| entry[field] == is);
        found.unwrap_or_else(|| panic!("no {is} in {answer:#}")).clone()
    }

    async fn till(&self, path: &str, key: &str, body: &Value) -> Value {
        let identity =
            Identity { role: Role::Terminal, organisation: "shop".into(), subject: "T1".into() };
        let token = self.tokens.issue(&identity, noon() + TimeDelta::days(300)).expect("a token");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        let answer = send(self.http, "POST", path, &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Sells some milk to whoever has a code's card.
    async fn sell(&self, key: &str, code: &str, units: u32) -> Value {
        let sale = json!({"terminal_id": "T1", "occurred_at": noon().to_rfc3339(), "mode": "sale",
            "means": {"kind": "card_uid", "value": card(code)},
            "lines": [{"line": 1, "item": "milk", "quantity": units, "unit_price_cents": 150}]});
        self.till("/v1/authorisations", key, &sale).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_got_is_told_with_why_and_what_is_left() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    let milk = async || node.one(senior, READS[0], "benefits", "instruction", "senior-milk").await;
    let before = milk().await;
    assert_eq!((&before["available"], &before["entitled"]), (&json!(true), &json!(true)));
    assert_eq!(
        before["why"],
        json!([{"lv": "Jūs esat grupā: Seniori", "en": "You are in: Seniors"}])
    );
    assert_eq!(before["label"], json!({"lv": "Piens senioriem", "en": "Milk for seniors"}));
    assert_eq!(before["grantor"], json!({"id": "state", "name": {"lv": "Valsts", "en": "State"}}));
    assert_eq!(before["benefit"]["legal_basis"], "Law 1");
    assert_eq!(before["effect"]["lv"], "−1,00 EUR par vienību");
    assert_eq!(before["content"], json!({"lv": "Piens", "en": "Milk"}));
    assert_eq!(before["schedule"]["en"], "at any time");
    let left = |told: &Value| {
        let limits = told["limits"].as_array().expect("limits").iter();
        limits.map(|limit| limit["left"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(left(&before), [5, 1_000]);
    assert_eq!(before["limits"][0]["renews_on"], "2025-07-01");
    assert_eq!(before["limits"][0]["text"]["lv"], "šomēnes atlikums 5 no 5 (vienības; personai)");
    let sale = node.sell("s1", CODES[0], 3).await;
    assert_eq!(sale["benefit_cents"], 300);
    assert_eq!(left(&milk().await), [2, 999], "seen as soon as it is answered");
    assert_eq!(left(&milk().await), [2, 999], "asking moves nothing");
    let id = sale["authorisation_id"].as_str().expect("an id");
    let back = json!({"lines": [{"line": 1, "quantity": 1}]});
    let back = node.till(&format!("/v1/authorisations/{id}/refunds"), "f1", &back).await;
    assert_eq!(left(&milk().await), [3, 999], "a use comes back only whole");
    let again = node.sell("s2", CODES[0], 9).await;
    assert_eq!(again["benefit_cents"], 300);
    let used_up = milk().await;
    assert_eq!((left(&used_up), &used_up["available"]), (vec![0, 998], &json!(false)));
    assert_eq!(used_up["why"][1]["en"], "The limit is used up");
    let points = node.one(senior, READS[0], "benefits", "instruction", "points").await;
    let earned = [&sale, &again].map(|of| of["points_earned"].as_i64().expect("points"));
    let taken = back["refunds"][0]["points"].as_i64().expect("points");
    assert!(earned[1] > 0);
    assert_eq!(points["points"], json!(earned[0] + earned[1] + taken));
    let others = node.one(country.student, READS[0], "benefits", "instruction", "points").await;
    assert_eq!(others["points"], 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_needed_is_told_but_never_a_list() {
    let country = Country::new().await;
    let node = country.start().await;
    let ids = |told: &Value| -> Vec<String> {
        let told = told["benefits"].as_array().expect("a list").iter();
        told.map(|of| of["instruction"].as_str().expect("an id").to_owned()).collect()
    };
    let student = node.get(country.student, READS[0]).await;
    let expected = ["not-listed", "points", "student-bread", "ending", "senior-milk"];
    assert_eq!(ids(&student), expected, "own first; not yet valid ones and lists not at all");
    let milk = &student["benefits"][4];
    assert_eq!((&milk["available"], &milk["limits"]), (&json!(false), &json!([])));
    let seniors = json!({"id": "seniors", "name": {"lv": "Seniori", "en": "Seniors"}});
    let missing = json!({"one_of": [seniors], "all_of": [], "none_of": []});
    assert_eq!(milk["missing"], missing);
    assert_eq!(
        milk["why"],
        json!([{"lv": "Jābūt kādā no grupām: Seniori", "en": "Be in one of: Seniors"}])
    );
    let senior = node.get(country.senior, READS[0]).await;
    let listing = senior["benefits"].as_array().expect("a list");
    let bread = listing.iter().find(|of| of["instruction"] == BREAD).expect("told");
    assert_eq!(bread["missing"]["one_of"][0]["id"], "students");
    assert_eq!(bread["missing"]["none_of"], json!([seniors]));
    assert!(!ids(&senior).contains(&"listed-seniors".to_owned()), "a list is lacking");
    let listed = node.get(country.listed, READS[0]).await;
    let own = ids(&listed);
    assert_eq!(own[..3], ["listed-coffee", "points", "student-bread"]);
    assert!(!own.contains(&"not-listed".to_owned()), "a list excludes");
    let named = json!([{"lv": "Devējs Jūs ir norādījis", "en": "The grantor has named you"}]);
    assert_eq!(listed["benefits"][0]["why"], named);
    for told in [&student, &senior, &listed] {
        let text = told.to_string();
        assert!(!text.contains("secret-list") && !text.contains("Secret"), "{text}");
    }
    let one = node.get(country.student, "/v1/me/benefits?instruction=senior-milk").await;
    assert_eq!(ids(&one), ["senior-milk"]);
    // Student bread is for Mondays and Tuesdays.
    country.clock.advance_to(noon() + TimeDelta::days(2));
    let told = node.one(country.student, READS[0], "benefits", "instruction", BREAD).await;
    assert_eq!((&told["available"], &told["entitled"]), (&json!(false), &json!(true)));
    assert_eq!(told["schedule"]["en"], "Mon, Tue 09:00–17:00");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_come_in_pages_the_newest_first() {
    let country = Country::new().await;
    let node = country.start().await;
    for number in 0..53 {
        node.sell(&format!("s{number}"), CODES[0], 1).await;
    }
    node.sell("other", CODES[1], 1).await;
    let first = node.get(country.senior, READS[2]).await;
    let page = first["transactions"].as_array().expect("a list");
    assert_eq!(page.len(), 50);
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = node.get(country.senior, &format!("{}?cursor={cursor}", READS[2])).await;
    let rest = second["transactions"].as_array().expect("a list");
    assert_eq!((rest.len(), &second["next_cursor"]), (3, &Value::Null));
    let oldest = &rest[2];
    assert_eq!(oldest["benefit_cents"], 100, "the limit was there then");
    assert_eq!(page[0]["benefit_cents"], 0, "and is used up by the newest");
    assert_eq!(oldest["merchant"]["name"]["lv"], "Veikals");
    assert_eq!(oldest["place"]["name"]["en"], "Market Street");
    assert_eq!(oldest["items"][0]["item"]["name"]["lv"], "Piens");
    assert_eq!(oldest["lines"][0]["benefits"][0]["label"]["en"], "Milk for seniors");
    let why = |of: &Value, id: &str| {
        let explained = of["explanation"].as_array().expect("a list").iter();
        explained.clone().find(|one| one["instruction"] == id).expect("explained").clone()
    };
    assert_eq!(why(oldest, "senior-milk")["text"]["lv"], "Piens senioriem: −1,00 EUR");
    let used_up = why(&page[0], "senior-milk");
    assert_eq!((&used_up["reason"], &used_up["outcome"]), (&json!("limit"), &json!("skipped")));
    assert_eq!(used_up["text"], json!({"lv": "Limits ir izlietots", "en": "The limit is used up"}));
    assert_eq!(why(&page[0], "not-listed")["reason"], "content");
    let mut ids: Vec<_> = page.iter().chain(rest).map(|of| &of["authorisation_id"]).collect();
    let theirs = node.get(country.student, READS[2]).await;
    assert_eq!(theirs["transactions"].as_array().expect("a list").len(), 1);
    assert!(!ids.contains(&&theirs["transactions"][0]["authorisation_id"]));
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), 53, "each once");
    let path = format!("{}?cursor=0", READS[2]);
    let who = country.senior.to_string();
    let wrong = node.ask_as(Role::Recipient, &who, "GET", &path, b"").await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (422, &json!("invalid_value")));
    node.stop().await;
    // What is read again from the stream is the same.
    std::fs::remove_dir_all(country.folder.path().join("index")).expect("removed");
    let node = country.start().await;
    assert_eq!(node.get(country.senior, READS[2]).await, first);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_recipients_are_answered_and_only_those_who_are_known() {
    let country = Country::new().await;
    let node = country.start().await;
    let unknown = RecipientId::from_u128(1).to_string();
    let senior = country.senior.to_string();
    for path in READS {
        assert_eq!(send(node.http, "GET", path, &[], b"").await.status, 401);
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Recipient) {
            let refused = node.ask_as(role, &senior, "GET", path, b"").await;
            assert_eq!(refused.status, 403, "{role:?} {path}");
        }
        for nobody in [unknown.as_str(), "anna", ""] {
            let answer = node.ask_as(Role::Recipient, nobody, "GET", path, b"").await;
            assert_eq!(answer.status, 404, "{nobody} {path}");
        }
    }
    country.context.vault.destroy(&[country.senior]).expect("destroyed");
    for path in READS {
        let answer = node.ask_as(Role::Recipient, &senior, "GET", path, b"").await;
        assert_eq!(answer.status, 404, "erased: {path}");
        node.get(country.student, path).await;
    }
    assert_eq!(node.told.lock().expect("no panic").len(), 1, "the student's export alone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn means_are_told_without_their_values() {
    let country = Country::new().await;
    let node = country.start().await;
    let told = node.get(country.senior, READS[1]).await;
    let means = told["means"].as_array().expect("a list");
    assert_eq!(means.len(), 2, "own alone");
    assert!(means.iter().all(|of| of["kind"] == "card_uid" && of["status"] == "valid"));
    assert_eq!(means[0]["issuer"]["name"]["lv"], "Pilsētas karte");
    let text = told.to_string();
    assert!(!text.contains(&card(CODES[0])) && !text.contains("04FFEE"), "{text}");
    country.clock.advance_to(noon() + TimeDelta::days(14));
    let told = node.get(country.senior, READS[1]).await;
    let status = |to: Value| {
        let means = told["means"].as_array().expect("a list").iter();
        means.clone().find(|of| of["valid_to"] == to).expect("told")["status"].clone()
    };
    assert_eq!(
        (status(json!("2025-06-15")), status(Value::Null)),
        (json!("expired"), json!("valid"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_what_the_lists_hold_and_is_told_to_the_audit() {
    let country = Country::new().await;
    let node = country.start().await;
    for number in 0..53 {
        node.sell(&format!("s{number}"), CODES[0], 1).await;
    }
    let agreed = json!({"purpose": "notices", "text_version": "1"}).to_string();
    let (who, path) = (country.senior.to_string(), "/v1/me/consents/proactive");
    let given = node.ask_as(Role::Recipient, &who, "PUT", path, agreed.as_bytes()).await;
    assert_eq!(given.status, 200);
    let whole = node.get(country.senior, READS[5]).await;
    assert_eq!(whole["recipient"], json!(who));
    for (path, list) in [(0, "benefits"), (1, "means"), (4, "consents")] {
        let listed = node.get(country.senior, READS[path]).await;
        assert!(!listed[list].as_array().expect("a list").is_empty());
        assert_eq!(whole[list], listed[list], "{list}");
    }
    let notices = |of: &Value| {
        let notices = of["notifications"].as_array().expect("a list").iter();
        let mut ids: Vec<_> = notices.map(|notice| notice["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let listed = node.get(country.senior, READS[3]).await;
    assert_eq!(notices(&whole), notices(&listed));
    let transactions = whole["transactions"].as_array().expect("a list");
    assert_eq!((transactions.len(), &whole["transactions_next_cursor"]), (53, &Value::Null));
    let told = node.told.lock().expect("no panic").clone();
    let actions: Vec<_> = told.iter().map(|deed| (deed.action, deed.object.as_str())).collect();
    let expected = [("consent.give", who.as_str()), ("me.export", who.as_str())];
    assert_eq!(actions, expected, "an internal id and nothing else");
    let described = send(node.http, "GET", "/openapi.json", &[], b"").await.json();
    for path in READS.iter().chain(&["/v1/me/consents/{id}"]) {
        assert!(described["paths"][*path].is_object(), "{path}");
    }
    node.stop().await;
}
