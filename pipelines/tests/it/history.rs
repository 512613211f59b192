//! A small history of every stream: what the goldens are made of.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ingest::{
    log::{Log, model::ModelLog},
    record::{Record, outside_id},
    topic::{Topic, key_for},
    wire::v1::{
        AuthorisationChanged, AuthorisationDecided, AuthorisationLine, DeadLetter,
        EntitlementEvaluated, Event, GroupDays, Heartbeat, InstructionOutcome, LineBenefit,
        MeansChanged, PointsMovement, PortalEvent, RegistryChanged, ServiceEvent,
    },
};

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

pub fn micros(text: &str) -> i64 {
    at(text).timestamp_micros()
}

/// A record two seconds after what it tells of; `name` makes its id.
pub fn record(name: &str, key: String, event_time: &str, event: Event) -> Record {
    let event_time = at(event_time);
    Record {
        id: outside_id("history", name),
        key,
        source: "history".into(),
        sequence: 1,
        event_time,
        recorded_at: event_time + chrono::TimeDelta::seconds(2),
        event,
    }
}

/// A key of the partition of `authorisations`.
pub fn household(partition: u32) -> String {
    key_for(partition, Topic::Authorisations.partitions())
}

/// A log with the history in it.
pub async fn log() -> Arc<ModelLog> {
    let log = Arc::new(ModelLog::default());
    append(&log).await;
    log
}

/// Appends the history.
pub async fn append(log: &Arc<ModelLog>) {
    let streams = [
        (Topic::RegistryChanges, registry()),
        (Topic::Entitlements, entitlements()),
        (Topic::MeansChanges, means()),
        (Topic::Authorisations, authorisations()),
        (Topic::ServiceEvents, services()),
        (Topic::PortalEvents, portal()),
        (Topic::DeadLetters, dead_letters()),
    ];
    for (topic, records) in streams {
        log.append(topic, &records).await.expect("appended");
    }
}

fn registry() -> Vec<Record> {
    let entries = [
        (
            "grantors",
            "riga",
            r#"{"id":"riga","name":{"lv":"Rīga","en":"Riga"},"kind":"municipality","iban":"LV17RIKO0000002013131","reg_no":"90000000002"}"#,
        ),
        (
            "merchants",
            "market",
            r#"{"id":"market","name":{"lv":"Tirgus","en":"Market"},"reg_no":"40003000001","vat_no":"LV40003000001"}"#,
        ),
        (
            "places",
            "P-1",
            r#"{"id":"P-1","merchant":"market","territory":"LV0001000","name":{"lv":"Veikals","en":"Store"}}"#,
        ),
        ("terminals", "T-1", r#"{"id":"T-1","place":"P-1","kind":"till"}"#),
        (
            "contracts",
            "C-1",
            r#"{"id":"C-1","grantor":"riga","merchant":"market","from":"2025-01-01","to":null,"settlement":"monthly","vat_bp":2100}"#,
        ),
        (
            "issuers",
            "riga-card",
            r#"{"id":"riga-card","name":{"lv":"Kartes","en":"Cards"},"means":["card_uid","qr"]}"#,
        ),
        (
            "benefits",
            "riga-food",
            r#"{"id":"riga-food","grantor":"riga","name":{"lv":"Pārtika","en":"Food"},"legal_basis":"RD 1","kind":"discount"}"#,
        ),
        (
            "instructions",
            "seniors/1",
            r#"{"id":"seniors","benefit":"riga-food","label":{"lv":"Seniori","en":"Seniors"},"version":1,"valid":{"from":"2025-01-01","to":"2025-12-31"},"priority":100,"recipients":{"any":["riga-seniors"]},"effect":{"percent_off_bp":1000},"limits":[{"per":"recipient","period":"month","measure":"amount_cents","max":2000}],"stacking":{"best_of":"x"}}"#,
        ),
        (
            "e_services",
            "delivery",
            r#"{"id":"delivery","merchant":"market","name":{"lv":"Piegāde","en":"Delivery"},"url":"https://market.example/","login_basket":"merchant","identity_means":[]}"#,
        ),
        (
            "centres",
            "vpvkac-1",
            r#"{"id":"vpvkac-1","name":{"lv":"Centrs","en":"Centre"},"kind":"library","territory":"LV0001000","lat":56.95,"lon":24.1}"#,
        ),
        (
            "catalogue",
            "market/milk",
            r#"{"merchant":"market","item":"milk","category":"grocery.milk","name":{"lv":"Piens","en":"Milk"}}"#,
        ),
        ("institutions", "vsaa", r#"{"id":"vsaa","name":{"lv":"VSAA","en":"Social insurance"}}"#),
        (
            "officials",
            "official-7",
            r#"{"id":"official-7","institution":"vsaa","services":["PAK_03","PAK_10"],"languages":["lv","en"]}"#,
        ),
        (
            "services",
            "PAK_03",
            r#"{"id":"PAK_03","name":{"lv":"Konsultācija","en":"Consultation"},"criteria":{"max_wait_seconds":300,"min_answered_bp":9000,"min_resolved_bp":7000,"min_rating":4.5}}"#,
        ),
        (
            "subsidies",
            "2025-01-01",
            r#"{"from":"2025-01-01","base_cents":{"centre":150000,"library":30000,"mobile":60000},"per_service_cents":{"PAK_03":400},"quality":{"floor_bp":5000}}"#,
        ),
        ("groups", "riga-seniors", r#"{"id":"riga-seniors","where":"age(birth_date) >= 65"}"#),
        ("issuers", "riga-card", ""),
    ];
    let entry = |(at, (kind, id, document)): (usize, (&str, &str, &str))| {
        let (kind, id, document) = (kind.to_owned(), id.into(), document.into());
        let event = RegistryChanged { kind: kind.clone(), id, document, changed_by: String::new() };
        let name = format!("registry {at}");
        record(&name, kind, "2025-01-01T10:00:00Z", Event::RegistryChanged(event))
    };
    entries.into_iter().enumerate().map(entry).collect()
}

fn entitlements() -> Vec<Record> {
    let days = |group: &str, from: &str, until: Option<&str>| GroupDays {
        group_id: group.into(),
        from: from.into(),
        until: until.map(ToOwned::to_owned),
    };
    let known = EntitlementEvaluated {
        person: "01HZ0000000000000000000001".into(),
        household: "01HZ0000000000000000000002".into(),
        known_from: micros("2025-01-01T22:00:00Z"),
        alive: true,
        groups: vec![
            days("riga-seniors", "2025-01-02", None),
            days("school-families", "2025-01-02", Some("2025-09-14")),
        ],
        recipient: "01HZ0000000000000000000003".into(),
        age_band: "65-74".into(),
        municipality: "LV0001000".into(),
        registry_version: 12,
        person_sequence: 1,
        changes_next: Some(1),
        ..EntitlementEvaluated::default()
    };
    let gone = EntitlementEvaluated {
        known_from: micros("2025-03-03T08:00:00Z"),
        alive: false,
        removed: true,
        groups: Vec::new(),
        age_band: String::new(),
        municipality: String::new(),
        person_sequence: 2,
        ..known.clone()
    };
    let told = |(name, at, event): (&str, &str, EntitlementEvaluated)| {
        record(name, "household".into(), at, Event::EntitlementEvaluated(event))
    };
    [("known", "2025-01-01T22:00:00Z", known), ("gone", "2025-03-03T08:00:00Z", gone)]
        .map(told)
        .to_vec()
}

fn means() -> Vec<Record> {
    let held = MeansChanged {
        token: "01HZ0000000000000000000004".into(),
        issuer_id: "riga-card".into(),
        kind: "card_uid".into(),
        person: Some("01HZ0000000000000000000001".into()),
        valid_from: "2025-01-01".into(),
        valid_to: Some("2029-12-31".into()),
        blocked: false,
        recipient: Some("01HZ0000000000000000000003".into()),
        ..MeansChanged::default()
    };
    let alone = MeansChanged { person: None, recipient: None, valid_to: None, ..held.clone() };
    let blocked = MeansChanged { blocked: true, ..held.clone() };
    [held, alone, blocked]
        .into_iter()
        .enumerate()
        .map(|(at, event)| {
            let name = format!("means {at}");
            record(&name, "riga-card".into(), "2025-01-01T22:00:00Z", Event::MeansChanged(event))
        })
        .collect()
}

fn given(instruction: &str, cents: i64, grantor_cents: i64) -> LineBenefit {
    LineBenefit {
        instruction_id: instruction.into(),
        instruction_version: 1,
        benefit_id: "riga-food".into(),
        grantor_id: "riga".into(),
        units: cents.signum() * 2,
        amount_cents: cents,
        wanted_cents: None,
        grantor_cents,
        merchant_cents: cents - grantor_cents,
        ..LineBenefit::default()
    }
}

fn line(number: u32, quantity: i64, total: i64, benefits: Vec<LineBenefit>) -> AuthorisationLine {
    let benefit: i64 = benefits.iter().map(|benefit| benefit.amount_cents).sum();
    AuthorisationLine {
        line: number,
        item: format!("item-{number}"),
        category: if number == 1 { "grocery.milk".into() } else { String::new() },
        quantity_thousandths: quantity,
        unit_price_cents: 125,
        total_cents: total,
        payable_cents: total - benefit,
        benefits,
        ..AuthorisationLine::default()
    }
}

/// A decision at a till in Riga, one partition for each.
pub fn decided(id: &str, occurred_at: &str, status: &str) -> AuthorisationDecided {
    AuthorisationDecided {
        authorisation_id: id.into(),
        terminal_id: "T-1".into(),
        idempotency_key: id.into(),
        mode: if status == "reserved" { "reserve" } else { "sale" }.into(),
        status: status.into(),
        decision: "no_benefit".into(),
        means_status: "none".into(),
        occurred_at: micros(occurred_at),
        date: "2025-03-03".into(),
        merchant_id: "market".into(),
        place_id: "P-1".into(),
        territory: "LV0001000".into(),
        registry_version: 12,
        ..AuthorisationDecided::default()
    }
}

fn changed(id: &str, at: &str, transition: &str, status: &str) -> AuthorisationChanged {
    AuthorisationChanged {
        authorisation_id: id.into(),
        transition: transition.into(),
        status: status.into(),
        terminal_id: "T-1".into(),
        idempotency_key: format!("{id} {transition}"),
        occurred_at: micros(at),
        date: "2025-03-03".into(),
        merchant_id: "market".into(),
        place_id: "P-1".into(),
        territory: "LV0001000".into(),
        recipient: Some("01HZ0000000000000000000003".into()),
        mode: "sale".into(),
        ..AuthorisationChanged::default()
    }
}

/// What became of an instruction that gave nothing.
pub fn skipped(instruction: &str, reason: &str) -> InstructionOutcome {
    InstructionOutcome {
        instruction_id: instruction.into(),
        instruction_version: 1,
        benefit_id: "riga-food".into(),
        grantor_id: "riga".into(),
        reason: Some(reason.into()),
        ..InstructionOutcome::default()
    }
}

/// Time has come so far in a partition.
pub fn heartbeat(partition: u32, until: &str) -> Record {
    let event = Event::Heartbeat(Heartbeat { until: micros(until) });
    record(&format!("heartbeat {partition} {until}"), household(partition), until, event)
}

/// A sale with two lines, of which one comes back; a reservation that is captured; one that is
/// voided; a decline; one person in two territories, and a till that takes back much; and a heartbeat
/// in every partition.
fn authorisations() -> Vec<Record> {
    let lines = vec![
        line(1, 2_000, 250, vec![given("seniors", 25, 25), given("club", 10, 0)]),
        line(2, 1_375, 172, vec![]),
    ];
    let sale = AuthorisationDecided {
        decision: "approved".into(),
        means_status: "valid".into(),
        recipient: Some("01HZ0000000000000000000003".into()),
        receipt_number: Some("R-1".into()),
        total_cents: 422,
        benefit_cents: 35,
        payable_cents: 387,
        points_earned: 3,
        points: vec![PointsMovement { benefit_id: "club-points".into(), change: 3 }],
        lines: lines.clone(),
        ..decided("sale", "2025-03-03T09:00:30Z", "captured")
    };
    let excess = LineBenefit { excess_cents: 7, ..given("seniors", 13, 10) };
    let reserved = AuthorisationDecided {
        decision: "approved".into(),
        expires_at: Some(micros("2025-03-03T09:16:00Z")),
        total_cents: 125,
        benefit_cents: 13,
        payable_cents: 112,
        excess_cents: 7,
        lines: vec![line(1, 1_000, 125, vec![excess.clone()])],
        ..decided("reserved", "2025-03-03T09:01:00Z", "reserved")
    };
    let capture = AuthorisationChanged {
        receipt_number: Some("R-2".into()),
        lines_occurred_at: Some(reserved.occurred_at),
        lines_date: Some(reserved.date.clone()),
        lines: reserved.lines.clone(),
        mode: "reserve".into(),
        recipient: None,
        ..changed("reserved", "2025-03-03T09:05:00Z", "capture", "captured")
    };
    let declined = AuthorisationDecided {
        decision: "declined".into(),
        decline_reason: Some("means_blocked".into()),
        means_status: "blocked".into(),
        total_cents: 99,
        payable_cents: 99,
        ..decided("declined", "2025-03-03T09:00:59Z", "voided")
    };
    let refund = AuthorisationChanged {
        lines: vec![line(1, -1_000, -125, vec![given("seniors", -13, -13), given("club", -5, 0)])],
        points: vec![PointsMovement { benefit_id: "club-points".into(), change: -1 }],
        ..changed("sale", "2025-03-03T10:00:00Z", "refund", "partially_refunded")
    };
    let void = changed("void", "2025-03-03T09:02:00Z", "void", "voided");
    let mut records = Vec::new();
    let mut tell = |partition, name: &str, at: &str, event| {
        records.push(record(name, household(partition), at, event));
    };
    tell(0, "sale", "2025-03-03T09:00:30Z", Event::AuthorisationDecided(sale.into()));
    tell(1, "reserved", "2025-03-03T09:01:00Z", Event::AuthorisationDecided(reserved.into()));
    tell(2, "declined", "2025-03-03T09:00:59Z", Event::AuthorisationDecided(declined.into()));
    let voided = AuthorisationDecided {
        instructions: vec![skipped("seniors", "limit"), skipped("club", "content")],
        ..decided("void", "2025-03-03T09:01:59.999999Z", "reserved")
    };
    tell(3, "to void", "2025-03-03T09:01:59.999999Z", Event::AuthorisationDecided(voided.into()));
    tell(3, "void", "2025-03-03T09:02:00Z", Event::AuthorisationChanged(void.into()));
    tell(1, "capture", "2025-03-03T09:05:00Z", Event::AuthorisationChanged(capture.into()));
    tell(0, "refund", "2025-03-03T10:00:00Z", Event::AuthorisationChanged(refund.into()));
    for (name, at, territory) in [
        ("near", "2025-03-03T11:00:00Z", "LV0001000"),
        ("far", "2025-03-03T11:09:59Z", "LV0002000"),
        ("much later", "2025-03-03T11:40:00Z", "LV0003000"),
    ] {
        let used = AuthorisationDecided {
            decision: "approved".into(),
            recipient: Some("01HZ0000000000000000000005".into()),
            terminal_id: "T-2".into(),
            territory: territory.into(),
            ..decided(name, at, "captured")
        };
        tell(2, name, at, Event::AuthorisationDecided(used.into()));
    }
    for minute in 1..6 {
        let (name, at) = (format!("back {minute}"), format!("2025-03-03T12:0{minute}:00Z"));
        let back = changed("sale", &at, "refund", "partially_refunded");
        tell(0, &name, &at, Event::AuthorisationChanged(back.into()));
    }
    records.extend((0..4).map(|partition| heartbeat(partition, "2025-03-04T00:10:00Z")));
    records
}

/// A completed consultation from afar.
pub fn consultation(name: &str) -> Record {
    let completed = ServiceEvent {
        event_type: "lv.vpvkac.service.completed".into(),
        centre_id: Some("vpvkac-1".into()),
        service_id: Some("PAK_03".into()),
        channel: Some("remote".into()),
        outcome: Some("solved".into()),
        official_id: Some("official-7".into()),
        institution_id: Some("vsaa".into()),
        started_at: Some(micros("2025-03-03T08:30:00Z")),
        completed_at: Some(micros("2025-03-03T08:41:00Z")),
        date: "2025-03-03".into(),
        ..ServiceEvent::default()
    };
    let event = Event::ServiceEvent(completed);
    record(name, "vpvkac-1".into(), "2025-03-03T08:41:00Z", event)
}

fn services() -> Vec<Record> {
    let told = |name: &str, at: &str, event| {
        record(name, "vpvkac-1".into(), at, Event::ServiceEvent(event))
    };
    let call = |call: &str, kind: &str| ServiceEvent {
        event_type: format!("lv.vpvkac.call.{kind}"),
        call_id: Some(call.into()),
        centre_id: Some("vpvkac-1".into()),
        service_id: Some("PAK_03".into()),
        institution_id: Some("vsaa".into()),
        official_id: (kind != "requested").then(|| "official-7".into()),
        language: Some("lv".into()),
        rating: (kind == "rated").then_some(4),
        resolved: (kind == "ended").then_some(true),
        date: "2025-03-03".into(),
        ..ServiceEvent::default()
    };
    let official = |kind: &str| ServiceEvent {
        event_type: format!("lv.vpvkac.official.{kind}"),
        official_id: Some("official-7".into()),
        institution_id: Some("vsaa".into()),
        date: "2025-03-03".into(),
        ..ServiceEvent::default()
    };
    let until = "2025-03-04T00:10:00Z";
    let heartbeat = Event::Heartbeat(Heartbeat { until: micros(until) });
    vec![
        told("available", "2025-03-03T08:00:00Z", official("available")),
        told("requested", "2025-03-03T08:29:00Z", call("call-1", "requested")),
        told("offered", "2025-03-03T08:29:10Z", call("call-1", "offered")),
        told("accepted", "2025-03-03T08:29:20Z", call("call-1", "accepted")),
        told("connected", "2025-03-03T08:30:00Z", call("call-1", "connected")),
        told("busy", "2025-03-03T08:30:00Z", official("busy")),
        told("second", "2025-03-03T08:31:00Z", call("call-2", "requested")),
        consultation("completed"),
        told("abandoned", "2025-03-03T08:40:00Z", call("call-2", "abandoned")),
        told("ended", "2025-03-03T08:41:30Z", call("call-1", "ended")),
        told("rated", "2025-03-03T10:20:00Z", call("call-1", "rated")),
        record("no more services", "vpvkac-1".into(), until, heartbeat),
    ]
}

fn portal() -> Vec<Record> {
    let event = |kind: &str| PortalEvent {
        event_type: format!("lv.portal.{kind}"),
        e_service_id: Some("delivery".into()),
        merchant_id: Some("market".into()),
        login_basket: Some("merchant".into()),
        identity_means: (kind == "login").then(|| "eid".into()),
        user: Some("01HZ0000000000000000000006".into()),
        date: "2025-03-03".into(),
    };
    ["e-service.published", "login", "e-service.used"]
        .map(|kind| {
            let event = Event::PortalEvent(event(kind));
            record(kind, "delivery".into(), "2025-03-03T08:00:00Z", event)
        })
        .to_vec()
}

fn dead_letters() -> Vec<Record> {
    let letter = DeadLetter {
        connector: "terminal".into(),
        reason: "malformed".into(),
        detail: "line 1 has no item".into(),
        origin: "baskets.ndjson".into(),
        line: 17,
        payload: vec![1, 2, 3],
        payload_bytes: 3,
        date: "2025-03-03".into(),
    };
    let event = Event::DeadLetter(letter);
    vec![record("letter", "terminal".into(), "2025-03-03T09:00:00Z", event)]
}
