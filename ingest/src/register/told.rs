//! From when on what was told last of each person's groups is known.

use chrono::{DateTime, Utc};
use domain::id::RecipientId;

use crate::dense::Dense;

/// The instants by person.
#[derive(Debug, Default)]
pub struct Told {
    /// In microseconds since 1970.
    people: Dense<i64>,
}

impl Told {
    /// Notes that somebody was told of, as known from an instant on.
    pub fn note(&mut self, person: RecipientId, known_from: DateTime<Utc>) {
        self.people.update(person.as_u128(), |_| known_from.timestamp_micros());
    }

    /// From when on what was told last of somebody is known.
    #[must_use]
    pub fn of(&self, person: RecipientId) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(*self.people.get(person.as_u128())?)
    }

    /// Those of whom nothing was told since before an instant, in no order.
    pub fn before(&self, instant: DateTime<Utc>) -> impl Iterator<Item = RecipientId> {
        let instant = instant.timestamp_micros();
        let before = self.people.iter().filter(move |(_, known_from)| **known_from < instant);
        before.map(|(person, _)| RecipientId::from_u128(person))
    }
}
