//! Who is in which group on which days, as the evaluation of groups has told.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    id::{GroupId, HouseholdId, RecipientId},
    recipient::{Entitlement, GroupDays, Recipient},
};

use crate::{
    record::Stored,
    wire::{
        self,
        v1::{EntitlementEvaluated, Event},
    },
};

/// Everybody's groups, with the instants from which they are known.
#[derive(Debug, Default)]
pub struct Entitlements {
    /// Oldest first, by `known_from`.
    by_person: HashMap<RecipientId, Vec<Entitlement>>,
}

impl Entitlements {
    /// Takes one record of `entitlements`. Of the same instant the later record holds.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::EntitlementEvaluated(event) = &stored.record.event else { return };
        let Some(entitlement) = entitlement(event) else { return };
        let known = self.by_person.entry(entitlement.person).or_default();
        match known.binary_search_by_key(&entitlement.known_from, |known| known.known_from) {
            Ok(at) => known[at] = entitlement,
            Err(at) => known.insert(at, entitlement),
        }
    }

    /// What was known of a person at an instant.
    #[must_use]
    pub fn at(&self, person: RecipientId, instant: DateTime<Utc>) -> Option<&Entitlement> {
        let known = self.by_person.get(&person)?;
        let after = known.partition_point(|known| known.known_from <= instant);
        after.checked_sub(1).and_then(|newest| known.get(newest))
    }

    /// How many people have been evaluated.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_person.len()
    }

    /// Whether nobody has been.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_person.is_empty()
    }
}

/// The recipient that an entitlement makes on a local day.
#[must_use]
pub fn recipient(entitlement: &Entitlement, day: NaiveDate) -> Recipient {
    let on_that_day = entitlement.groups.iter().filter(|days| days.contains(day));
    Recipient {
        id: entitlement.person,
        household: entitlement.household,
        groups: on_that_day.map(|days| days.group.clone()).collect(),
    }
}

fn entitlement(event: &EntitlementEvaluated) -> Option<Entitlement> {
    let days = |days: &wire::v1::GroupDays| {
        Some(GroupDays {
            group: GroupId::new(&days.group_id).ok()?,
            from: days.from.parse().ok()?,
            until: match &days.until {
                Some(until) => Some(until.parse().ok()?),
                None => None,
            },
        })
    };
    Some(Entitlement {
        person: RecipientId::parse(&event.person)?,
        household: HouseholdId::parse(&event.household)?,
        known_from: wire::instant(event.known_from)?,
        alive: event.alive,
        groups: event.groups.iter().map(days).collect::<Option<_>>()?,
    })
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
            groups: vec![wire::v1::GroupDays {
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
        let groups = |day: &str| recipient(found, day.parse().expect("a day")).groups.len();
        assert_eq!((groups("2025-01-10"), groups("2025-01-19"), groups("2025-01-20")), (1, 1, 0));
    }
}
