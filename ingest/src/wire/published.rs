//! A record as it stands on Fluvio: one flat JSON object with every field, envelope included, which
//! Arroyo reads as it is and from which the record can be read back.

use domain::id::RecordId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{FlatRecord, WireError, json, v1::Event};
use crate::record::{Position, Record};

/// What an object takes at first.
const USUAL_BYTES: usize = 2 << 10;

/// A record with the place that it has in the outbox of the node that published it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The node's outbox.
    pub outbox: String,
    /// The record's offset in that outbox; contiguous per outbox, stream and partition.
    pub outbox_sequence: u64,
    /// The record.
    pub record: Record,
}

#[derive(Serialize)]
struct Written<'a> {
    schema_version: u32,
    record_id: String,
    outbox: &'a str,
    outbox_sequence: u64,
    source_partition: u32,
    source_offset: u64,
    #[serde(flatten)]
    record: FlatRecord<'a>,
}

/// What every object has; the rest is the event's.
#[derive(Deserialize)]
struct Headers {
    /// None where it is none; the first where it is missing.
    #[serde(default = "first", deserialize_with = "version")]
    schema_version: Option<u64>,
    record_id: String,
    #[serde(default)]
    outbox: String,
    #[serde(default)]
    outbox_sequence: u64,
    #[serde(default)]
    source: String,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    key: String,
    event_time: String,
    recorded_at: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The object of a record that stands in an outbox.
///
/// `source_partition` and `source_offset` are for a cluster's pipelines, which cannot know Fluvio's
/// own offset: the place in the outbox, which orders what one node publishes in a partition. The
/// node's own reader puts Fluvio's there instead.
///
/// # Errors
/// Where a record cannot be written as JSON, which none of ours is.
pub fn encode(outbox: &str, place: Position, record: &Record) -> Result<Vec<u8>, WireError> {
    let written = Written {
        schema_version: super::VERSION,
        record_id: record.id.to_string(),
        outbox,
        outbox_sequence: place.offset,
        source_partition: place.partition,
        source_offset: place.offset,
        record: FlatRecord::of(record),
    };
    // Most are smaller; growing step by step would copy each several times.
    let mut object = Vec::with_capacity(USUAL_BYTES);
    json::whole(|| serde_json::to_writer(&mut object, &written)).map_err(WireError::Json)?;
    Ok(object)
}

/// The record of an object, of this schema version or a later one: a version adds fields and re-means
/// none. Fields that are not known here are skipped, those that are missing are filled.
///
/// # Errors
/// Where the object is none, its schema version is no whole number from 1 on, or it is of an event that
/// only a newer version knows.
pub fn decode(object: &[u8]) -> Result<Published, WireError> {
    let headers: Headers = serde_json::from_slice(object)?;
    if headers.schema_version.is_none() {
        return Err(WireError::SchemaVersion);
    }
    let instant = |text: &str, name| {
        let micros = json::micros::<serde_json::Error>(text).ok();
        micros.and_then(super::instant).ok_or(WireError::Header(name))
    };
    let record = Record {
        id: RecordId::parse(&headers.record_id).ok_or(WireError::Header("id"))?,
        key: headers.key,
        source: headers.source,
        sequence: headers.sequence,
        event_time: instant(&headers.event_time, "event time")?,
        recorded_at: instant(&headers.recorded_at, "record time")?,
        event: event(&headers.kind, object)?,
    };
    Ok(Published { outbox: headers.outbox, outbox_sequence: headers.outbox_sequence, record })
}

const fn first() -> Option<u64> {
    Some(1)
}

/// A schema version, whatever stands in its place: so that what is none is told by its name.
fn version<'a, D: Deserializer<'a>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Value::deserialize(from)?.as_u64().filter(|version| *version > 0))
}

/// The event in an object. Not by the enum's own tag: serde would keep the object in a form of its
/// own first, in which embedded JSON does not come back as it was written.
fn event(kind: &str, object: &[u8]) -> Result<Event, WireError> {
    fn read<'a, T: Deserialize<'a>>(
        object: &'a [u8],
        event: impl Fn(T) -> Event,
    ) -> Result<Event, WireError> {
        Ok(event(serde_json::from_slice(object)?))
    }
    match kind {
        "registry_changed" => read(object, Event::RegistryChanged),
        "person_changed" => read(object, Event::PersonChanged),
        "means_changed" => read(object, Event::MeansChanged),
        "entitlement_evaluated" => read(object, Event::EntitlementEvaluated),
        "transaction_uploaded" => read(object, Event::TransactionUploaded),
        "authorisation_decided" => read(object, Event::AuthorisationDecided),
        "authorisation_changed" => read(object, Event::AuthorisationChanged),
        "heartbeat" => read(object, Event::Heartbeat),
        "service_event" => read(object, Event::ServiceEvent),
        "portal_event" => read(object, Event::PortalEvent),
        "period_closed" => read(object, Event::PeriodClosed),
        "dead_letter" => read(object, Event::DeadLetter),
        "key_blocked" => read(object, Event::KeyBlocked),
        "authoriser_started" => read(object, Event::AuthoriserStarted),
        "dead_letter_settled" => read(object, Event::DeadLetterSettled),
        "statements_sent" => read(object, Event::StatementsSent),
        "bank_file_read" => read(object, Event::BankFileRead),
        "audited" => read(object, Event::Audited),
        "consent_changed" => read(object, Event::ConsentChanged),
        "household_joined" => read(object, Event::HouseholdJoined),
        "membership_changed" => read(object, Event::MembershipChanged),
        "panel_changed" => read(object, Event::PanelChanged),
        _ => Err(WireError::Newer { kind: kind.into() }),
    }
}

#[cfg(test)]
mod tests;
