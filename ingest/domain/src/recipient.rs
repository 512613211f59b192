//! Who benefits are for: groups, and what the rule engine knows of one recipient.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    id::{GrantorId, GroupId, HouseholdId, MeansToken, PersonToken, RecipientId},
    text::Text,
};

/// Recipients described by a condition over register data, or by a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its identifier.
    pub id: GroupId,
    /// Its name.
    pub name: Text,
    /// Whose it is: a grantor's own, or nobody's, for every grantor to name.
    pub grantor: Option<GrantorId>,
    /// Who is in it.
    pub members: Membership,
}

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Who fulfils this SQL boolean over person attributes.
    Where(String),
    /// Who is listed.
    List(Vec<Member>),
}

/// Who is listed: a person, or a means that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A person, by the keyed hash of the personal code: the register need not have told of them.
    Person(PersonToken),
    /// A means, by its keyed hash.
    Means(MeansToken),
}

impl Member {
    /// What stands before a person's token, since a means' looks alike.
    const PERSON: &str = "person:";

    /// A member as [`Display`](fmt::Display) writes it, and so as the registry keeps it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(Self::PERSON) {
            Some(token) => PersonToken::parse(token).map(Self::Person),
            None => MeansToken::parse(text).map(Self::Means),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(token) => write!(f, "{}{token}", Self::PERSON),
            Self::Means(token) => token.fmt(f),
        }
    }
}

/// One recipient as the rule engine sees it at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whom limits per recipient count.
    pub id: RecipientId,
    /// Whom limits per household count.
    pub household: HouseholdId,
    /// The groups it is in on the local day.
    pub groups: Vec<GroupId>,
}

/// The household of somebody who lives alone. It has the person's own number, and nobody else is ever
/// in it: a family's is a keyed hash.
#[must_use]
pub const fn alone(recipient: RecipientId) -> HouseholdId {
    HouseholdId::from_u128(recipient.as_u128())
}

/// What is known of a person from an instant on: living or not, the household, and the days in
/// each group. The newest one whose instant is not after a transaction decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// The person.
    pub person: RecipientId,
    /// The family, or the person alone.
    pub household: HouseholdId,
    /// From when on this is known: the event time of the register's change.
    pub known_from: DateTime<Utc>,
    /// Whether the person lives.
    pub alive: bool,
    /// Days of membership, each from the first to before the last.
    pub groups: Vec<GroupDays>,
}

/// The days on which a person is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDays {
    /// The group.
    pub group: GroupId,
    /// The first day in it.
    pub from: NaiveDate,
    /// The first day no longer in it, if one is known.
    pub until: Option<NaiveDate>,
}

impl GroupDays {
    /// Whether `day` is one of them.
    #[must_use]
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.from <= day && self.until.is_none_or(|until| day < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_person_is_no_means() {
        for member in
            [Member::Person(PersonToken::from_u128(7)), Member::Means(MeansToken::from_u128(7))]
        {
            assert_eq!(Member::parse(&member.to_string()), Some(member));
        }
        // A personal code is named before the registry keeps it.
        for none in ["326180-33995", "32618033995", "person:326180-33995", "person:", ""] {
            assert_eq!(Member::parse(none), None, "{none}");
        }
    }
}
