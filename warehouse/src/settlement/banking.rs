//! Days on which banks settle payments in euro: those of the Eurosystem's TARGET.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// Months and days that are holidays every year.
const HOLIDAYS: [(u32, u32); 4] = [(1, 1), (5, 1), (12, 25), (12, 26)];

/// The first banking day that is not before a day.
pub(super) fn first_from(day: NaiveDate) -> NaiveDate {
    day.iter_days().find(|day| is_banking(*day)).unwrap_or(day)
}

fn is_banking(day: NaiveDate) -> bool {
    let is_of_easter = easter(day.year()).is_some_and(|easter| {
        let (friday, monday) = (easter - Days::new(2), easter + Days::new(1));
        day == friday || day == monday
    });
    let is_weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    !is_weekend && !is_of_easter && !HOLIDAYS.contains(&(day.month(), day.day()))
}

/// Easter Sunday of a year from 1900 to 2099, as Gauss counts it.
fn easter(year: i32) -> Option<NaiveDate> {
    let golden = year % 19;
    let moon = (19 * golden + 24) % 30;
    let sunday = (2 * (year % 4) + 4 * (year % 7) + 6 * moon + 5) % 7;
    let is_too_late = sunday == 6 && (moon == 29 || (moon == 28 && golden > 10));
    let days = moon + sunday - if is_too_late { 7 } else { 0 };
    NaiveDate::from_ymd_opt(year, 3, 22)?.checked_add_days(Days::new(u64::try_from(days).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_weekends_nor_holidays_are_banking_days() {
        for (day, first) in [
            ("2025-02-07", "2025-02-07"),
            ("2025-02-08", "2025-02-10"),
            ("2025-04-17", "2025-04-17"),
            ("2025-04-18", "2025-04-22"),
            ("2024-04-01", "2024-04-02"),
            ("2025-05-01", "2025-05-02"),
            ("2025-12-25", "2025-12-29"),
            ("2026-01-01", "2026-01-02"),
            ("2049-04-16", "2049-04-20"),
        ] {
            let day: NaiveDate = day.parse().expect("a day");
            assert_eq!(first_from(day).to_string(), first, "{day}");
        }
    }
}
