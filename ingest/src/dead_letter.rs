//! What was refused, kept with the reason: nothing that came is dropped in silence.

use chrono::{DateTime, Utc};
use domain::period::LocalTime;

use crate::{
    record::{Record, outside_id},
    vault::{Vault, VaultError},
    wire::v1::{self, Event},
};

/// The most of a refused input that is kept.
pub const LONGEST_PAYLOAD: usize = 64 * 1_024;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No JSON.
    MalformedJson,
    /// A line above the bound.
    LineTooLong,
    /// A field that must be there is not.
    MissingField,
    /// A field that nobody knows.
    UnknownField,
    /// A field of another type.
    WrongType,
    /// A value that may not be.
    InvalidValue,
    /// A quantity that may not be.
    InvalidQuantity,
    /// An amount beyond what is kept.
    Overflow,
    /// A terminal that the registry does not have.
    UnknownTerminal,
    /// A person whom the register has not told of.
    UnknownPerson,
    /// An issuer, centre or service that the registry does not have.
    UnknownReference,
    /// An event of a type that nobody knows.
    UnknownType,
    /// A key used before for something else.
    DuplicateKey,
    /// A change that is older than the known one.
    OlderSequence,
    /// A transaction from before the days for which uploads are taken.
    TooOld,
    /// A key that its terminal reversed before anything came under it.
    KeyReversed,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::LineTooLong => "line_too_long",
            Self::MissingField => "missing_field",
            Self::UnknownField => "unknown_field",
            Self::WrongType => "wrong_type",
            Self::InvalidValue => "invalid_value",
            Self::InvalidQuantity => "invalid_quantity",
            Self::Overflow => "overflow",
            Self::UnknownTerminal => "unknown_terminal",
            Self::UnknownPerson => "unknown_person",
            Self::UnknownReference => "unknown_reference",
            Self::UnknownType => "unknown_type",
            Self::DuplicateKey => "duplicate_key",
            Self::OlderSequence => "older_sequence",
            Self::TooOld => "too_old",
            Self::KeyReversed => "key_reversed",
        }
    }
}

/// Something refused, on its way to the stream.
#[derive(Clone, Debug)]
pub struct DeadLetter<'a> {
    /// The connector.
    pub connector: &'static str,
    /// Why.
    pub reason: Reason,
    /// What was wrong and where, without the values.
    pub detail: String,
    /// The file or route it came by.
    pub origin: &'a str,
    /// The line in it, counted from 1; 0 where there is none.
    pub line: u64,
    /// The first bytes of what came.
    pub payload: &'a [u8],
    /// How long it was in all.
    pub payload_bytes: u64,
}

impl DeadLetter<'_> {
    /// The record. The same input from the same place always has the same id, so that a file loaded
    /// twice is refused once. The payload may hold personal data and is sealed.
    ///
    /// # Errors
    /// Where the vault cannot seal.
    pub fn record(&self, vault: &Vault, now: DateTime<Utc>) -> Result<Record, VaultError> {
        let kept = &self.payload[..self.payload.len().min(LONGEST_PAYLOAD)];
        let hash = blake3::hash(self.payload).to_hex();
        let id = outside_id(self.connector, &format!("{}\0{}\0{hash}", self.origin, self.line));
        let event = Event::DeadLetter(v1::DeadLetter {
            connector: self.connector.into(),
            reason: self.reason.code().into(),
            detail: self.detail.clone(),
            origin: self.origin.into(),
            line: self.line,
            payload: vault.seal_for_node(kept)?,
            payload_bytes: self.payload_bytes,
            date: LocalTime::of(now).date.to_string(),
        });
        Ok(Record {
            id,
            key: self.connector.into(),
            source: self.connector.into(),
            sequence: self.line,
            event_time: now,
            recorded_at: now,
            event,
        })
    }
}
