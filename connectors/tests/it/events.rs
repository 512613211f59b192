//! Events of the service centres and of the portal.

use std::{collections::HashSet, sync::Arc};

use connectors::{
    connector::Connector,
    load::{self, Account},
    portal::PortalEvents,
    vpvkac::CentreEvents,
};
use domain::id::CentreId;
use ingest::{
    dead_letter::Reason,
    topic::Topic,
    wire::v1::{Event, PortalEvent, ServiceEvent},
};
use serde_json::{Value, json};

use crate::Node;

fn event(id: &str, kind: &str, data: Value) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/somewhere", "type": kind,
        "time": "2025-01-31T23:30:00Z", "data": data,
    });
    event.to_string()
}

async fn load<C: Connector>(node: &Node, connector: C, lines: &[String]) -> Account {
    let reader = std::io::Cursor::new(lines.join("\n"));
    load::load(&node.context, connector, reader, "events", |_| {}).await.expect("loaded")
}

fn centres(node: &Node) -> CentreEvents {
    CentreEvents {
        centres: HashSet::from([CentreId::new("library-ligatne").expect("an id")]),
        vault: node.context.vault.clone(),
        clock: Arc::clone(&node.context.clock),
    }
}

fn portal(node: &Node) -> PortalEvents {
    PortalEvents { vault: node.context.vault.clone(), clock: Arc::clone(&node.context.clock) }
}

async fn refused<C: Connector>(make: impl Fn(&Node) -> C, bad: &[(String, Reason, &str)]) {
    for (line, reason, named) in bad {
        let node = Node::new();
        let account = load(&node, make(&node), std::slice::from_ref(line)).await;
        assert_eq!(account.refused.get(reason), Some(&1), "{line}: {account:?}");
        let letter = node.dead_letters().await.pop().expect("a dead letter");
        assert!(letter.detail.contains(named), "{line}: {}", letter.detail);
    }
}

#[tokio::test]
async fn a_service_is_what_the_centre_told() {
    let node = Node::new();
    let completed = json!({
        "service": "PAK_05", "centre": "library-ligatne", "channel": "in_person",
        "started_at": "2025-02-01T01:00:00+02:00", "completed_at": "2025-02-01T01:30:00+02:00",
        "outcome": "resolved", "specialist": "Anna Ozola", "mandate": "M-17",
    });
    let lines = [
        event("1", "lv.vpvkac.service.completed", completed),
        event("2", "lv.vpvkac.call.rated", json!({"call": "c-1", "rating": 5, "resolved": true})),
        event("3", "lv.vpvkac.official.available", json!({"official": "official-1"})),
    ];
    let account = load(&node, centres(&node), &lines).await;
    assert_eq!(account.taken, 3, "{account:?}");
    let records = node.records(Topic::ServiceEvents).await;
    let Event::ServiceEvent(service) = &records[0].event else { panic!("a service") };
    let specialist = service.specialist.clone().expect("a hash");
    assert!(!specialist.contains("Anna"));
    let expected = ServiceEvent {
        event_type: "lv.vpvkac.service.completed".into(),
        centre_id: Some("library-ligatne".into()),
        service_id: Some("PAK_05".into()),
        channel: Some("in_person".into()),
        outcome: Some("resolved".into()),
        started_at: Some(1_738_364_400_000_000),
        completed_at: Some(1_738_366_200_000_000),
        date: "2025-02-01".into(),
        specialist: Some(specialist),
        mandate_number: Some("M-17".into()),
        ..ServiceEvent::default()
    };
    assert_eq!(*service, expected, "the local day is Riga's");
    let account = load(&node, centres(&node), &lines).await;
    assert_eq!((account.taken, account.already_there), (0, 3));
    let other = event("2", "lv.vpvkac.call.rated", json!({"call": "c-1", "rating": 1}));
    let account = load(&node, centres(&node), &[other]).await;
    assert_eq!(account.refused[&Reason::DuplicateKey], 1);
}

#[tokio::test]
async fn bad_events_of_centres_are_told() {
    let (call, service) = ("lv.vpvkac.call.rated", "lv.vpvkac.service.completed");
    let done = json!({"service": "PAK_01", "centre": "library-ligatne"});
    let with = |name: &str, value: Value| {
        let mut done = done.clone();
        done[name] = value;
        event("1", service, done)
    };
    let mut backwards = done.clone();
    backwards["started_at"] = json!("2025-01-02T00:00:00Z");
    backwards["completed_at"] = json!("2025-01-01T00:00:00Z");
    let bad = [
        (event("1", "lv.vpvkac.call.sung", json!({})), Reason::UnknownType, "/type"),
        (event("1", "lv.portal.login", json!({})), Reason::UnknownType, "/type"),
        (event("1", call, json!({"rating": 5})), Reason::MissingField, "call is missing"),
        (event("1", call, json!({"call": "c"})), Reason::MissingField, "rating is missing"),
        (event("1", call, json!({"call": "c", "rating": 6})), Reason::InvalidValue, "/data/rating"),
        (event("1", service, json!({"service": "PAK_01"})), Reason::MissingField, "centre"),
        (with("centre", json!("nowhere")), Reason::UnknownReference, "/data/centre"),
        (with("service", json!("PAK_11")), Reason::InvalidValue, "/data/service"),
        (with("service", json!("PAK_1")), Reason::InvalidValue, "/data/service"),
        (with("started_at", json!("noon")), Reason::InvalidValue, "/data/started_at"),
        (with("colour", json!(1)), Reason::UnknownField, "/data/colour"),
        (with("outcome", json!("x".repeat(500))), Reason::InvalidValue, "/data/outcome"),
        (event("1", service, backwards), Reason::InvalidValue, "completed before it started"),
        (event("1", "lv.vpvkac.official.busy", json!({})), Reason::MissingField, "official"),
        (event("1", service, json!([])), Reason::WrongType, "/data"),
    ];
    refused(centres, &bad).await;
}

#[tokio::test]
async fn the_portal_tells_of_services_and_logins() {
    let node = Node::new();
    let login = json!({"basket": "public", "means": "eid", "e_service": "s-1", "user": "Anna"});
    let lines = [
        event(
            "1",
            "lv.portal.e-service.published",
            json!({"e_service": "s-1", "merchant": "shop"}),
        ),
        event("2", "lv.portal.login", login),
    ];
    assert_eq!(load(&node, portal(&node), &lines).await.taken, 2);
    let records = node.records(Topic::PortalEvents).await;
    let Event::PortalEvent(login) = &records[1].event else { panic!("a login") };
    let user = login.user.clone().expect("a pseudonym");
    assert!(!user.contains("Anna"));
    let expected = PortalEvent {
        event_type: "lv.portal.login".into(),
        e_service_id: Some("s-1".into()),
        merchant_id: None,
        login_basket: Some("public".into()),
        identity_means: Some("eid".into()),
        user: Some(user),
        date: "2025-02-01".into(),
    };
    assert_eq!(*login, expected);
    let bad = [
        (event("1", "lv.portal.logout", json!({})), Reason::UnknownType, "/type"),
        (event("1", "lv.portal.login", json!({"means": "eid"})), Reason::MissingField, "basket"),
        (
            event("1", "lv.portal.login", json!({"means": "eid", "basket": "private"})),
            Reason::InvalidValue,
            "/data/basket",
        ),
        (event("1", "lv.portal.e-service.used", json!({})), Reason::MissingField, "e_service"),
    ];
    refused(portal, &bad).await;
}
