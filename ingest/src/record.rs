//! One record of a stream: what happened, with the headers that every record has.

use chrono::{DateTime, Utc};
use domain::id::RecordId;
use ring::rand::SecureRandom;

use crate::wire::v1::Event;

/// A record as it is appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of an outside event a hash of source and its id, else a ULID.
    pub id: RecordId,
    /// What decides the partition: a household, a centre, a kind of the registry.
    pub key: String,
    /// Who sent it: a terminal, `/dagr/persons`, `authoriser`.
    pub source: String,
    /// The source's own count of its records; of decisions the authoriser's, which is their order
    /// across partitions; 0 where it has none.
    pub sequence: u64,
    /// When it happened, by its source.
    pub event_time: DateTime<Utc>,
    /// When we recorded it.
    pub recorded_at: DateTime<Utc>,
    /// What happened.
    pub event: Event,
}

impl Record {
    /// Where it comes among all records of its stream, whatever their partitions: its number, or where
    /// it has none the microsecond at which it was recorded.
    #[must_use]
    pub fn order(&self) -> u64 {
        match self.sequence {
            0 => number_at(self.recorded_at),
            number => number,
        }
    }
}

/// The least number of what is recorded at an instant: its microsecond, so that those who number apart
/// agree as well as their clocks.
#[must_use]
pub fn number_at(instant: DateTime<Utc>) -> u64 {
    u64::try_from(instant.timestamp_micros()).unwrap_or(0)
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// Its place in it, counted from 0 without holes.
    pub offset: u64,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Where it stands.
    pub position: Position,
    /// The record.
    pub record: Record,
}

/// The id of an outside event: the same source and id always give the same, so that an event that
/// comes again is known again.
#[must_use]
pub fn outside_id(source: &str, id: &str) -> RecordId {
    let mut hasher = blake3::Hasher::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hasher.update(&(source.len() as u64).to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.update(id.as_bytes());
    RecordId::from_u128(first_u128(&hasher.finalize()))
}

/// A fresh ULID: 48 bits of milliseconds and 80 random ones.
///
/// # Panics
/// Where the operating system gives no randomness; nothing can be promised then.
#[must_use]
pub fn ulid(at: DateTime<Utc>, random: &dyn SecureRandom) -> u128 {
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes[6..]).expect("the operating system gives randomness");
    let tail = u128::from_be_bytes(bytes);
    let millis = u128::from(u64::try_from(at.timestamp_millis()).unwrap_or(0));
    (millis << 80) | tail
}

/// The first 128 bits of a hash.
#[must_use]
pub fn first_u128(hash: &blake3::Hash) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(bytes)
}
