//! Decisions as the authoriser records them, made up: what pipelines are measured on.

use chrono::{DateTime, TimeDelta, Utc};
use ingest::{
    record::{Record, outside_id},
    topic::key_for,
    wire::v1::{AuthorisationDecided, AuthorisationLine, Event, LineBenefit},
};

/// Partitions of `authorisations`.
pub const PARTITIONS: u32 = 4;
const MERCHANTS: u64 = 20;
const PLACES: u64 = 400;

/// The instant of the first decision.
pub fn first() -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_700_400, 0).unwrap_or_default()
}

/// Decision number `n`, so many of which happen in a second.
pub fn sale(n: u64, per_second: u64) -> Record {
    let micros = i64::try_from(n * 1_000_000 / per_second).unwrap_or(i64::MAX);
    at(n, first() + TimeDelta::microseconds(micros))
}

/// Decision number `n`, at an instant.
pub fn at(n: u64, instant: DateTime<Utc>) -> Record {
    let cents = 100 + i64::try_from(n % 977).unwrap_or(0);
    let benefit = LineBenefit {
        instruction_id: format!("instruction-{}", n % 30),
        instruction_version: 1,
        benefit_id: format!("benefit-{}", n % 10),
        grantor_id: format!("grantor-{}", n % 6),
        units: 1,
        amount_cents: cents / 10,
        grantor_cents: cents / 10,
        ..LineBenefit::default()
    };
    let line = AuthorisationLine {
        line: 1,
        item: format!("item-{}", n % 5_000),
        category: "grocery.milk".into(),
        quantity_thousandths: 1_000,
        unit_price_cents: cents,
        total_cents: cents,
        payable_cents: cents - cents / 10,
        benefits: vec![benefit],
        ..AuthorisationLine::default()
    };
    let decided = AuthorisationDecided {
        authorisation_id: format!("{n:026}"),
        terminal_id: format!("T-{:06}", n % 10_000),
        idempotency_key: format!("K-{n}"),
        mode: "sale".into(),
        status: "captured".into(),
        decision: if n.is_multiple_of(3) { "no_benefit" } else { "approved" }.into(),
        means_status: "valid".into(),
        occurred_at: instant.timestamp_micros(),
        date: instant.date_naive().to_string(),
        merchant_id: format!("merchant-{}", n % MERCHANTS),
        place_id: format!("place-{}", n % PLACES),
        territory: format!("LV00{:02}000", n % 42),
        recipient: Some(format!("{:026}", n % 200_000)),
        total_cents: cents,
        benefit_cents: cents / 10,
        payable_cents: cents - cents / 10,
        lines: vec![line],
        registry_version: 7,
        ..AuthorisationDecided::default()
    };
    let partition = u32::try_from(n % u64::from(PARTITIONS)).unwrap_or(0);
    Record {
        id: outside_id("benchmark", &n.to_string()),
        key: key_for(partition, PARTITIONS),
        source: "benchmark".into(),
        sequence: n,
        event_time: instant,
        recorded_at: instant,
        event: Event::AuthorisationDecided(decided.into()),
    }
}
