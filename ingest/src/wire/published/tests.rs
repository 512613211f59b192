//! Every event comes back from its published form.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::wire::{self, v1};

const MICROS: i64 = 1_735_000_000_123_456;

/// Every event, no field empty; a new event has to be put here for this to compile.
fn after(event: Option<&Event>) -> Option<Event> {
    Some(match event {
        None => Event::RegistryChanged(v1::RegistryChanged {
            kind: "grantors".into(),
            id: "riga".into(),
            document: r#"{"b":1.50,"a":[1,18446744073709551616]}"#.into(),
            changed_by: "grantor:anna".into(),
        }),
        Some(Event::RegistryChanged(_)) => Event::PersonChanged(v1::PersonChanged {
            person: "P".into(),
            person_sequence: u64::MAX,
            sealed: vec![0, 255, 7],
            removed: true,
            snapshot: true,
        }),
        Some(Event::PersonChanged(_)) => Event::MeansChanged(v1::MeansChanged {
            token: "T".into(),
            issuer_id: "I".into(),
            kind: "card".into(),
            person: Some("P".into()),
            valid_from: "2025-01-01".into(),
            valid_to: Some("2026-01-01".into()),
            blocked: true,
            recipient: Some("R".into()),
            offline_hash: u64::MAX - 1,
            reason: "replaced".into(),
            replaced_by: Some("N".into()),
            request_hash: vec![4; 16],
        }),
        Some(Event::MeansChanged(_)) => Event::EntitlementEvaluated(entitlement()),
        Some(Event::EntitlementEvaluated(_)) => Event::TransactionUploaded(upload()),
        Some(Event::TransactionUploaded(_)) => Event::AuthorisationDecided(decided().into()),
        Some(Event::AuthorisationDecided(_)) => Event::AuthorisationChanged(changed().into()),
        Some(Event::AuthorisationChanged(_)) => Event::Heartbeat(v1::Heartbeat { until: MICROS }),
        Some(Event::Heartbeat(_)) => Event::ServiceEvent(service()),
        Some(Event::ServiceEvent(_)) => Event::PortalEvent(v1::PortalEvent {
            event_type: "login".into(),
            e_service_id: Some("E".into()),
            merchant_id: Some("M".into()),
            login_basket: Some("B".into()),
            identity_means: Some("I".into()),
            user: Some("U".into()),
            date: "2025-01-01".into(),
        }),
        Some(Event::PortalEvent(_)) => Event::PeriodClosed(v1::PeriodClosed {
            period: "2025-01".into(),
            end_offsets: vec![1, u64::MAX],
            closed_at: MICROS,
        }),
        Some(Event::PeriodClosed(_)) => Event::DeadLetter(v1::DeadLetter {
            connector: "terminal".into(),
            reason: "malformed".into(),
            detail: "line \"1\"\n\u{1}".into(),
            origin: "file".into(),
            line: 1,
            payload: vec![1, 2, 3, 4],
            payload_bytes: 4,
            date: "2025-01-01".into(),
        }),
        Some(Event::DeadLetter(_)) => Event::KeyBlocked(v1::KeyBlocked {
            terminal_id: "T".into(),
            idempotency_key: "K".into(),
            body_hash: vec![9; 32],
            reversed_key: "R".into(),
            occurred_at: MICROS,
        }),
        Some(Event::KeyBlocked(_)) => Event::AuthoriserStarted(v1::AuthoriserStarted { start: 3 }),
        Some(Event::AuthoriserStarted(_)) => Event::DeadLetterSettled(v1::DeadLetterSettled {
            letter_id: "L".into(),
            outcome: "dropped".into(),
            note: "a test".into(),
        }),
        Some(Event::DeadLetterSettled(_)) => Event::StatementsSent(v1::StatementsSent {
            statements: vec!["riga-market-2025-01".into(), "riga-corner-2025-01-K1".into()],
            sent_at: MICROS,
        }),
        Some(Event::StatementsSent(_)) => Event::BankFileRead(bank_file()),
        Some(Event::BankFileRead(_)) => Event::Audited(v1::Audited {
            actor: "anna".into(),
            role: "finance".into(),
            action: "settlement.close".into(),
            object: "2025-01".into(),
            outcome: "done".into(),
        }),
        Some(Event::Audited(_)) => Event::ConsentChanged(v1::ConsentChanged {
            person: "P".into(),
            consent_id: "proactive-notices".into(),
            purpose: "notices".into(),
            given: true,
            text_version: "2026-1".into(),
            recorded_by: "recipient".into(),
        }),
        Some(Event::ConsentChanged(_)) => Event::HouseholdJoined(v1::HouseholdJoined {
            recipient: "R".into(),
            recipient_id: "RI".into(),
            household_id: "HI".into(),
            left_household_id: Some("LI".into()),
            occurred_at: MICROS,
            counters: counters(),
        }),
        Some(Event::HouseholdJoined(_)) => Event::MembershipChanged(v1::MembershipChanged {
            group_id: "G".into(),
            person: Some("P".into()),
            token: Some("T".into()),
            from: "2025-01-01".into(),
            until: Some("2025-02-01".into()),
            removed: true,
        }),
        Some(Event::MembershipChanged(_)) => Event::PanelChanged(v1::PanelChanged {
            panel: "A".into(),
            e_service_id: "E".into(),
            person: "P".into(),
            sealed: vec![0, 254, 3],
            request_hash: vec![6; 16],
            until: "2026-01-01".into(),
            dismissed: true,
        }),
        Some(Event::PanelChanged(_)) => return None,
    })
}

fn bank_file() -> v1::BankFileRead {
    let told = v1::PaymentTold {
        statement: "riga-market-2025-01".into(),
        outcome: "rejected".into(),
        reason: "AC04".into(),
    };
    let unmatched = v1::PaymentUnmatched {
        reference: "R".into(),
        outcome: "paid".into(),
        amount_cents: Some(-1),
        why: "no statement has this reference".into(),
    };
    v1::BankFileRead {
        kind: "camt.053".into(),
        message_id: "B".into(),
        file_hash: "H".into(),
        told: vec![told],
        unmatched: vec![unmatched],
        read_at: MICROS,
        sender: "LV58RIKO0000002013131".into(),
    }
}

fn entitlement() -> v1::EntitlementEvaluated {
    let group = v1::GroupDays {
        group_id: "G".into(),
        from: "2025-01-01".into(),
        until: Some("2025-02-01".into()),
    };
    v1::EntitlementEvaluated {
        person: "P".into(),
        household: "H".into(),
        known_from: MICROS,
        alive: true,
        groups: vec![group],
        recipient: "R".into(),
        age_band: "0-17".into(),
        municipality: "0001000".into(),
        removed: true,
        changes_next: Some(7),
        memberships_next: Some(6),
        registry_version: 8,
        person_sequence: 9,
    }
}

fn upload() -> v1::TransactionUploaded {
    let line = v1::BasketLine {
        line: 1,
        item: "milk".into(),
        category: "food".into(),
        quantity_thousandths: -1,
        unit_price_cents: i64::MIN,
        attributes: BTreeMap::from([("fat".into(), "2 %".into())]),
    };
    let applied = v1::AppliedLine { instruction_id: "I".into(), line: 1, amount_cents: i64::MAX };
    v1::TransactionUploaded {
        terminal_id: "T".into(),
        idempotency_key: "K".into(),
        occurred_at: MICROS,
        means_token: Some("M".into()),
        lines: vec![line],
        receipt_number: Some("1".into()),
        spend_points: -1,
        applied: vec![applied],
        says_applied: true,
        body_hash: vec![1; 32],
    }
}

fn authorisation_line() -> v1::AuthorisationLine {
    let benefit = v1::LineBenefit {
        instruction_id: "I".into(),
        instruction_version: 2,
        benefit_id: "B".into(),
        grantor_id: "G".into(),
        units: 1,
        amount_cents: 2,
        wanted_cents: Some(3),
        grantor_cents: 4,
        merchant_cents: 5,
        excess_cents: 6,
        excess_borne_by: "merchant".into(),
    };
    v1::AuthorisationLine {
        line: 1,
        item: "milk".into(),
        category: "food".into(),
        quantity_thousandths: 1_000,
        unit_price_cents: 129,
        total_cents: 129,
        payable_cents: 100,
        attributes: BTreeMap::from([("fat".into(), "2 %".into())]),
        benefits: vec![benefit],
    }
}

fn counters() -> Vec<v1::CounterMovement> {
    vec![v1::CounterMovement {
        instruction_id: "I".into(),
        per: "recipient".into(),
        period: "day".into(),
        period_start: "2025-01-01".into(),
        measure: "uses".into(),
        change: -1,
    }]
}

fn decided() -> v1::AuthorisationDecided {
    let limit = v1::LimitRoom {
        per: "recipient".into(),
        period: "day".into(),
        measure: "uses".into(),
        before: 2,
        after: 1,
    };
    let instruction = v1::InstructionOutcome {
        instruction_id: "I".into(),
        instruction_version: 2,
        benefit_id: "B".into(),
        grantor_id: "G".into(),
        reason: Some("limit".into()),
        amount_cents: 1,
        wanted_cents: Some(2),
        points: 3,
        limits: vec![limit],
        label_lv: "Piens skolā".into(),
        label_en: "School milk".into(),
        show_remaining: true,
    };
    v1::AuthorisationDecided {
        authorisation_id: "A".into(),
        terminal_id: "T".into(),
        idempotency_key: "K".into(),
        body_hash: vec![2; 32],
        mode: "sale".into(),
        status: "captured".into(),
        decision: "approved".into(),
        decline_reason: Some("blocked".into()),
        means_status: "valid".into(),
        occurred_at: MICROS,
        date: "2025-01-01".into(),
        expires_at: Some(MICROS + 1),
        merchant_id: "M".into(),
        place_id: "P".into(),
        territory: "0001000".into(),
        recipient: Some("R".into()),
        recipient_id: Some("RI".into()),
        household_id: Some("HI".into()),
        groups: vec!["G".into()],
        receipt_number: Some("1".into()),
        total_cents: 1,
        benefit_cents: 2,
        payable_cents: 3,
        points_earned: 4,
        points_spent: 5,
        spend_points: 6,
        lines: vec![authorisation_line()],
        instructions: vec![instruction],
        counters: counters(),
        points: vec![v1::PointsMovement { benefit_id: "B".into(), change: 1 }],
        registry_version: 7,
        uploads_next: Some(8),
        excess_cents: 9,
        home_id: Some("HO".into()),
    }
}

fn changed() -> v1::AuthorisationChanged {
    v1::AuthorisationChanged {
        authorisation_id: "A".into(),
        transition: "refund".into(),
        status: "refunded".into(),
        terminal_id: "T".into(),
        idempotency_key: "K".into(),
        body_hash: vec![3; 32],
        occurred_at: MICROS,
        date: "2025-01-01".into(),
        merchant_id: "M".into(),
        place_id: "P".into(),
        recipient: Some("R".into()),
        recipient_id: Some("RI".into()),
        household_id: Some("HI".into()),
        receipt_number: Some("1".into()),
        lines: vec![authorisation_line()],
        counters: counters(),
        points: vec![v1::PointsMovement { benefit_id: "B".into(), change: 1 }],
        mode: "sale".into(),
        territory: "0001000".into(),
        lines_occurred_at: Some(MICROS),
        lines_date: Some("2025-01-01".into()),
        instruction_points: vec![v1::InstructionPoints { instruction_id: "I".into(), change: -1 }],
        reversed_key: Some("R".into()),
        step: 2,
        home_id: Some("HO".into()),
    }
}

fn service() -> v1::ServiceEvent {
    v1::ServiceEvent {
        event_type: "completed".into(),
        call_id: Some("C".into()),
        centre_id: Some("CE".into()),
        service_id: Some("S".into()),
        institution_id: Some("I".into()),
        official_id: Some("O".into()),
        language: Some("lv".into()),
        channel: Some("video".into()),
        outcome: Some("done".into()),
        started_at: Some(MICROS),
        completed_at: Some(MICROS + 1),
        rating: Some(5),
        resolved: Some(true),
        date: "2025-01-01".into(),
        specialist: Some("SP".into()),
        mandate_number: Some("1".into()),
        desk: Some(Box::new(v1::DeskNote {
            offered_to: Some("O".into()),
            wanted: Some("W".into()),
            continues: Some("C0".into()),
            handed_by: Some("H".into()),
            place: 7,
            key_hash: vec![1, 2],
            body_hash: vec![3, 4],
            position: 2,
            expected_wait_seconds: Some(90),
            visit: Some("V".into()),
        })),
    }
}

fn record(event: Event) -> Record {
    Record {
        id: RecordId::from_u128(u128::MAX / 3),
        key: "the record's key".into(),
        source: "the record's source".into(),
        sequence: u64::MAX,
        event_time: DateTime::from_timestamp_micros(MICROS).expect("an instant"),
        recorded_at: DateTime::from_timestamp_micros(MICROS + 1).expect("an instant"),
        event,
    }
}

fn round_trip(event: Event) {
    let sent = Published { outbox: "O".into(), outbox_sequence: 5, record: record(event) };
    let object = encode(&sent.outbox, PLACE, &sent.record).expect("JSON");
    let text = String::from_utf8_lossy(&object);
    assert_eq!(decode(&object).expect("a record"), sent, "{text}");
    // Every field is in it: none of a sample is what a missing one is filled with.
    let value: serde_json::Value = serde_json::from_slice(&object).expect("JSON");
    assert!(value.is_object() && !text.contains(":null"), "{text}");
}

const PLACE: Position = Position { partition: 3, offset: 5 };

fn samples() -> Vec<Event> {
    let mut samples = Vec::new();
    while let Some(sample) = after(samples.last()) {
        samples.push(sample);
    }
    samples
}

#[test]
fn every_event_comes_back_whole() {
    assert_eq!(samples().len(), 22);
    samples().into_iter().for_each(round_trip);
}

/// Each event as version 1 first wrote it, kept in both forms. `UPDATE_GOLDEN=1` adds those of
/// new events; what is kept is never written anew.
#[test]
fn every_event_of_version_1_is_readable_for_ever() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire/v1");
    for event in samples() {
        let name = event.name();
        let (bytes, object) =
            (folder.join(format!("{name}.bin")), folder.join(format!("{name}.json")));
        if std::env::var("UPDATE_GOLDEN").is_ok() && !bytes.exists() {
            let record = record(event);
            std::fs::write(&bytes, wire::encode(&record)).expect("written");
            let whole = encode("O", PLACE, &record).expect("JSON");
            std::fs::write(&object, whole).expect("written");
        }
        let kept = std::fs::read(&bytes).expect("kept bytes");
        let kept_object = std::fs::read(&object).expect("a kept object");
        let read = wire::decode(&kept).expect("version 1");
        assert_eq!(decode(&kept_object).expect("version 1").record, read, "{name}");
        // What a later version adds is filled; what was there says the same.
        let now = encode("O", PLACE, &read).expect("JSON");
        let [then, now] = [&kept_object, &now].map(|object| {
            serde_json::from_slice::<serde_json::Map<_, _>>(object).expect("an object")
        });
        for (field, value) in then {
            assert_eq!(now.get(&field), Some(&value), "{name}: {field}");
        }
    }
}

#[test]
fn an_older_version_skips_what_it_does_not_know() {
    for event in samples() {
        let record = record(event);
        let mut bytes = wire::encode(&record);
        // Field 99 of the envelope, a text: what a later version may add.
        bytes.extend([0x9a, 0x06, 0x03, b'n', b'e', b'w']);
        assert_eq!(wire::decode(&bytes).expect("read"), record);
    }
}

#[test]
fn unknown_fields_are_skipped_and_missing_ones_filled() {
    let object = br#"{"record_id":"00000000000000000000000001","later":[1],
        "event_time":"2025-01-01T00:00:00Z","recorded_at":"2025-01-01T00:00:00Z",
        "type":"means_changed","token":"T","also_later":{}}"#;
    let read = decode(object).expect("a record").record;
    let expected = v1::MeansChanged { token: "T".into(), ..v1::MeansChanged::default() };
    assert_eq!(read.event, Event::MeansChanged(expected));
    let unknown = String::from_utf8_lossy(object).replace("means_changed", "means_melted");
    let newer = decode(unknown.as_bytes()).expect_err("a kind of its own");
    assert!(matches!(newer, WireError::Newer { kind } if kind == "means_melted"));
}

proptest! {
    #[test]
    fn any_document_comes_back(document in prop_oneof![
        ".*",
        Just("null".to_owned()),
        Just("\"text\"".to_owned()),
        Just(" {}".to_owned()),
        Just("{\"a\": 1,\n \"b\":[]}".to_owned()),
        Just("{broken]".to_owned()),
    ]) {
        let changed = v1::RegistryChanged { document, ..v1::RegistryChanged::default() };
        let sent = record(Event::RegistryChanged(changed));
        let object = encode("", PLACE, &sent).expect("JSON");
        prop_assert_eq!(decode(&object).expect("a record").record, sent);
    }

    #[test]
    fn anything_is_refused_or_read_but_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode(&bytes);
    }
}
