//! Consents: given, withdrawn, kept with their history, and nobody else's.

use connectors::access::Role;
use domain::id::RecipientId;
use ingest::{log::replay, topic::Topic, wire::v1::Event};
use serde_json::{Value, json};

use super::{Country, Node, READS};
use crate::client::Answer;

const PATH: &str = "/v1/me/consents/proactive";

impl Node {
    async fn give(&self, who: RecipientId, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.ask_as(Role::Recipient, &who.to_string(), "PUT", path, body.as_bytes()).await
    }

    async fn withdraw(&self, who: RecipientId, path: &str) -> Answer {
        self.ask_as(Role::Recipient, &who.to_string(), "DELETE", path, b"").await
    }
}

fn terms(version: &str) -> Value {
    json!({"purpose": "notices", "text_version": version})
}

/// Whether each change of a consent gave it, and under which version.
fn history(consent: &Value) -> Vec<(bool, String)> {
    let steps = consent["history"].as_array().expect("a history").iter();
    let step = |step: &Value| {
        let version = step["text_version"].as_str().expect("a version").to_owned();
        (step["given"].as_bool().expect("given or not"), version)
    };
    steps.map(step).collect()
}

fn step(given: bool, version: &str) -> (bool, String) {
    (given, version.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_given_and_withdrawn_and_every_change_is_kept() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    assert_eq!(node.withdraw(senior, PATH).await.status, 404, "never given");
    let given = node.give(senior, PATH, &terms("1")).await;
    assert_eq!((given.status, &given.json()["given"]), (200, &json!(true)));
    assert_eq!(given.json()["history"][0]["recorded_by"], "recipient");
    assert_eq!(node.give(senior, PATH, &terms("1")).await.body, given.body, "again, the same");
    assert_eq!(node.give(senior, PATH, &terms("2")).await.status, 200);
    let other = json!({"purpose": "marketing", "text_version": "2"});
    let refused = node.give(senior, PATH, &other).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("other_purpose")));
    let withdrawn = node.withdraw(senior, PATH).await;
    assert_eq!((withdrawn.status, &withdrawn.json()["given"]), (200, &json!(false)));
    assert_eq!(node.withdraw(senior, PATH).await.body, withdrawn.body, "again, the same");
    let known = [step(true, "1"), step(true, "2"), step(false, "2")];
    assert_eq!(history(&withdrawn.json()), known);
    node.stop().await;
    let node = country.start().await;
    let listed = node.get(senior, READS[4]).await;
    assert_eq!(listed["consents"], json!([withdrawn.json()]), "after a restart, too");
    assert_eq!(node.give(senior, PATH, &terms("2")).await.json()["given"], true);
    let nobody = node.get(country.student, READS[4]).await;
    assert_eq!(nobody["consents"], json!([]));
    assert_eq!(node.withdraw(country.student, PATH).await.status, 404, "another's");
    let mut changes = Vec::new();
    let each = |stored: ingest::record::Stored| {
        changes.push(stored.record);
        Ok::<(), ingest::error::LogError>(())
    };
    replay(&country.context.log, Topic::Consents, each).await.expect("readable");
    assert_eq!(changes.len(), 4, "what changes nothing is no record");
    for record in changes {
        let Event::ConsentChanged(change) = record.event else { panic!("no consent") };
        assert_eq!(change.person, senior.to_string());
        assert_eq!((change.consent_id.as_str(), record.key), ("proactive", senior.to_string()));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_consent_is_named_with_its_place() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    let wrong = json!({"purpose": "to send anna notices", "version": 1});
    let answer = node.give(senior, PATH, &wrong).await;
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    let told = problem["errors"].as_array().expect("faults").iter().map(|of| &of["pointer"]);
    let mut told: Vec<_> = told.map(|pointer| pointer.as_str().expect("text")).collect();
    told.sort_unstable();
    assert_eq!(told, ["", "/purpose", "/version"]);
    assert!(!problem.to_string().contains("anna"), "{problem}");
    let who = senior.to_string();
    let garbage = node.ask_as(Role::Recipient, &who, "PUT", PATH, b"{").await;
    assert_eq!((garbage.status, &garbage.json()["code"]), (400, &json!("malformed_json")));
    let large = vec![b' '; 5 << 10];
    assert_eq!(node.ask_as(Role::Recipient, &who, "PUT", PATH, &large).await.status, 413);
    let nameless = node.give(senior, "/v1/me/consents/a%20b", &terms("1")).await;
    assert_eq!(nameless.status, 404, "no identifier");
    let terminal = node.ask_as(Role::Terminal, "T1", "PUT", PATH, b"{}").await;
    assert_eq!(terminal.status, 403);
    assert_eq!(node.get(senior, READS[4]).await["consents"], json!([]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_given_at_once_are_all_kept_once() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    let (one, version) = (terms("1"), terms("2"));
    let asked =
        (0..20).map(|at| node.give(senior, PATH, if at % 2 == 0 { &one } else { &version }));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let kept = node.get(senior, READS[4]).await;
    let known = history(&kept["consents"][0]);
    assert!(known.windows(2).all(|two| two[0] != two[1]), "no change twice: {known:?}");
    node.stop().await;
}
