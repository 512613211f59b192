//! Sums and people of two sides, then and now, under names.

use std::{collections::BTreeMap, io::Write};

use authoriser::replay::Part;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use warehouse::report::FEWEST;

use super::{ByName, Sides};

/// One side's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beside {
    /// Baskets in which a cent was given.
    uses: i64,
    /// The benefit, in cents.
    cents: i64,
    /// The grantor's part.
    grantor_cents: i64,
    /// Baskets in which a limit cut something.
    limited: i64,
    /// People to whom a cent was given; few are not told of.
    #[serde(serialize_with = "unless_few", deserialize_with = "or_few")]
    recipients: i64,
}

impl Beside {
    /// One person's sums: of whom a cent was given to, one recipient.
    pub(super) fn of_one(&mut self, part: &Part, is_known: bool) {
        self.add(part);
        self.recipients = self.recipients.max(i64::from(is_known && part.uses > 0));
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.uses += other.uses;
        self.cents += other.cents;
        self.grantor_cents += other.grantor_cents;
        self.limited += other.limited;
        self.recipients += other.recipients;
    }

    fn add(&mut self, part: &Part) {
        self.uses += part.uses;
        self.cents += part.cents;
        self.grantor_cents += part.grantor_cents;
        self.limited += part.limited;
    }
}

fn unless_few<S: Serializer>(recipients: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    shown(*recipients).serialize(serializer)
}

/// The count that was told; where they are few some number of those that are not told.
fn or_few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.unwrap_or(1))
}

/// A count of people, where it is not of a few.
fn shown(recipients: i64) -> Option<i64> {
    (recipients == 0 || recipients >= FEWEST).then_some(recipients)
}

/// Which people stand behind a name, by their numbers: a bit for each, up to the greatest.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    /// Whether somebody is new here.
    fn insert(&mut self, number: usize) -> bool {
        let (at, bit) = (number / 64, 1_u64 << (number % 64));
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_new
    }
}

#[derive(Debug, Default)]
struct Side {
    sums: Beside,
    people: Numbers,
}

/// What stands under each name. Its memory is bounded by names and people: two bits of each person
/// for each name at most, so that a hundred names and two million people are 50 MB, however many
/// baskets there are.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<String, [Side; 2]>);

impl Named {
    /// Adds to one side of a name what was given to somebody by number, or to nobody known.
    pub(super) fn add(&mut self, name: &str, at: usize, part: &Part, number: Option<usize>) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), Default::default());
        }
        let Some(side) = self.0.get_mut(name).map(|sides| &mut sides[at]) else { return };
        side.sums.add(part);
        let number = number.filter(|_| part.uses > 0);
        let is_new = number.is_some_and(|number| side.people.insert(number));
        side.sums.recipients += i64::from(is_new);
    }

    /// Keeps some names alone.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_kept(name));
    }

    /// The sums of both sides by name.
    pub(super) fn sums(&self) -> impl Iterator<Item = (&str, [Beside; 2])> {
        self.0.iter().map(|(name, [then, now])| (name.as_str(), [then.sums, now.sums]))
    }
}

pub(super) fn table(out: &mut impl Write, what: &str, all: &ByName) -> std::io::Result<()> {
    let people = |of: Beside| shown(of.recipients).map_or_else(|| "few".into(), |n| n.to_string());
    writeln!(
        out,
        "{what:<30} {:>9} {:>9} {:>13} {:>13} {:>13} {:>8} {:>8} {:>11} {:>8}",
        "uses then", "now", "euro then", "now", "change", "limited", "now", "people then", "now"
    )?;
    for (name, Sides { then, now }) in all {
        writeln!(
            out,
            "{:<30} {:>9} {:>9} {:>13} {:>13} {:>13} {:>8} {:>8} {:>11} {:>8}",
            if name.is_empty() { "–" } else { name.as_str() },
            then.uses,
            now.uses,
            euro(then.cents),
            euro(now.cents),
            euro(now.cents - then.cents),
            then.limited,
            now.limited,
            people(*then),
            people(*now)
        )?;
    }
    writeln!(out)
}

pub(super) fn euro(cents: i64) -> String {
    domain::amount::Amount::from_cents(cents).to_string()
}

#[cfg(test)]
mod tests {
    use domain::id::InstructionId;

    use super::*;

    #[test]
    fn people_are_counted_once_under_a_name_and_only_where_something_was_given() {
        let instruction = InstructionId::new("milk").expect("an id");
        let given = Part { instruction, uses: 1, cents: 10, grantor_cents: 10, limited: 0 };
        let back = Part { uses: 0, cents: -10, grantor_cents: -10, ..given.clone() };
        let mut named = Named::default();
        for number in [0, 1, 63, 64, 200, 64] {
            named.add("milk", 0, &given, Some(number));
        }
        named.add("milk", 0, &given, None);
        named.add("milk", 0, &back, Some(7));
        named.add("milk", 1, &given, Some(0));
        let (name, [then, now]) = named.sums().next().expect("a name");
        assert_eq!((name, then.uses, then.cents, then.recipients), ("milk", 7, 60, 5));
        // One person is too few to be told of.
        assert_eq!((now.uses, now.recipients, shown(now.recipients)), (1, 1, None));
        assert_eq!((shown(0), shown(then.recipients)), (Some(0), Some(5)));
    }
}
