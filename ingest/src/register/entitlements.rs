//! Who is in which group on which days, as the evaluation of groups has told.
//!
//! Two million people are in eight groups each, but in far fewer combinations of groups and days:
//! whose next birthday changes nothing shares all with everybody alike. So a list of memberships is
//! kept once, and says "from the day on which this was known" rather than which day that was, since
//! people are evaluated on all days of a year. A bitmap per group would answer who is in a group,
//! which nobody asks here, and not on which days.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    id::{GroupId, HouseholdId, RecipientId},
    period::LocalTime,
    recipient::{Entitlement, GroupDays, Recipient},
};

use super::{
    numbered::Numbered,
    older::{NONE, Older, Version},
};
use crate::{
    dense::{Dense, Packed},
    record::Stored,
    wire::{
        self,
        v1::{self, EntitlementEvaluated, Event},
    },
};

/// Everybody's groups, with the instants from which they are known.
#[derive(Debug, Default)]
pub struct Entitlements {
    /// What is known last of each person.
    newest: Dense<Version>,
    older: Older,
    lists: Lists,
    groups: Numbered<GroupId>,
    /// How long before the last record was written somebody may ask for; without it, for ever.
    reach: Option<TimeDelta>,
    /// When the last record was written.
    recorded_at: DateTime<Utc>,
}

/// Somebody lives in another household than was known: married, moved, was born into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Who.
    pub person: RecipientId,
    /// The household that was left; none where nothing was known of the person.
    pub from: Option<HouseholdId>,
}

/// [`GroupDays`] in twelve bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Days {
    /// The group's number.
    group: u32,
    /// The first day; none where it is the local day from which the list is known.
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
}

impl Entitlements {
    /// Entitlements that forget what only an instant before `reach` would ask for, counted back
    /// from when the newest record was written. The default forgets nothing.
    #[must_use]
    pub fn reaching_back(reach: TimeDelta) -> Self {
        Self { reach: Some(reach), ..Self::default() }
    }

    /// Takes one record of `entitlements`, and tells of a person whose household is another one by
    /// it. Of the same instant the later record holds.
    pub fn apply(&mut self, stored: &Stored) -> Option<Moved> {
        let Event::EntitlementEvaluated(event) = &stored.record.event else { return None };
        let (person, version) = self.version(event)?;
        let (mut from, mut to) = (None, version.household);
        self.recorded_at = self.recorded_at.max(stored.record.recorded_at);
        let oldest = self.reach.and_then(|reach| self.recorded_at.checked_sub_signed(reach));
        let Self { newest, older, lists, .. } = self;
        newest.update(person.as_u128(), |newest| {
            from = newest.as_ref().map(|newest| newest.household);
            let mut known = newest.map(|newest| older.unlink(newest)).unwrap_or_default();
            match known.binary_search_by(|known| version.known_from.cmp(&known.known_from)) {
                Ok(at) => lists.release(std::mem::replace(&mut known[at], version)),
                Err(at) => known.insert(at, version),
            }
            if let Some(oldest) = oldest.map(|oldest| oldest.timestamp_micros()) {
                let needed = 1 + known.partition_point(|known| known.known_from > oldest);
                let forgotten = known.drain(needed.min(known.len())..);
                forgotten.for_each(|forgotten| lists.release(forgotten));
            }
            to = known.first().map_or(to, |newest| newest.household);
            older.link(known).expect("one version was just added")
        });
        let from = from.map(|from| HouseholdId::from_u128(from.number()));
        (Some(HouseholdId::from_u128(to.number())) != from).then_some(Moved { person, from })
    }

    /// The household that a person lives in by what is known last.
    #[must_use]
    pub fn home(&self, person: RecipientId) -> Option<HouseholdId> {
        let newest = self.newest.get(person.as_u128())?;
        Some(HouseholdId::from_u128(newest.household.number()))
    }

    /// What was known of a person at an instant.
    #[must_use]
    pub fn at(&self, person: RecipientId, instant: DateTime<Utc>) -> Option<Entitlement> {
        let newest = self.newest.get(person.as_u128())?;
        let version = self.older.at(newest, instant.timestamp_micros())?;
        let known_from = wire::instant(version.known_from)?;
        let since = LocalTime::of(known_from).date;
        let days = |days: &Days| GroupDays {
            group: self.groups.value(days.group).clone(),
            from: days.from.unwrap_or(since),
            until: days.until,
        };
        Some(Entitlement {
            person,
            household: HouseholdId::from_u128(version.household.number()),
            known_from,
            alive: version.alive,
            groups: version.memberships.iter().map(days).collect(),
        })
    }

    /// How many people have been evaluated.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether nobody has been.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, without what the allocator adds and the few groups.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.newest.memory() + self.older.memory() + self.lists.memory()
    }

    /// How many different lists of memberships people have.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.lists.held.len()
    }

    fn version(&mut self, event: &EntitlementEvaluated) -> Option<(RecipientId, Version)> {
        let person = RecipientId::parse(&event.person)?;
        let household = HouseholdId::parse(&event.household)?;
        let since = LocalTime::of(wire::instant(event.known_from)?).date;
        let days: Option<Vec<_>> = event.groups.iter().map(|days| self.days(days, since)).collect();
        let version = Version {
            household: Packed::new(household.as_u128()),
            known_from: event.known_from,
            memberships: self.lists.hold(&days?),
            alive: event.alive,
            older: NONE,
        };
        Some((person, version))
    }

    fn days(&mut self, days: &v1::GroupDays, since: NaiveDate) -> Option<Days> {
        Some(Days {
            from: Some(days.from.parse().ok()?).filter(|from| *from != since),
            until: match &days.until {
                Some(until) => Some(until.parse().ok()?),
                None => None,
            },
            group: match self.groups.number(days.group_id.as_str()) {
                Some(number) => number,
                None => self.groups.add(GroupId::new(&days.group_id).ok()?),
            },
        })
    }
}

/// The recipient that an entitlement makes on a local day.
#[must_use]
pub fn recipient(entitlement: Entitlement, day: NaiveDate) -> Recipient {
    let on_that_day = entitlement.groups.into_iter().filter(|days| days.contains(day));
    Recipient {
        id: entitlement.person,
        household: entitlement.household,
        groups: on_that_day.map(|days| days.group).collect(),
    }
}

/// Lists of memberships, each kept once and as long as some version has it.
#[derive(Debug, Default)]
struct Lists {
    held: HashSet<Arc<[Days]>>,
}

impl Lists {
    fn hold(&mut self, list: &[Days]) -> Arc<[Days]> {
        if let Some(held) = self.held.get(list) {
            return Arc::clone(held);
        }
        let list: Arc<[Days]> = list.into();
        self.held.insert(Arc::clone(&list));
        list
    }

    /// Drops a version, and its list if no other has it.
    fn release(&mut self, version: Version) {
        // One of two is the one kept here.
        if Arc::strong_count(&version.memberships) == 2 {
            self.held.remove(&version.memberships);
        }
    }

    fn memory(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let lists = self.held.iter().map(|list| COUNTS + size_of_val(&**list));
        // A set keeps an eighth of its slots empty, and a byte for each.
        let slots = self.held.capacity() / 7 * 8;
        slots * (size_of::<Arc<[Days]>>() + 1) + lists.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Position, Record, outside_id};

    fn evaluated(person: u128, known_from: &str, group: &str) -> Stored {
        let instant: DateTime<Utc> = known_from.parse().expect("an instant");
        let event = Event::EntitlementEvaluated(EntitlementEvaluated {
            person: RecipientId::from_u128(person).to_string(),
            household: HouseholdId::from_u128(9).to_string(),
            known_from: instant.timestamp_micros(),
            alive: true,
            groups: vec![v1::GroupDays {
                group_id: group.into(),
                from: "2025-01-10".into(),
                until: Some("2025-01-20".into()),
            }],
            ..EntitlementEvaluated::default()
        });
        Stored {
            position: Position { partition: 0, offset: 0 },
            record: Record {
                id: outside_id("evaluation", known_from),
                key: String::new(),
                source: "evaluation".into(),
                sequence: 0,
                event_time: instant,
                recorded_at: instant,
                event,
            },
        }
    }

    #[test]
    fn what_was_known_then_decides() {
        let mut entitlements = Entitlements::default();
        entitlements.apply(&evaluated(1, "2025-01-05T00:00:00Z", "new"));
        entitlements.apply(&evaluated(1, "2025-01-01T00:00:00Z", "old"));
        let person = RecipientId::from_u128(1);
        let group_at = |instant: &str| {
            let found = entitlements.at(person, instant.parse().expect("an instant"))?;
            Some(found.groups.first()?.group.to_string())
        };
        assert_eq!(group_at("2024-12-31T23:59:59Z"), None);
        assert_eq!(group_at("2025-01-04T00:00:00Z").as_deref(), Some("old"));
        assert_eq!(group_at("2025-01-05T00:00:00Z").as_deref(), Some("new"));
        assert!(entitlements.at(RecipientId::from_u128(2), DateTime::UNIX_EPOCH).is_none());
    }

    #[test]
    fn a_membership_ends_before_its_last_day() {
        let mut entitlements = Entitlements::default();
        entitlements.apply(&evaluated(1, "2025-01-01T00:00:00Z", "g"));
        let found = entitlements
            .at(RecipientId::from_u128(1), "2025-02-01T00:00:00Z".parse().expect("an instant"))
            .expect("known");
        let groups = |day: &str| recipient(found.clone(), day.parse().expect("a day")).groups.len();
        assert_eq!((groups("2025-01-10"), groups("2025-01-19"), groups("2025-01-20")), (1, 1, 0));
    }

    #[test]
    fn a_list_is_kept_once_and_as_long_as_somebody_has_it() {
        let mut entitlements = Entitlements::default();
        entitlements.apply(&evaluated(1, "2025-01-01T00:00:00Z", "a"));
        entitlements.apply(&evaluated(2, "2025-01-02T00:00:00Z", "a"));
        assert_eq!(entitlements.lists(), 1);
        entitlements.apply(&evaluated(1, "2025-01-01T00:00:00Z", "b"));
        assert_eq!(entitlements.lists(), 2);
        entitlements.apply(&evaluated(2, "2025-01-02T00:00:00Z", "b"));
        assert_eq!(entitlements.lists(), 1);
    }

    #[test]
    fn what_nobody_may_ask_for_is_forgotten() {
        let mut entitlements = Entitlements::reaching_back(TimeDelta::days(40));
        let at = |entitlements: &Entitlements, instant: &str| {
            let instant = instant.parse().expect("an instant");
            let found = entitlements.at(RecipientId::from_u128(1), instant)?;
            Some(found.groups.first()?.group.to_string())
        };
        entitlements.apply(&evaluated(1, "2025-01-01T00:00:00Z", "a"));
        entitlements.apply(&evaluated(1, "2025-02-01T00:00:00Z", "b"));
        entitlements.apply(&evaluated(1, "2025-03-13T00:00:00Z", "c"));
        // Forty days before the last record, the second one held already.
        assert_eq!(at(&entitlements, "2025-01-31T23:59:59Z"), None);
        assert_eq!(at(&entitlements, "2025-02-01T00:00:00Z").as_deref(), Some("b"));
        assert_eq!(at(&entitlements, "2025-03-13T00:00:00Z").as_deref(), Some("c"));
        assert_eq!(entitlements.lists(), 2);
        // What comes too late to be asked for is not kept either.
        entitlements.apply(&evaluated(1, "2025-01-15T00:00:00Z", "d"));
        assert_eq!((at(&entitlements, "2025-01-20T00:00:00Z"), entitlements.lists()), (None, 2));
    }
}
