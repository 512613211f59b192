//! What was refused, kept with the reason: nothing that came is dropped in silence.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{id::RecordId, period::LocalTime};

use crate::{
    error::LogError,
    log::{Log, replay},
    record::{Position, Record, Stored, outside_id},
    topic::Topic,
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

/// A dead letter that nobody has dealt with.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its record.
    pub id: RecordId,
    /// Where it stands.
    pub position: Position,
    /// When it was refused.
    pub recorded_at: DateTime<Utc>,
    /// What was refused, and why.
    pub letter: v1::DeadLetter,
}

/// What was done about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was translated again and taken.
    Replayed,
    /// It is not wanted.
    Dropped,
}

/// The dead letters that nobody has dealt with, in the order in which they came.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn open(log: &Arc<dyn Log>) -> Result<Vec<Open>, LogError> {
    each_open(log, |_| ()).await
}

/// The same without what came, so that any number of them fits in memory.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn listed(log: &Arc<dyn Log>) -> Result<Vec<Open>, LogError> {
    each_open(log, |letter| letter.payload = Vec::new()).await
}

async fn each_open(
    log: &Arc<dyn Log>,
    trim: impl Fn(&mut v1::DeadLetter),
) -> Result<Vec<Open>, LogError> {
    let mut letters = BTreeMap::new();
    let mut places = BTreeMap::new();
    replay(log, Topic::DeadLetters, |stored| {
        let Stored { position, record } = stored;
        match record.event {
            Event::DeadLetter(mut letter) => {
                let (id, recorded_at) = (record.id, record.recorded_at);
                // Whoever sends the same again is refused again: it is the letter that is open already, and
                // what is done about that is done about both.
                if let Entry::Vacant(place) = places.entry(id.to_string()) {
                    place.insert(position);
                    trim(&mut letter);
                    letters.insert(position, Open { id, position, recorded_at, letter });
                }
            }
            Event::DeadLetterSettled(settled) => {
                places.remove(&settled.letter_id).and_then(|place| letters.remove(&place));
            }
            _ => {}
        }
        Ok::<(), LogError>(())
    })
    .await?;
    Ok(letters.into_values().collect())
}

impl Open {
    /// The same with what came, after it was [`listed`].
    ///
    /// # Errors
    /// Where the stream cannot be read, or has let go of it.
    pub async fn again(mut self, log: &Arc<dyn Log>) -> Result<Self, LogError> {
        let Position { partition, offset } = self.position;
        for stored in log.read(Topic::DeadLetters, partition, offset, 1).await? {
            if let Event::DeadLetter(letter) = stored.record.event
                && stored.position == self.position
            {
                self.letter = letter;
            }
        }
        Ok(self)
    }

    /// What came, as far as it was kept: the whole of it, unless it was longer than
    /// [`LONGEST_PAYLOAD`].
    ///
    /// # Errors
    /// Where the vault's key is another one.
    pub fn payload(&self, vault: &Vault) -> Result<Vec<u8>, VaultError> {
        vault.unseal_for_node(&self.letter.payload)
    }

    /// Whether all of it was kept.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.letter.payload_bytes <= LONGEST_PAYLOAD as u64
    }

    /// The record that says what was done about it.
    #[must_use]
    pub fn settled(&self, outcome: Outcome, note: &str, now: DateTime<Utc>) -> Record {
        let letter_id = self.id.to_string();
        let outcome = match outcome {
            Outcome::Replayed => "replayed",
            Outcome::Dropped => "dropped",
        };
        Record {
            id: outside_id("dead-letter-settled", &letter_id),
            key: self.letter.connector.clone(),
            source: "operator".into(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::DeadLetterSettled(v1::DeadLetterSettled {
                letter_id,
                outcome: outcome.into(),
                note: note.into(),
            }),
        }
    }
}
