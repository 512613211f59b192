//! What recipients have agreed to and withdrawn, with every change.
//!
//! Many people agree to the same few texts, so a change is sixteen bytes: when it was, and the numbers
//! of the consent and of its terms.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use domain::id::{ConsentId, PurposeId, RecipientId, TextVersion};

use super::numbered::Numbered;
use crate::{
    record::Stored,
    wire::v1::{ConsentChanged, Event},
};

/// A consent given or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: DateTime<Utc>,
    /// Under which terms.
    pub terms: Terms,
}

/// What a change says beside whose it is and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// What the data is used for.
    pub purpose: PurposeId,
    /// Whether it is given from then on.
    pub given: bool,
    /// The version of the text.
    pub text_version: TextVersion,
    /// The role of whoever recorded it.
    pub recorded_by: String,
}

/// Every change of everybody's consents.
#[derive(Debug, Default)]
pub struct Consents {
    people: HashMap<RecipientId, Vec<Compact>>,
    consents: Numbered<ConsentId>,
    terms: Numbered<Terms>,
}

#[derive(Clone, Copy, Debug)]
struct Compact {
    /// Microseconds since 1970.
    at: i64,
    consent: u32,
    terms: u32,
}

impl Consents {
    /// Takes one record of `consents`, in the order of the stream; what is no consent is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::ConsentChanged(event) = &stored.record.event else { return };
        let Some((person, consent, terms)) = read(event) else { return };
        let compact = Compact {
            at: stored.record.event_time.timestamp_micros(),
            consent: self.consents.add(consent),
            terms: self.terms.add(terms),
        };
        self.people.entry(person).or_default().push(compact);
    }

    /// A person's consents, each with its changes in their order.
    #[must_use]
    pub fn of(&self, person: RecipientId) -> BTreeMap<ConsentId, Vec<Change>> {
        let mut consents: BTreeMap<ConsentId, Vec<Change>> = BTreeMap::new();
        for compact in self.people.get(&person).into_iter().flatten() {
            let consent = self.consents.value(compact.consent).clone();
            consents.entry(consent).or_default().push(self.change(compact));
        }
        consents
    }

    /// How a consent of a person's stands: its newest change.
    #[must_use]
    pub fn newest(&self, person: RecipientId, consent: &ConsentId) -> Option<Change> {
        let consent = self.consents.number(consent)?;
        let changes = self.people.get(&person)?.iter().rev();
        changes.into_iter().find(|of| of.consent == consent).map(|compact| self.change(compact))
    }

    /// How many changes there are of a person's consents.
    #[must_use]
    pub fn changes(&self, person: RecipientId) -> usize {
        self.people.get(&person).map_or(0, Vec::len)
    }

    fn change(&self, compact: &Compact) -> Change {
        Change {
            at: DateTime::from_timestamp_micros(compact.at).unwrap_or_default(),
            terms: self.terms.value(compact.terms).clone(),
        }
    }
}

fn read(event: &ConsentChanged) -> Option<(RecipientId, ConsentId, Terms)> {
    let terms = Terms {
        purpose: PurposeId::new(&event.purpose).ok()?,
        given: event.given,
        text_version: TextVersion::new(&event.text_version).ok()?,
        recorded_by: event.recorded_by.clone(),
    };
    let person = RecipientId::parse(&event.person)?;
    Some((person, ConsentId::new(&event.consent_id).ok()?, terms))
}
