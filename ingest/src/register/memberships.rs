//! Who is on the lists of grantors' own systems.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    id::{GroupId, MeansToken, RecipientId},
    recipient::GroupDays,
};

use crate::{
    record::Stored,
    wire::v1::{Event, MembershipChanged},
};

/// Everybody on a list, each with the days in each group.
#[derive(Debug, Default)]
pub struct Memberships {
    people: HashMap<RecipientId, Vec<GroupDays>>,
    means: HashMap<MeansToken, Vec<GroupDays>>,
}

/// Who is on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listed {
    /// A person, by the internal id.
    Person(RecipientId),
    /// A means, by its token: whoever presents it.
    Means(MeansToken),
}

impl Listed {
    /// Whose membership changed.
    #[must_use]
    pub fn of(change: &MembershipChanged) -> Option<Self> {
        match (&change.person, &change.token) {
            (Some(person), None) => RecipientId::parse(person).map(Self::Person),
            (None, Some(token)) => MeansToken::parse(token).map(Self::Means),
            _ => None,
        }
    }
}

impl Memberships {
    /// Takes one record of `memberships`; what is none is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::MembershipChanged(change) = &stored.record.event else { return };
        let (Some(who), Some(days)) = (Listed::of(change), days(change)) else { return };
        match who {
            Listed::Person(person) => put(&mut self.people, person, days, change.removed),
            Listed::Means(token) => put(&mut self.means, token, days, change.removed),
        }
    }

    /// The days in each group of a person who is on lists.
    #[must_use]
    pub fn of_person(&self, person: RecipientId) -> &[GroupDays] {
        self.people.get(&person).map_or(&[], Vec::as_slice)
    }

    /// The days in each group of a means that is on lists.
    #[must_use]
    pub fn of_means(&self, token: MeansToken) -> &[GroupDays] {
        self.means.get(&token).map_or(&[], Vec::as_slice)
    }

    /// Who is on a group's list, with the days, in no order.
    pub fn members(&self, group: &GroupId) -> impl Iterator<Item = (Listed, &GroupDays)> {
        let people = self.people.iter().map(|(id, days)| (Listed::Person(*id), days));
        let means = self.means.iter().map(|(token, days)| (Listed::Means(*token), days));
        people.chain(means).filter_map(move |(who, days)| {
            days.iter().find(|days| days.group == *group).map(|days| (who, days))
        })
    }
}

fn days(change: &MembershipChanged) -> Option<GroupDays> {
    let day = |text: &str| text.parse::<NaiveDate>().ok();
    Some(GroupDays {
        group: GroupId::new(&change.group_id).ok()?,
        from: day(&change.from)?,
        until: match &change.until {
            Some(until) => Some(day(until)?),
            None => None,
        },
    })
}

/// A member is on a group's list once.
fn put<K: std::hash::Hash + Eq>(
    lists: &mut HashMap<K, Vec<GroupDays>>,
    who: K,
    days: GroupDays,
    removed: bool,
) {
    let of = lists.entry(who).or_default();
    of.retain(|known| known.group != days.group);
    if !removed {
        of.push(days);
    }
    of.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::record::{Position, Record, outside_id};

    fn change(group: &str, person: u128, until: Option<&str>, removed: bool) -> Stored {
        let event = MembershipChanged {
            group_id: group.into(),
            person: Some(RecipientId::from_u128(person).to_string()),
            token: None,
            from: "2025-01-01".into(),
            until: until.map(str::to_owned),
            removed,
        };
        let record = Record {
            id: outside_id("list", group),
            key: event.member(),
            source: "list".into(),
            sequence: 0,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event: Event::MembershipChanged(event),
        };
        Stored { position: Position { partition: 0, offset: 0 }, record }
    }

    #[test]
    fn a_member_is_on_a_list_once_as_told_last() {
        let mut lists = Memberships::default();
        for stored in [
            change("staff", 1, None, false),
            change("donors", 1, None, false),
            change("staff", 2, None, false),
            change("staff", 1, Some("2025-02-01"), false),
            change("staff", 2, None, true),
        ] {
            lists.apply(&stored);
        }
        let group = |name: &str| GroupId::new(name).expect("an id");
        let members = |name: &str| {
            let group = group(name);
            let of = lists.members(&group).map(|(who, days)| (who, days.until));
            of.collect::<Vec<_>>()
        };
        let first = Listed::Person(RecipientId::from_u128(1));
        assert_eq!(members("staff"), [(first, "2025-02-01".parse().ok())]);
        assert_eq!(members("donors"), [(first, None)]);
        assert_eq!(lists.of_person(RecipientId::from_u128(2)), []);
    }
}
