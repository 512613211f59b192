//! Who is on the lists of grantors' own systems.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    id::{GroupId, MeansToken, RecipientId},
    recipient::GroupDays,
};

use crate::{
    record::Stored,
    wire::v1::{Event, MembershipChanged},
};

/// How long what held of a means before is kept: no terminal waits longer with an upload.
const REACH: TimeDelta = TimeDelta::days(400);

/// Everybody on a list, each with the days in each group.
#[derive(Debug, Default)]
pub struct Memberships {
    people: HashMap<RecipientId, Vec<GroupDays>>,
    means: HashMap<MeansToken, Vec<GroupDays>>,
    /// Of means that were told of otherwise before, in the order in which that ended: few are.
    before: HashMap<MeansToken, Vec<Before>>,
}

/// What held of a means and a group until something else was told.
#[derive(Debug)]
struct Before {
    group: GroupId,
    /// Its days on the list; none where it was not on it.
    days: Option<GroupDays>,
    until: DateTime<Utc>,
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
            Listed::Means(token) => {
                self.keep(token, &days, change.removed, stored.record.event_time);
                put(&mut self.means, token, days, change.removed);
            }
        }
    }

    /// Keeps what held of a means until now, where something else is told of it. What is told first
    /// holds from its first day on, whenever it came.
    fn keep(&mut self, token: MeansToken, told: &GroupDays, removed: bool, until: DateTime<Utc>) {
        let group = &told.group;
        let known = self.of_means(token).iter().find(|known| known.group == *group).cloned();
        let mut before = self.before.get(&token).into_iter().flatten();
        let is_first = known.is_none() && !before.any(|of| of.group == *group);
        let stays = if removed { known.is_none() } else { known.as_ref() == Some(told) };
        if !is_first && !stays {
            let before = self.before.entry(token).or_default();
            before.retain(|of| until - of.until < REACH);
            before.push(Before { group: group.clone(), days: known, until });
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

    /// The days in each group of a means by what held at an instant, whatever was told later: an
    /// offline sale comes after it.
    pub fn of_means_at(
        &self,
        token: MeansToken,
        instant: DateTime<Utc>,
    ) -> impl Iterator<Item = &GroupDays> {
        let before = self.before.get(&token).map(Vec::as_slice).unwrap_or_default();
        let of_group = move |among: &[Before], group: &GroupId| {
            among.iter().any(|of| of.until > instant && of.group == *group)
        };
        let now = self.of_means(token).iter();
        let now = now.filter(move |days| !of_group(before, &days.group));
        let then = before
            .iter()
            .enumerate()
            .filter(move |(at, of)| of.until > instant && !of_group(&before[..*at], &of.group));
        now.chain(then.filter_map(|(_, of)| of.days.as_ref()))
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

    /// The first means is told of at so many seconds.
    fn told(second: i64, until: Option<&str>, removed: bool) -> Stored {
        let Stored { position, record } = change("staff", 1, until, removed);
        let Event::MembershipChanged(event) = record.event else { panic!("a membership") };
        let token = Some(MeansToken::from_u128(1).to_string());
        let event = Event::MembershipChanged(MembershipChanged { person: None, token, ..event });
        let event_time = DateTime::from_timestamp(second, 0).expect("an instant");
        Stored { position, record: Record { event_time, event, ..record } }
    }

    #[test]
    fn what_held_of_a_means_at_an_instant_stays_so() {
        let mut lists = Memberships::default();
        for stored in [
            told(10, None, false),
            told(15, None, false),
            told(20, Some("2025-02-01"), false),
            told(30, None, true),
            told(40, None, false),
        ] {
            lists.apply(&stored);
        }
        let held = |second| -> Vec<_> {
            let instant = DateTime::from_timestamp(second, 0).expect("an instant");
            let held = lists.of_means_at(MeansToken::from_u128(1), instant);
            held.map(|days| days.until).collect()
        };
        assert_eq!((held(5), held(10), held(19)), (vec![None], vec![None], vec![None]));
        assert_eq!(held(20), ["2025-02-01".parse().ok()]);
        assert_eq!((held(30), held(39)), (vec![], vec![]), "it was off the list");
        assert_eq!(held(40), [None]);
        assert_eq!(lists.before[&MeansToken::from_u128(1)].len(), 3, "told again is nothing new");
        lists.apply(&told(40 + REACH.num_seconds(), None, true));
        assert_eq!(lists.before[&MeansToken::from_u128(1)].len(), 1, "nobody asks so far back");
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
