//! What every connector is: a name, a stream, and a translation.

use domain::id::RecordId;
use ingest::{dead_letter::Reason, document::Fault, record::Record, topic::Topic};

/// The most faults of one message that are told.
const MOST_FAULTS: usize = 20;
/// The longest that is told of one fault, and about the longest of all.
const LONGEST_DETAIL: usize = 1_024;

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
pub trait Connector: Send + Sync + 'static {
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
        let mut detail = String::new();
        for (at, fault) in faults.iter().enumerate() {
            // A message may have a fault for each of its bytes, and a field's name is the sender's.
            if at == MOST_FAULTS || detail.len() > LONGEST_DETAIL {
                detail.push_str(&format!("; and {} more", faults.len() - at));
                break;
            }
            let told = fault.to_string();
            let cut = told.floor_char_boundary(LONGEST_DETAIL);
            detail.push_str(if at == 0 { "" } else { "; " });
            detail.push_str(&told[..cut]);
        }
        Self { reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: String) -> Fault {
        Fault { reason: Reason::UnknownField, path, message: "unknown field".into() }
    }

    #[test]
    fn a_refusal_stays_short_whatever_came() {
        let many: Vec<_> = (0..100_000).map(|at| fault(format!("/{at}"))).collect();
        let refusal = Refusal::of(&many);
        assert_eq!(refusal.reason, Reason::UnknownField);
        assert!(refusal.detail.starts_with("/0: unknown field; /1: unknown field"));
        assert!(refusal.detail.ends_with("; and 99980 more"));
        let long = Refusal::of(&[fault(format!("/{}", "ā".repeat(100_000)))]);
        assert!(long.detail.len() <= LONGEST_DETAIL);
    }
}
