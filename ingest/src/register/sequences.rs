//! The register's count of each person's changes: which one is the newest known, and which have not
//! come.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use domain::id::RecipientId;

use crate::{
    record::{Position, Stored},
    wire::v1::{Event, PersonChanged},
};

/// The newest change of every person, and the gaps before it.
#[derive(Debug, Default)]
pub struct Sequences {
    newest: HashMap<RecipientId, Newest>,
    gaps: BTreeMap<RecipientId, Vec<Gap>>,
    open: usize,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u64,
    removed: bool,
}

/// Changes of one person that have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub to: u64,
    /// The change by which it was noticed.
    pub seen: u64,
    /// When it was noticed.
    pub noticed_at: DateTime<Utc>,
    /// Where that change stands; none while it is on its way to the stream.
    pub place: Option<Position>,
}

/// What a change is to those that came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next one, or the first that came of this person.
    Next,
    /// A newer one, with changes missing before it.
    After(Gap),
    /// An older one that was missing. The register stays as it is.
    Fills,
    /// Not newer than what is known, and not missing.
    Older,
}

impl Sequences {
    /// Takes a change that is going to the stream, unless it is [`Order::Older`].
    pub fn take(&mut self, change: &PersonChanged, at: DateTime<Utc>) -> Order {
        let Some(id) = RecipientId::parse(&change.person) else { return Order::Next };
        let sequence = change.person_sequence;
        let now = Newest { sequence, removed: change.removed };
        // Where counting begins nobody knows: a snapshot tells of people in the middle of it.
        let Some(known) = self.newest.get(&id).copied() else {
            self.newest.insert(id, now);
            return Order::Next;
        };
        // Whoever was missing from a snapshot was removed under a number of ours.
        let comes_back = known.removed && !change.removed && sequence == known.sequence;
        let filled = match change.snapshot {
            // A snapshot says how a person is now, whatever led to it.
            true => self.close(id, |gap| gap.to < sequence),
            false => self.fill(id, sequence),
        };
        if sequence > known.sequence || comes_back {
            self.newest.insert(id, now);
            let is_next = comes_back || sequence == known.sequence + 1;
            if is_next || change.snapshot {
                return Order::Next;
            }
            let (from, to) = (known.sequence + 1, sequence - 1);
            let gap = Gap { from, to, seen: sequence, noticed_at: at, place: None };
            self.gaps.entry(id).or_default().push(gap);
            self.open += 1;
            return Order::After(gap);
        }
        if filled { Order::Fills } else { Order::Older }
    }

    /// Notes where a change stands; what it is to the others was taken before.
    pub fn place(&mut self, change: &PersonChanged, position: Position) {
        let Some(id) = RecipientId::parse(&change.person) else { return };
        let gaps = self.gaps.get_mut(&id).into_iter().flatten();
        for gap in gaps.filter(|gap| gap.seen == change.person_sequence) {
            gap.place = Some(position);
        }
    }

    /// Takes one record of `person-changes`; what is no change of a person is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::PersonChanged(change) = &stored.record.event else { return };
        self.take(change, stored.record.recorded_at);
        self.place(change, stored.position);
    }

    /// The gaps after some place of the list, by person; at most so many.
    #[must_use]
    pub fn gaps(&self, after: Option<(RecipientId, u64)>, most: usize) -> Vec<(RecipientId, Gap)> {
        let first = after.map_or(RecipientId::from_u128(0), |(id, _)| id);
        let of = |(id, gaps): (&RecipientId, &Vec<Gap>)| {
            let id = *id;
            gaps.clone().into_iter().map(move |gap| (id, gap))
        };
        let all = self.gaps.range(first..).flat_map(of);
        let rest = all.filter(|(id, gap)| after.is_none_or(|after| (*id, gap.from) > after));
        rest.take(most).collect()
    }

    /// How many gaps there are.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open
    }

    /// Takes one number out of a person's gaps; whether it was in one.
    fn fill(&mut self, id: RecipientId, sequence: u64) -> bool {
        let Some(gaps) = self.gaps.get_mut(&id) else { return false };
        let holds = |gap: &Gap| (gap.from..=gap.to).contains(&sequence);
        let Some(at) = gaps.iter().position(holds) else { return false };
        let gap = gaps[at];
        let before = Gap { to: sequence.saturating_sub(1), ..gap };
        let after = Gap { from: sequence.saturating_add(1), ..gap };
        let left = [before, after].into_iter().filter(|gap| gap.from <= gap.to);
        let left: Vec<_> = left.filter(|gap| !holds(gap)).collect();
        self.open = self.open + left.len() - 1;
        gaps.splice(at..=at, left);
        if gaps.is_empty() {
            self.gaps.remove(&id);
        }
        true
    }

    fn close(&mut self, id: RecipientId, closed: impl Fn(&Gap) -> bool) -> bool {
        let Some(gaps) = self.gaps.get_mut(&id) else { return false };
        let before = gaps.len();
        gaps.retain(|gap| !closed(gap));
        let closed = before - gaps.len();
        self.open -= closed;
        if gaps.is_empty() {
            self.gaps.remove(&id);
        }
        closed > 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn change(person: u128, sequence: u64, snapshot: bool) -> PersonChanged {
        PersonChanged {
            person: RecipientId::from_u128(person).to_string(),
            person_sequence: sequence,
            snapshot,
            ..PersonChanged::default()
        }
    }

    fn missing(sequences: &Sequences) -> BTreeSet<u64> {
        let gaps = sequences.gaps(None, usize::MAX);
        assert_eq!(gaps.len(), sequences.open());
        gaps.iter().flat_map(|(_, gap)| gap.from..=gap.to).collect()
    }

    #[test]
    fn a_snapshot_needs_none_of_the_changes_before_it() {
        let mut sequences = Sequences::default();
        let at = DateTime::UNIX_EPOCH;
        assert_eq!(sequences.take(&change(1, 3, false), at), Order::Next);
        assert!(matches!(sequences.take(&change(1, 6, false), at), Order::After(_)));
        assert_eq!(missing(&sequences), BTreeSet::from([4, 5]));
        assert_eq!(sequences.take(&change(1, 6, true), at), Order::Fills);
        assert_eq!(sequences.take(&change(1, 6, true), at), Order::Older);
        assert_eq!(sequences.take(&change(1, 9, true), at), Order::Next);
        assert_eq!(missing(&sequences), BTreeSet::new());
    }

    #[test]
    fn who_was_missing_comes_back_under_the_same_number() {
        let mut sequences = Sequences::default();
        let at = DateTime::UNIX_EPOCH;
        sequences.take(&change(1, 3, false), at);
        let gone = PersonChanged { removed: true, ..change(1, 4, true) };
        assert_eq!(sequences.take(&gone, at), Order::Next);
        assert_eq!(sequences.take(&change(1, 4, false), at), Order::Next);
        assert_eq!(sequences.take(&change(1, 4, false), at), Order::Older);
        assert_eq!(sequences.take(&change(1, 5, false), at), Order::Next);
    }

    #[test]
    fn gaps_are_told_page_by_page() {
        let mut sequences = Sequences::default();
        for person in 1..=5 {
            for sequence in [1, 3, 6] {
                sequences.take(&change(person, sequence, false), DateTime::UNIX_EPOCH);
            }
        }
        let (mut after, mut told) = (None, Vec::new());
        loop {
            let page = sequences.gaps(after, 3);
            let Some((id, gap)) = page.last() else { break };
            after = Some((*id, gap.from));
            told.extend(page);
        }
        assert_eq!(told, sequences.gaps(None, usize::MAX));
        assert_eq!(told.len(), 10);
    }

    proptest! {
        /// In whatever order changes come: what is missing is what has not come between the first
        /// one and the newest, and a change is taken unless it came before.
        #[test]
        fn what_is_missing_is_what_has_not_come(
            first in 1..20_u64,
            later in prop::collection::vec(1..20_u64, 0..60),
        ) {
            let (mut sequences, at) = (Sequences::default(), DateTime::UNIX_EPOCH);
            let mut came = BTreeSet::new();
            for sequence in std::iter::once(first).chain(later) {
                let order = sequences.take(&change(1, sequence, false), at);
                let newest = came.last().copied();
                let expected = match newest {
                    None => "next",
                    Some(newest) if sequence == newest + 1 => "next",
                    Some(newest) if sequence > newest => "after",
                    Some(_) if sequence > first && !came.contains(&sequence) => "fills",
                    Some(_) => "older",
                };
                let told = match order {
                    Order::Next => "next",
                    Order::After(_) => "after",
                    Order::Fills => "fills",
                    Order::Older => "older",
                };
                prop_assert_eq!(told, expected);
                if order != Order::Older {
                    came.insert(sequence);
                }
                let newest = came.last().copied().unwrap_or(first);
                let expected: BTreeSet<_> =
                    (first..=newest).filter(|sequence| !came.contains(sequence)).collect();
                prop_assert_eq!(missing(&sequences), expected);
            }
        }
    }
}
