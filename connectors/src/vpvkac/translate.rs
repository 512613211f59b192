//! An event of a centre as a record of the stream.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::{
    id::{CentreId, InstitutionId, OfficialId, Pseudonym},
    period::LocalTime,
};
use ingest::{
    dead_letter::Reason,
    document::Fields,
    record::{Record, outside_id},
    vault::Vault,
    wire::v1::{Event, ServiceEvent},
};

use super::board::PREFIX;
use crate::{
    connector::Refusal,
    event::{self, Source},
};

const CENTRES: Source = Source {
    prefix: PREFIX,
    names: &[
        "call.requested",
        "call.offered",
        "call.accepted",
        "call.connected",
        "call.ended",
        "call.abandoned",
        "call.rated",
        "official.available",
        "official.busy",
        "official.away",
        "official.offline",
        "service.started",
        "service.completed",
    ],
    anothers: "/type: is no event of a service centre",
};

/// The longest free text, in bytes.
const LONGEST: usize = 128;

/// Translates one event.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn event(
    message: &[u8],
    centres: &HashSet<CentreId>,
    vault: &Vault,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let (headers, event) = CENTRES.read(message, |fields, name| {
        named(fields, name.unwrap_or_default());
        service_event(fields, centres, vault)
    })?;
    Ok(Record {
        id: outside_id(&headers.source, &headers.id),
        key: event.centre_id.clone().or_else(|| event.official_id.clone()).unwrap_or_default(),
        source: headers.source,
        sequence: 0,
        event_time: headers.time,
        recorded_at: now,
        event: Event::ServiceEvent(ServiceEvent {
            event_type: headers.kind,
            date: LocalTime::of(headers.time).date.to_string(),
            ..event
        }),
    })
}

/// What an event of its type says nothing without.
fn named(fields: &Fields<'_>, name: &str) {
    let needed: &[&str] = match name.split_once('.') {
        Some(("call", "rated")) => &["call", "rating"],
        Some(("call", _)) => &["call"],
        Some(("official", _)) => &["official"],
        Some(("service", _)) => &["service", "centre"],
        _ => &[],
    };
    for name in needed {
        fields.required(name);
    }
}

/// All but what the headers say.
fn service_event(fields: &Fields<'_>, centres: &HashSet<CentreId>, vault: &Vault) -> ServiceEvent {
    let centre = fields.optional("centre").and_then(|at| {
        let id = at.id(CentreId::new)?;
        if !centres.contains(&id) {
            at.fault_of(Reason::UnknownReference, "no such centre in the registry");
        }
        Some(id.to_string())
    });
    let started_at = event::instant(fields, "started_at");
    let completed_at = event::instant(fields, "completed_at");
    if let (Some(started), Some(completed)) = (started_at, completed_at)
        && completed < started
    {
        fields.at().fault("completed before it started");
    }
    let rating = fields.optional("rating").and_then(|at| at.integer(1, 5));
    let specialist = fields
        .optional("specialist")
        .and_then(|at| at.text())
        .map(|name| Pseudonym::from_u128(vault.hash("staff", name)).to_string());
    let id = |name, new: fn(&str) -> Option<String>| {
        fields.optional(name).and_then(|at| at.parsed("an identifier", new))
    };
    let service =
        fields.optional("service").and_then(|at| at.parsed("one of PAK_01 to PAK_10", pak));
    ServiceEvent {
        call_id: fields.short_text("call", LONGEST),
        centre_id: centre,
        service_id: service,
        institution_id: id("institution", |text| Some(InstitutionId::new(text).ok()?.to_string())),
        official_id: id("official", |text| Some(OfficialId::new(text).ok()?.to_string())),
        language: fields.short_text("language", LONGEST),
        channel: fields.short_text("channel", LONGEST),
        outcome: fields.short_text("outcome", LONGEST),
        started_at,
        completed_at,
        rating: rating.and_then(|rating| u32::try_from(rating).ok()),
        resolved: fields.optional("resolved").and_then(|at| at.boolean()),
        specialist,
        mandate_number: fields.short_text("mandate", LONGEST),
        ..ServiceEvent::default()
    }
}

/// One of the ten registered services.
fn pak(text: &str) -> Option<String> {
    let number = text.strip_prefix("PAK_").filter(|digits| digits.len() == 2)?;
    let known = number.parse::<u8>().is_ok_and(|number| (1..=10).contains(&number));
    known.then(|| text.to_owned())
}
