//! Who is in the register of people, without what it says of them: nothing is unsealed for it.

use chrono::{DateTime, Utc};
use domain::id::RecipientId;

use super::people::is_older;
use crate::{dense::Dense, record::Stored, wire::v1::Event};

/// Everybody whom the register has told of.
#[derive(Debug, Default)]
pub struct Present {
    people: Dense<Newest>,
}

/// What a person's newest change says.
#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u64,
    /// In microseconds since 1970.
    event_time: i64,
    present: bool,
}

impl Present {
    /// Takes one record of `person-changes`; what is no change of a person, or not newer than the
    /// known one, changes nothing.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::PersonChanged(change) = &stored.record.event else { return };
        let Some(id) = RecipientId::parse(&change.person) else { return };
        let newest = Newest {
            sequence: change.person_sequence,
            event_time: stored.record.event_time.timestamp_micros(),
            present: !change.removed,
        };
        self.people.update(id.as_u128(), |known| match known {
            Some(known)
                if is_older(
                    (change.person_sequence, change.removed),
                    known.sequence,
                    known.present,
                ) =>
            {
                known
            }
            _ => newest,
        });
    }

    /// Who is there, with the register's count of their changes and when the newest happened.
    pub fn iter(&self) -> impl Iterator<Item = (RecipientId, u64, DateTime<Utc>)> {
        let present = self.people.iter().filter(|(_, newest)| newest.present);
        present.map(|(id, newest)| {
            let at = DateTime::from_timestamp_micros(newest.event_time).unwrap_or_default();
            (RecipientId::from_u128(id), newest.sequence, at)
        })
    }
}
