//! Lists of members over the wire: added, replaced as a whole, and refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use connectors::{
    access::{Identity, Role, Tokens},
    connector::Connector,
    edge,
    grantor::{
        self,
        http::{Description, Door},
    },
    known::Known,
    registry::{self, Current},
};
use domain::person_code::PersonCode;
use ingest::{
    dead_letter::Reason, log::replay, register::memberships::Memberships, topic::Topic,
    wire::v1::Event,
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::{
    Node,
    client::{Answer, send},
};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const REGISTRY: &str = r#"{
    "grantors": [{"id": "riga", "name": "Riga", "kind": "municipality"},
                 {"id": "state", "name": "State", "kind": "state"}],
    "groups": [{"id": "staff", "name": "Staff", "grantor": "riga", "members": []},
               {"id": "donors", "name": "Donors", "grantor": "state", "members": []},
               {"id": "old", "name": "Old", "grantor": "riga", "where": "age(birth_date) > 65"},
               {"id": "all", "name": "All", "members": []}]}"#;

/// The n-th person's code, of the form that carries no date.
fn code(number: u32) -> String {
    format!("3261{:02}-{:05}", number % 100, 30_000 + number)
}

fn member(number: u32) -> Value {
    json!({ "person": code(number), "from": "2025-03-01" })
}

struct Served {
    node: Node,
    at: SocketAddr,
    tokens: Tokens,
    deeds: Arc<Mutex<Vec<String>>>,
}

impl Served {
    /// A node whose register has told of fifty people.
    async fn start() -> Self {
        let node = Node::new();
        let context = &node.context;
        let document =
            registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
        registry::apply(&context.log, &document, context.clock.now()).await.expect("applied");
        let codes: Vec<_> =
            (0..50).map(|number| PersonCode::parse(&code(number)).expect("a code")).collect();
        context.vault.enrol(&codes).expect("enrolled");
        let tokens = Tokens::of(&context.vault, Arc::clone(&context.clock));
        let deeds: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&deeds);
        let tell = Arc::new(move |deed: ingest::audit::Deed| {
            let deed = format!("{} {} {}", deed.actor, deed.action, deed.object);
            told.lock().expect("no panic").push(deed);
        });
        let door =
            Door::new(context.clone(), tokens.clone(), Known::default(), Current::default(), tell);
        let metrics = context.metrics.clone();
        let routes = edge::around(grantor::http::routes(door), Description::openapi(), metrics);
        let (at, _) = crate::serve(routes).await;
        Self { node, at, tokens, deeds }
    }

    async fn send_as(
        &self,
        (role, organisation): (Role, &str),
        (method, path): (&str, &str),
        kind: &str,
        body: &str,
    ) -> Answer {
        let (organisation, subject) = (organisation.into(), "system-1".into());
        let identity = Identity { role, organisation, subject };
        let until = self.node.context.clock.now() + TimeDelta::days(1);
        let token = format!("Bearer {}", self.tokens.issue(&identity, until).expect("a token"));
        let headers = [("authorization", token.as_str()), ("content-type", kind)];
        send(self.at, method, path, &headers, body.as_bytes()).await
    }

    async fn riga(&self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        self.send_as((Role::Grantor, "riga"), (method, path), kind, body).await
    }

    async fn staff(&self, method: &str, members: &[Value]) -> Answer {
        let body = json!(members).to_string();
        self.riga(method, "/v1/groups/staff/members", JSON, &body).await
    }

    /// How many are on a group's list, as the stream says.
    async fn members(&self, group: &str) -> usize {
        let mut lists = Memberships::default();
        replay(&self.node.context.log, Topic::Memberships, |stored| {
            lists.apply(&stored);
            Ok::<(), ingest::error::LogError>(())
        })
        .await
        .expect("readable");
        lists.members(&domain::id::GroupId::new(group).expect("an id")).count()
    }
}

#[tokio::test]
async fn members_are_added_each_by_itself_and_again_without_harm() {
    let served = Served::start().await;
    let lines = [
        member(0).to_string(),
        json!({"group": "staff", "person": code(1), "from": "2025-03-01", "to": "2025-03-31"})
            .to_string(),
        json!({"means": {"kind": "card_uid", "value": "04A1"}, "from": "2025-03-01"}).to_string(),
        json!({"person": "326199-39999", "from": "2025-03-01"}).to_string(),
        json!({"group": "donors", "person": code(2), "from": "2025-03-01"}).to_string(),
        json!({"person": code(2), "means": "x", "from": "yesterday"}).to_string(),
        json!({"person": code(2), "from": "2025-03-05", "to": "2025-03-04", "x": 1}).to_string(),
        "{".to_owned(),
    ];
    let path = "/v1/groups/staff/members";
    let answer = served.riga("POST", path, LINES, &lines.join("\n")).await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!((&told["taken"], &told["already_there"]), (&json!(3), &json!(0)));
    assert!(told.get("ended").is_none(), "{told}");
    let refused = told["refused"].as_array().expect("a list").iter();
    let refused: Vec<_> =
        refused.map(|of| (of["line"].as_u64(), of["problem"]["code"].as_str())).collect();
    let expected = [
        (4, "unknown_person"),
        (5, "invalid_value"),
        (6, "invalid_value"),
        (7, "invalid_value"),
        (8, "malformed_json"),
    ];
    assert_eq!(refused, expected.map(|(line, code)| (Some(line), Some(code))));
    assert!(!answer.body.windows(6).any(|six| six == b"326199"), "no code comes back");
    assert_eq!(served.members("staff").await, 3);
    // The same again, and other days of one.
    let again = served.staff("POST", &[member(0)]).await.json();
    assert_eq!((&again["taken"], &again["already_there"]), (&json!(0), &json!(1)));
    let other = json!({"person": code(0), "from": "2025-03-01", "to": "2025-12-31"});
    assert_eq!(served.staff("POST", &[other]).await.json()["taken"], 1);
    assert_eq!(served.members("staff").await, 3);
    let deeds = served.deeds.lock().expect("no panic").clone();
    assert_eq!(deeds, vec!["system-1 group.members.add staff"; 3]);
}

#[tokio::test]
async fn a_whole_list_ends_the_memberships_of_those_it_does_not_name() {
    let served = Served::start().await;
    let all: Vec<_> = (0..40).map(member).collect();
    let told = served.staff("PUT", &all).await.json();
    assert_eq!((&told["taken"], &told["ended"]), (&json!(40), &json!(0)));
    let told = served.staff("PUT", &all[..38]).await.json();
    assert_eq!((&told["taken"], &told["ended"]), (&json!(0), &json!(2)));
    assert_eq!(served.members("staff").await, 38);
    // A line that is refused might have been about any of them.
    let mut broken = all[..37].to_vec();
    broken.push(json!({"person": "nobody", "from": "2025-03-01"}));
    let told = served.staff("PUT", &broken).await.json();
    assert!(told.get("ended").is_none(), "{told}");
    assert_eq!(served.members("staff").await, 38);
    // Nobody is named twice.
    let told = served.staff("PUT", &[all.clone(), vec![member(0)]].concat()).await.json();
    assert_eq!(told["refused"][0]["problem"]["code"], "duplicate_key");
    assert_eq!((&told["taken"], served.members("staff").await), (&json!(2), 40));
    // More than a tenth ends only where it is meant.
    let refused = served.staff("PUT", &all[..20]).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("list_ends_many")));
    assert_eq!(served.members("staff").await, 40);
    let body = json!(all[..20]).to_string();
    let meant = served.riga("PUT", "/v1/groups/staff/members?yes=true", JSON, &body).await;
    assert_eq!(meant.json()["ended"], 20);
    // Who comes back is a member again.
    assert_eq!(served.staff("POST", &[member(30)]).await.json()["taken"], 1);
    assert_eq!((served.members("staff").await, served.members("donors").await), (21, 0));
    // Memberships that are over do not end once more, however many they are.
    let over = |number| json!({"person": code(number), "from": "2020-01-01", "to": "2020-12-31"});
    let over: Vec<_> = (40..50).map(over).collect();
    assert_eq!(served.staff("POST", &over).await.json()["taken"], 10);
    assert_eq!(served.staff("PUT", &all[..20]).await.json()["ended"], 1);
}

#[tokio::test]
async fn only_a_grantor_tells_who_is_in_a_group_and_only_in_its_own_lists() {
    let served = Served::start().await;
    let body = json!([member(0)]).to_string();
    for method in ["POST", "PUT"] {
        for (group, status, said) in [
            ("donors", 404, "not_found"),
            ("nothing", 404, "not_found"),
            ("all", 404, "not_found"),
            ("old", 409, "no_list"),
        ] {
            let path = format!("/v1/groups/{group}/members");
            let answer = served.riga(method, &path, JSON, &body).await;
            assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(said)), "{group}");
        }
        let path = "/v1/groups/staff/members";
        for role in [Role::Administrator, Role::Merchant, Role::Source, Role::Recipient] {
            let answer = served.send_as((role, "riga"), (method, path), JSON, &body).await;
            assert_eq!(answer.status, 403, "{role:?}");
        }
        let other = served.send_as((Role::Grantor, "state"), (method, path), JSON, &body).await;
        assert_eq!(other.status, 404);
        let none = served.send_as((Role::Grantor, ""), (method, path), JSON, &body).await;
        assert_eq!(none.status, 404);
        assert_eq!(served.riga(method, path, "text/plain", &body).await.status, 415);
        assert_eq!(served.riga(method, path, JSON, "[").await.status, 400);
        assert_eq!(served.riga(method, path, JSON, "{}").await.status, 422);
    }
    assert_eq!(served.node.records(Topic::Memberships).await.len(), 0);
}

#[tokio::test]
async fn a_file_of_lists_says_whose_each_member_is() {
    let served = Served::start().await;
    let context = &served.node.context;
    let document = registry::read(REGISTRY, "registry", &|_| None, &|_| None).expect("a registry");
    let (vault, clock) = (context.vault.clone(), Arc::clone(&context.clock));
    let groups = grantor::lists(&document.registry);
    let mut lists = grantor::MembershipLists { groups, only: None, vault, clock };
    let line = json!({"group": "all", "person": code(3), "from": "2025-03-01"});
    let record = lists.translate(&[line.to_string().as_bytes()]).remove(0);
    let Event::MembershipChanged(change) = record.expect("taken").event else { panic!("a member") };
    assert_eq!((change.group_id.as_str(), change.from.as_str()), ("all", "2025-03-01"));
    assert_eq!(reason_of(&mut lists, member(3)), Reason::MissingField);
    let unknown = json!({"group": "old", "person": code(3), "from": "2025-03-01"});
    assert_eq!(reason_of(&mut lists, unknown), Reason::UnknownReference);
}

fn reason_of(lists: &mut grantor::MembershipLists, line: Value) -> Reason {
    lists.translate(&[line.to_string().as_bytes()]).remove(0).expect_err("refused").reason
}
