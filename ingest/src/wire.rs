//! How records are written: compact and versioned in the log, flat JSON for whoever reads along.
//!
//! Version 1 is protobuf by `prost`: a reader skips fields it does not know and fills those that are
//! missing, so older and newer nodes read each other. Tags are never used again. A whole event of a
//! kind that it does not know is never skipped: it may have moved money, or taken a right away. Such
//! a reader stops there and says that it is too old ([`WireError::Newer`]).

pub(crate) mod json;
pub mod published;
mod shared;
pub mod v1;

pub use json::{INSTANT, rfc3339};
pub use shared::Shared;

use chrono::{DateTime, Utc};
use domain::id::RecordId;
use prost::{
    Message,
    bytes::Bytes,
    encoding::{DecodeContext, WireType, decode_key, skip_field},
};
use serde::Serialize;

use crate::record::{Position, Record, Stored};

/// The wire version that is written.
pub const VERSION: u32 = 1;

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not protobuf of our schema.
    #[error("not a record of wire version 1: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Not JSON of our form.
    #[error("not a record in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A header is missing or out of range.
    #[error("the record's {0} is missing or out of range")]
    Header(&'static str),
    /// Every version writes a number, and later ones larger numbers.
    #[error("the record's schema version is no whole number from 1 on")]
    SchemaVersion,
    /// There are headers alone.
    #[error("the record holds no event")]
    NoEvent,
    /// An event of a kind that only a newer version knows; the bytes are whole.
    #[error("of a newer version: event kind {kind}; upgrade the reader")]
    Newer {
        /// Its tag, or in JSON its name.
        kind: String,
    },
}

/// The bytes of a record in wire version 1.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    // The headers go before the event in an envelope without one, so that the event, by far the
    // larger part, is written from where it lies.
    let headers = v1::Envelope {
        id: Bytes::copy_from_slice(&record.id.as_u128().to_be_bytes()),
        key: record.key.clone(),
        source: record.source.clone(),
        sequence: record.sequence,
        event_time: record.event_time.timestamp_micros(),
        recorded_at: record.recorded_at.timestamp_micros(),
        event: None,
    };
    let length = headers.encoded_len() + record.event.encoded_len();
    let mut bytes = Vec::with_capacity(length);
    headers.encode_raw(&mut bytes);
    record.event.encode(&mut bytes);
    bytes
}

/// The record in bytes of wire version 1.
///
/// # Errors
/// Where the bytes are damaged, or of an event that only a newer version knows.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    let envelope = v1::Envelope::decode(bytes)?;
    let id: [u8; 16] = envelope.id.as_ref().try_into().map_err(|_| WireError::Header("id"))?;
    Ok(Record {
        id: RecordId::from_u128(u128::from_be_bytes(id)),
        key: envelope.key,
        source: envelope.source,
        sequence: envelope.sequence,
        event_time: instant(envelope.event_time).ok_or(WireError::Header("event time"))?,
        recorded_at: instant(envelope.recorded_at).ok_or(WireError::Header("record time"))?,
        event: envelope.event.ok_or_else(|| unknown(bytes))?,
    })
}

/// What stands in the place of an event that this version knows.
fn unknown(mut bytes: &[u8]) -> WireError {
    while let Ok((tag, kind)) = decode_key(&mut bytes) {
        if tag >= v1::FIRST_EVENT && kind == WireType::LengthDelimited {
            return WireError::Newer { kind: tag.to_string() };
        }
        if skip_field(kind, tag, &mut bytes, DecodeContext::default()).is_err() {
            break;
        }
    }
    WireError::NoEvent
}

/// When a record was recorded, in microseconds since 1970, whatever its event.
pub(crate) fn recorded_at(bytes: &[u8]) -> Result<i64, WireError> {
    Ok(v1::RecordTime::decode(bytes)?.recorded_at)
}

/// The instant of so many microseconds since 1970.
#[must_use]
pub const fn instant(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

/// A stored record as one flat JSON object: what Arroyo reads on Fluvio, what our SQL sources read,
/// and what `avis stream tail` shows.
#[derive(Debug, Serialize)]
pub struct Flat<'a> {
    schema_version: u32,
    record_id: String,
    source_partition: u32,
    source_offset: u64,
    #[serde(flatten)]
    record: FlatRecord<'a>,
}

/// What every flat form has, wherever the record stands.
#[derive(Debug, Serialize)]
pub(crate) struct FlatRecord<'a> {
    source: &'a str,
    sequence: u64,
    key: &'a str,
    #[serde(with = "json::instant")]
    event_time: i64,
    #[serde(with = "json::instant")]
    recorded_at: i64,
    #[serde(flatten)]
    event: &'a v1::Event,
}

impl<'a> FlatRecord<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        Self {
            source: &record.source,
            sequence: record.sequence,
            key: &record.key,
            event_time: record.event_time.timestamp_micros(),
            recorded_at: record.recorded_at.timestamp_micros(),
            event: &record.event,
        }
    }
}

impl<'a> Flat<'a> {
    /// The flat form of a record at its place.
    #[must_use]
    pub fn new(stored: &'a Stored) -> Self {
        let Stored { position: Position { partition, offset }, record } = stored;
        Self {
            schema_version: VERSION,
            record_id: record.id.to_string(),
            source_partition: *partition,
            source_offset: *offset,
            record: FlatRecord::of(record),
        }
    }
}
