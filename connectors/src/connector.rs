//! What every connector is: a name, a stream, and a translation.

use domain::id::RecordId;
use ingest::{dead_letter::Reason, document::Fault, record::Record, topic::Topic};

/// Why a message is not taken. It says what and where, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault.
    pub reason: Reason,
    /// What is wrong, with the JSON pointer of each place.
    pub detail: String,
}

/// What to do with a message whose identity the stream already holds but that says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is the next state of the same thing.
    Changes,
    /// A name was used twice for different things.
    Refuse,
}

/// Translates messages of one source to records of one stream.
pub trait Connector: Send + 'static {
    /// The connector's name, as metrics and dead letters have it.
    fn name(&self) -> &'static str;

    /// The stream its records go to.
    fn topic(&self) -> Topic;

    /// What another message of the same identity means.
    fn again(&self) -> Again {
        Again::Refuse
    }

    /// The identity by which a message that comes again is known.
    fn identity(&self, record: &Record) -> RecordId {
        record.id
    }

    /// Translates messages, one answer each, in order. No message spoils another.
    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>>;
}

impl Refusal {
    /// A refusal for one reason.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// A refusal for all faults of a document; the first gives the reason.
    #[must_use]
    pub fn of(faults: &[Fault]) -> Self {
        let reason = faults.first().map_or(Reason::InvalidValue, |fault| fault.reason);
        let detail: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Self { reason, detail: detail.join("; ") }
    }
}

/// The JSON of a message.
///
/// # Errors
/// Where it is no JSON; the place is named, the text is not.
pub fn json(message: &[u8]) -> Result<serde_json::Value, Refusal> {
    serde_json::from_slice(message).map_err(|error| {
        let detail = format!("not JSON at column {}", error.column());
        Refusal::new(Reason::MalformedJson, detail)
    })
}
