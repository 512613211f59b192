//! What a family adds to a person's attributes, day by day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate};
use domain::period::age;
use ingest::register::people::{People, Person};

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

fn birth_date(person: &Person) -> Option<NaiveDate> {
    person.text("birth_date")?.parse().ok()
}

/// Every date among a person's attributes; `age` counts from any of them.
fn dates(person: &Person) -> impl Iterator<Item = NaiveDate> {
    let attributes = person.attributes.as_ref().map(domain::masked::Masked::expose);
    let values = attributes.into_iter().flat_map(serde_json::Map::values);
    values.filter_map(|value| value.as_str()?.parse().ok())
}

/// The days from `first` to `last` on which a condition over ages may change for a person, with what
/// is known of the family on each: the first day, every birthday in the family, and the anniversary
/// of every other date that the register has of the person.
pub(super) fn days(
    people: &People,
    person: &Person,
    first: NaiveDate,
    last: NaiveDate,
) -> BTreeMap<NaiveDate, Family> {
    let members: Vec<&Person> = match person.family_id() {
        Some(family) => people.family(family).filter_map(|id| people.get(id)).collect(),
        None => vec![person],
    };
    let living: Vec<&Person> = members.into_iter().filter(|member| member.alive()).collect();
    let births: Vec<NaiveDate> = living.iter().filter_map(|member| birth_date(member)).collect();
    let mut days = BTreeSet::from([first]);
    for date in births.iter().copied().chain(dates(person)) {
        days.extend(birthdays(date, first, last));
    }
    let on = |day: NaiveDate| Family {
        size: i64::try_from(living.len()).unwrap_or(i64::MAX),
        children: births.iter().map(|born| i64::from(age(*born, day) < 18)).sum(),
        youngest: births.iter().max().copied(),
    };
    days.into_iter().map(|day| (day, on(day))).collect()
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
