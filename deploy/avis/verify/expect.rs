//! What rows a record has to be in the tables, worked out from the record itself.
//!
//! This is said a second time on purpose: what makes the tables is SQL, and a witness that asked the
//! same SQL would repeat its faults.

use ingest::{
    record::Stored,
    topic::Topic,
    wire::v1::{
        AuthorisationChanged, AuthorisationDecided, AuthorisationLine, DeadLetter,
        EntitlementEvaluated, Event, MeansChanged, PointsMovement, PortalEvent, ServiceEvent,
    },
};

use super::{registry, row::Row};

/// The tables that hold the records of a stream one by one.
pub const TABLES: &[(Topic, &[&str])] = &[
    (
        Topic::Authorisations,
        &[
            "authorisations",
            "authorisation_events",
            "benefit_lines",
            "transaction_lines",
            "points_entries",
        ],
    ),
    (Topic::Entitlements, &["persons", "entitlements"]),
    (Topic::MeansChanges, &["means"]),
    (Topic::ServiceEvents, &["services", "official_availability"]),
    (Topic::PortalEvents, &["portal_usage"]),
    (Topic::DeadLetters, &["dead_letters"]),
    (Topic::RegistryChanges, registry::TABLES),
];

/// Tells the rows that a record has to be: of which table, and its bytes.
pub fn rows(stored: &Stored, row: &mut Row, tell: &mut dyn FnMut(&'static str, &[u8])) {
    match &stored.record.event {
        Event::AuthorisationDecided(event) => decided(stored, event, row, tell),
        Event::AuthorisationChanged(event) => changed(stored, event, row, tell),
        Event::EntitlementEvaluated(event) => evaluated(stored, event, row, tell),
        Event::MeansChanged(event) => means(stored, event, row, tell),
        Event::ServiceEvent(event) => service(stored, event, row, tell),
        Event::PortalEvent(event) => portal(stored, event, row, tell),
        Event::DeadLetter(event) => dead_letter(stored, event, row, tell),
        Event::RegistryChanged(event) => registry::rows(stored, event, row, tell),
        _ => {}
    }
}

type Tell<'a> = &'a mut dyn FnMut(&'static str, &[u8]);

/// What decisions and changes have in common, as their lines and points need it.
struct Sale<'a> {
    id: &'a str,
    merchant: &'a str,
    place: &'a str,
    territory: &'a str,
    terminal: &'a str,
    recipient: Option<&'a str>,
    mode: &'a str,
    kind: &'a str,
    occurred_at: i64,
    date: &'a str,
    /// The instant and the local day that lines count for.
    given: (i64, &'a str),
}

fn decided(stored: &Stored, event: &AuthorisationDecided, row: &mut Row, tell: Tell) {
    row.begin()
        .text(&event.authorisation_id)
        .text(&event.decision)
        .may(event.decline_reason.as_deref())
        .text(&event.means_status)
        .text(&event.status)
        .text(&event.mode)
        .text(&event.merchant_id)
        .text(&event.place_id)
        .text(&event.territory)
        .text(&event.terminal_id)
        .may(event.recipient.as_deref())
        .may(event.receipt_number.as_deref())
        .number(event.total_cents)
        .number(event.benefit_cents)
        .number(event.payable_cents)
        .number(event.excess_cents)
        .number(event.points_earned)
        .number(event.points_spent)
        .number(event.registry_version)
        .number(event.occurred_at)
        .maybe(event.expires_at)
        .placed(stored)
        // `no_benefit_reason`, which is not compared.
        .none()
        .day(&event.date);
    tell("authorisations", row.bytes());
    let sale = Sale {
        id: &event.authorisation_id,
        merchant: &event.merchant_id,
        place: &event.place_id,
        territory: &event.territory,
        terminal: &event.terminal_id,
        recipient: event.recipient.as_deref(),
        mode: &event.mode,
        kind: "captured",
        occurred_at: event.occurred_at,
        date: &event.date,
        given: (event.occurred_at, &event.date),
    };
    if event.status == "captured" {
        lines(stored, &sale, &event.lines, row, tell);
    }
    points(stored, &sale, &event.points, row, tell);
}

fn changed(stored: &Stored, event: &AuthorisationChanged, row: &mut Row, tell: Tell) {
    row.begin()
        .text(&event.authorisation_id)
        .text(&event.transition)
        .text(&event.status)
        .text(&event.merchant_id)
        .text(&event.place_id)
        .text(&event.terminal_id)
        .may(event.receipt_number.as_deref())
        .number(event.occurred_at)
        .placed(stored)
        .day(&event.date);
    tell("authorisation_events", row.bytes());
    let refund = event.transition == "refund";
    let sale = Sale {
        id: &event.authorisation_id,
        merchant: &event.merchant_id,
        place: &event.place_id,
        territory: &event.territory,
        terminal: &event.terminal_id,
        recipient: event.recipient.as_deref(),
        mode: &event.mode,
        kind: if refund { "refunded" } else { "captured" },
        occurred_at: event.occurred_at,
        date: &event.date,
        given: (
            event.lines_occurred_at.unwrap_or(event.occurred_at),
            event.lines_date.as_deref().unwrap_or(&event.date),
        ),
    };
    if refund || event.transition == "capture" {
        lines(stored, &sale, &event.lines, row, tell);
    }
    points(stored, &sale, &event.points, row, tell);
}

fn lines(stored: &Stored, sale: &Sale, lines: &[AuthorisationLine], row: &mut Row, tell: Tell) {
    for line in lines {
        row.begin()
            .text(sale.id)
            .number(line.line)
            .text(sale.merchant)
            .text(sale.place)
            .text(sale.terminal)
            .text(&line.item)
            .filled(&line.category)
            .number(line.quantity_thousandths)
            .number(line.unit_price_cents)
            .number(line.total_cents)
            .number(line.total_cents - line.payable_cents)
            .number(line.payable_cents)
            .number(sale.occurred_at)
            .placed(stored)
            .day(sale.date);
        tell("transaction_lines", row.bytes());
        for benefit in &line.benefits {
            row.begin()
                .text(&benefit.grantor_id)
                .text(sale.merchant)
                .text(&benefit.instruction_id)
                .number(benefit.instruction_version)
                .text(&benefit.benefit_id)
                .text(sale.place)
                .text(sale.territory)
                .text(sale.terminal)
                .text(sale.id)
                .number(line.line)
                .may(sale.recipient)
                .text(&line.item)
                .filled(&line.category)
                .number(line.quantity_thousandths)
                .number(line.unit_price_cents)
                .number(benefit.units)
                .number(benefit.amount_cents)
                .number(benefit.grantor_cents)
                .number(benefit.merchant_cents)
                .number(benefit.excess_cents)
                .filled(&benefit.excess_borne_by)
                .text(sale.kind)
                .text(sale.mode)
                .number(sale.given.0)
                .placed(stored)
                .day(sale.given.1);
            tell("benefit_lines", row.bytes());
        }
    }
}

fn points(stored: &Stored, sale: &Sale, points: &[PointsMovement], row: &mut Row, tell: Tell) {
    for moved in points {
        row.begin()
            .text(&moved.benefit_id)
            .text(sale.merchant)
            .text(sale.id)
            .may(sale.recipient)
            .number(moved.change)
            .number(sale.occurred_at)
            .placed(stored)
            .day(sale.date);
        tell("points_entries", row.bytes());
    }
}

fn evaluated(stored: &Stored, event: &EntitlementEvaluated, row: &mut Row, tell: Tell) {
    row.begin()
        .text(&event.recipient)
        .filled(&event.age_band)
        .filled(&event.municipality)
        .number(event.alive)
        .number(event.removed)
        .number(event.known_from)
        .number(event.person_sequence)
        .placed(stored);
    tell("persons", row.bytes());
    for days in &event.groups {
        row.begin().text(&event.recipient).text(&days.group_id).day(&days.from);
        row.day(days.until.as_deref().unwrap_or_default());
        row.number(event.known_from).number(event.registry_version).placed(stored);
        tell("entitlements", row.bytes());
    }
}

fn means(stored: &Stored, event: &MeansChanged, row: &mut Row, tell: Tell) {
    row.begin()
        .text(&event.token)
        .text(&event.issuer_id)
        .text(&event.kind)
        .may(event.recipient.as_deref())
        .day(&event.valid_from)
        .day(event.valid_to.as_deref().unwrap_or_default())
        .number(event.blocked)
        .placed(stored);
    tell("means", row.bytes());
}

fn service(stored: &Stored, event: &ServiceEvent, row: &mut Row, tell: Tell) {
    let occurred_at = stored.record.event_time;
    if event.event_type == "lv.vpvkac.service.completed" {
        row.begin()
            .text(&stored.record.id.to_string())
            .text(&event.event_type)
            .may(event.centre_id.as_deref())
            .may(event.service_id.as_deref())
            .may(event.channel.as_deref())
            .may(event.outcome.as_deref())
            .may(event.official_id.as_deref())
            .may(event.institution_id.as_deref())
            .maybe(event.started_at)
            .maybe(event.completed_at)
            .instant(occurred_at)
            .placed(stored)
            .day(&event.date);
        tell("services", row.bytes());
    }
    if let Some(availability) = event.event_type.strip_prefix("lv.vpvkac.official.") {
        row.begin()
            .may(event.official_id.as_deref())
            .may(event.institution_id.as_deref())
            .text(availability)
            .instant(occurred_at)
            .placed(stored);
        tell("official_availability", row.bytes());
    }
}

fn portal(stored: &Stored, event: &PortalEvent, row: &mut Row, tell: Tell) {
    if !matches!(event.event_type.as_str(), "lv.portal.e-service.used" | "lv.portal.login") {
        return;
    }
    row.begin()
        .may(event.merchant_id.as_deref())
        .may(event.e_service_id.as_deref())
        .text(&event.event_type)
        .may(event.login_basket.as_deref())
        .may(event.identity_means.as_deref())
        .may(event.user.as_deref())
        .text(&stored.record.id.to_string())
        .instant(stored.record.event_time)
        .placed(stored)
        .day(&event.date);
    tell("portal_usage", row.bytes());
}

fn dead_letter(stored: &Stored, event: &DeadLetter, row: &mut Row, tell: Tell) {
    row.begin()
        .text(&stored.record.id.to_string())
        .text(&event.connector)
        .text(&event.reason)
        .text(&event.detail)
        .text(&event.origin)
        .number(event.line)
        .number(event.payload_bytes)
        .placed(stored)
        .day(&event.date);
    tell("dead_letters", row.bytes());
}
