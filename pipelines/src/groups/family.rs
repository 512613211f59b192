//! What a family adds to a person's attributes, day by day.

use chrono::{Datelike, Days, NaiveDate};
use domain::{id::RecipientId, period::age};
use ingest::{
    register::people::{People, Person},
    vault::Vault,
};

use super::HORIZON_DAYS;

/// What is known of a family on a day: the living, oneself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    /// How many live.
    pub(super) size: i64,
    /// How many of them are under 18.
    pub(super) children: i64,
    /// When the youngest was born.
    pub(super) youngest: Option<NaiveDate>,
}

/// The days from `first` on, as far as memberships are told ahead, on which a condition over ages may
/// change for a person, with what is known of the family on each: the first day, every birthday in
/// the family, and the anniversary of every other date that the register has of the person.
pub(super) fn days(
    people: &People,
    vault: &Vault,
    id: RecipientId,
    person: Person<'_>,
    first: NaiveDate,
) -> impl Iterator<Item = (NaiveDate, Family)> {
    let last = first.checked_add_days(Days::new(HORIZON_DAYS)).unwrap_or(first);
    let (mut size, mut births) = (0, Vec::new());
    let alone = [id];
    let members = match people.family_of(id, vault) {
        Some(family) => people.family(family),
        None => &alone,
    };
    for member in members.iter().filter_map(|member| people.get(*member)) {
        if member.alive() {
            size += 1;
            births.extend(member.birth_date());
        }
    }
    let mut days = vec![first];
    let own = person.attributes().filter_map(|(_, value)| value.date());
    for date in births.iter().copied().chain(own) {
        days.extend(birthdays(date, first, last));
    }
    days.sort_unstable();
    days.dedup();
    let youngest = births.iter().max().copied();
    days.into_iter().map(move |day| {
        let children = births.iter().map(|born| i64::from(age(*born, day) < 18)).sum();
        (day, Family { size, children, youngest })
    })
}

/// The birthdays after `first` up to `last`; of 29 February 1 March in years without one.
fn birthdays(
    born: NaiveDate,
    first: NaiveDate,
    last: NaiveDate,
) -> impl Iterator<Item = NaiveDate> {
    let in_year = move |year: i32| {
        NaiveDate::from_ymd_opt(year, born.month(), born.day())
            .or_else(|| NaiveDate::from_ymd_opt(year, 3, 1))
    };
    (first.year()..=last.year())
        .filter_map(in_year)
        .filter(move |day| *day > first && *day <= last && *day >= born)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn a_leapling_has_the_birthday_on_the_first_of_march() {
        let days = |from: &str, to: &str| {
            birthdays(day("2004-02-29"), day(from), day(to)).collect::<Vec<_>>()
        };
        assert_eq!(days("2022-01-01", "2022-12-31"), [day("2022-03-01")]);
        assert_eq!(days("2024-01-01", "2024-12-31"), [day("2024-02-29")]);
        assert_eq!(days("2022-03-01", "2022-12-31"), []);
    }
}
