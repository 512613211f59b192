//! Every means with the place of its newest record, for whoever looks after means.
//!
//! What lists are chosen by stands here, in 52 bytes; the rest is read from the stream.

use chrono::{Datelike, NaiveDate};
use domain::id::{IssuerId, MeansToken, RecipientId};

use super::numbered::Numbered;
use crate::{
    dense::{Dense, Packed, TABLES},
    record::Stored,
    wire::v1::Event,
};

/// A means without an end.
const OPEN: i32 = i32::MAX;

/// Every means that was issued, by token.
#[derive(Debug, Default)]
pub struct Issued {
    means: Dense<Compact>,
    sorts: Numbered<Sort>,
}

#[derive(Clone, Copy, Debug)]
struct Compact {
    /// Whose it is, where its sort says that it is somebody's.
    person: Packed,
    /// In halves, which need no alignment to eight.
    offset: [u32; 2],
    /// The last day, counted from the year 1, or [`OPEN`].
    to: i32,
    sort: u32,
}

/// What a means has in common with many others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    issuer: IssuerId,
    held: bool,
    blocked: bool,
}

/// A means as lists are chosen from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its token.
    pub token: MeansToken,
    /// Who issued it.
    pub issuer: &'a IssuerId,
    /// Whose it is; none for one that stands alone.
    pub person: Option<RecipientId>,
    /// Its last day, if it has one.
    pub to: Option<NaiveDate>,
    /// Whether it is blocked.
    pub blocked: bool,
    /// Where its newest record stands, in the only partition of `means-changes`.
    pub offset: u64,
}

impl Issued {
    /// How many parts there are: nobody has to wait while all are looked at.
    pub const PARTS: usize = TABLES;

    /// Takes one record of `means-changes`; what is no means is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        let person = change.person.as_deref().map(RecipientId::parse);
        let to = change.valid_to.as_deref().map(|to| to.parse::<NaiveDate>().ok());
        let read = (MeansToken::parse(&change.token), IssuerId::new(&change.issuer_id));
        let (Some(token), Ok(issuer)) = read else { return };
        let sort = Sort { issuer, held: person.is_some(), blocked: change.blocked };
        let offset = stored.position.offset;
        let compact = Compact {
            person: Packed::new(person.flatten().map_or(0, RecipientId::as_u128)),
            offset: [(offset >> 32) as u32, offset as u32],
            to: to.flatten().map_or(OPEN, |day| day.num_days_from_ce()),
            sort: self.sorts.add(sort),
        };
        self.means.update(token.as_u128(), |_| compact);
    }

    /// A means by its token.
    #[must_use]
    pub fn get(&self, token: MeansToken) -> Option<Listed<'_>> {
        self.means.get(token.as_u128()).map(|compact| self.listed(token, compact))
    }

    /// The part that a token is in.
    #[must_use]
    pub const fn part_of(token: MeansToken) -> usize {
        Dense::<Compact>::table_with(token.as_u128())
    }

    /// The means of one part, in no order.
    pub fn part(&self, part: usize) -> impl Iterator<Item = Listed<'_>> {
        let held = self.means.table_of(part);
        held.map(|(token, compact)| self.listed(MeansToken::from_u128(token), compact))
    }

    fn listed(&self, token: MeansToken, compact: &Compact) -> Listed<'_> {
        let sort = self.sorts.value(compact.sort);
        let to = (compact.to != OPEN).then_some(compact.to);
        Listed {
            token,
            issuer: &sort.issuer,
            person: sort.held.then(|| RecipientId::from_u128(compact.person.number())),
            to: to.and_then(NaiveDate::from_num_days_from_ce_opt),
            blocked: sort.blocked,
            offset: u64::from(compact.offset[0]) << 32 | u64::from(compact.offset[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        record::{Position, Record, outside_id},
        wire::v1::MeansChanged,
    };

    fn stored(offset: u64, change: MeansChanged) -> Stored {
        let record = Record {
            id: outside_id("test", ""),
            key: String::new(),
            source: "test".into(),
            sequence: 0,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event: Event::MeansChanged(change),
        };
        Stored { position: Position { partition: 0, offset }, record }
    }

    proptest! {
        #[test]
        fn of_every_means_the_newest_record_is_known(
            changes in prop::collection::vec(
                (0..9_u128, "[ab]", prop::option::of(0..3_u128), any::<bool>(), any::<bool>()),
                1..60,
            ),
        ) {
            let (mut issued, mut newest) = (Issued::default(), BTreeMap::new());
            for (offset, (token, issuer, person, ends, blocked)) in (u64::MAX / 2..).zip(changes) {
                let token = MeansToken::from_u128(token);
                let change = MeansChanged {
                    token: token.to_string(),
                    issuer_id: issuer.clone(),
                    person: person.map(|id| RecipientId::from_u128(id).to_string()),
                    valid_to: ends.then(|| "2025-03-01".into()),
                    blocked,
                    ..MeansChanged::default()
                };
                issued.apply(&stored(offset, change));
                newest.insert(token, (offset, issuer, person, ends, blocked));
            }
            let all = (0..Issued::PARTS).flat_map(|part| issued.part(part));
            let found: BTreeMap<_, _> = all.map(|listed| {
                let person = listed.person.map(RecipientId::as_u128);
                let said = (listed.offset, listed.issuer.to_string(), person, listed.to.is_some());
                (listed.token, (said.0, said.1, said.2, said.3, listed.blocked))
            }).collect();
            prop_assert_eq!(&found, &newest);
            for token in found.keys() {
                let part = Issued::part_of(*token);
                prop_assert!(issued.part(part).any(|listed| listed.token == *token));
            }
        }
    }
}
