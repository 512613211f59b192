//! Local time: days, weeks, months and schedules are Europe/Riga's; instants are kept in UTC.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc, Weekday};
use chrono_tz::{Europe::Riga, Tz};

/// The zone that decides days, weeks, months, years and schedules.
pub const ZONE: Tz = Riga;

/// An instant as the people at the till read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The local day.
    pub date: NaiveDate,
    /// The local time of day.
    pub time: NaiveTime,
}

impl LocalTime {
    /// What the clocks in Riga show at `instant`.
    #[must_use]
    pub fn of(instant: DateTime<Utc>) -> Self {
        let local = instant.with_timezone(&ZONE);
        Self { date: local.date_naive(), time: local.time() }
    }
}

/// A date written `YYYY-MM-DD`, and in no other way. A nation's registers have millions of them, so
/// they are not read by a pattern.
#[must_use]
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    let (year, rest) = text.split_at_checked(4)?;
    let (month, day) = rest.strip_prefix('-')?.split_at_checked(2)?;
    let number = |digits: &str| {
        let all = digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| all)
    };
    let day = day.strip_prefix('-').filter(|day| day.len() == 2)?;
    let year = i32::try_from(number(year)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(month)?, number(day)?)
}

/// The first instant of a local day. A day may have 23 or 25 hours.
#[must_use]
pub fn start_of_day(date: NaiveDate) -> DateTime<Utc> {
    // Riga's clocks never change at midnight, so midnight exists and is unique; the fallback keeps
    // the function total should that law change.
    let midnight = date.and_time(NaiveTime::MIN);
    midnight
        .and_local_timezone(ZONE)
        .earliest()
        .map_or_else(|| midnight.and_utc(), |local| local.with_timezone(&Utc))
}

/// Days from the first to the last, both included; no last day means without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    /// The first day.
    pub from: NaiveDate,
    /// The last day, if there is one.
    pub to: Option<NaiveDate>,
}

impl Validity {
    /// Whether `day` lies inside.
    #[must_use]
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.from <= day && self.to.is_none_or(|to| day <= to)
    }

    /// Whether some day lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.to.is_none_or(|to| other.from <= to) && other.to.is_none_or(|to| self.from <= to)
    }
}

/// A calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    first: NaiveDate,
}

impl Month {
    /// The month that holds `day`.
    #[must_use]
    pub fn of(day: NaiveDate) -> Self {
        Self { first: day.with_day(1).unwrap_or(day) }
    }

    /// The month written as `YYYY-MM`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_date(&format!("{text}-01")).map(|first| Self { first })
    }

    /// Its first day.
    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.first
    }

    /// Its last day.
    #[must_use]
    pub fn last_day(self) -> NaiveDate {
        self.next().first.pred_opt().unwrap_or(self.first)
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { first: self.first.checked_add_months(Months::new(1)).unwrap_or(self.first) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.format("%Y-%m"))
    }
}

/// The Monday of the ISO week that holds `day`.
#[must_use]
pub fn start_of_week(day: NaiveDate) -> NaiveDate {
    let after_monday = u64::from(day.weekday().num_days_from_monday());
    day.checked_sub_days(Days::new(after_monday)).unwrap_or(day)
}

/// The first of January of the year that holds `day`.
#[must_use]
pub fn start_of_year(day: NaiveDate) -> NaiveDate {
    day.with_ordinal(1).unwrap_or(day)
}

/// Full years from birth to `day`; who is born on 29 February has the birthday on 1 March in years
/// without one.
#[must_use]
pub fn age(birth: NaiveDate, day: NaiveDate) -> i32 {
    let years = day.year().saturating_sub(birth.year());
    if (day.month(), day.day()) < (birth.month(), birth.day()) {
        years.saturating_sub(1)
    } else {
        years
    }
}

/// When a rule holds in a week: on some days, from a time of day to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    days: [bool; 7],
    from: TimeOfDay,
    to: TimeOfDay,
}

/// Minutes since midnight, 0 to 1 440; the end of the day is written `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// The time written as `HH:MM`, from `00:00` to `24:00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 {
            return None;
        }
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let time = hours.checked_mul(60)?.checked_add(minutes)?;
        (minutes < 60 && time <= 1_440).then_some(Self(time))
    }

    fn reached(self, time: NaiveTime) -> bool {
        use chrono::Timelike;
        time.num_seconds_from_midnight() >= u32::from(self.0).saturating_mul(60)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Schedule {
    /// A schedule on `days`, from `from` (included) to `to` (not). Where `from` is not before `to`
    /// it runs past midnight and belongs to the day it began. No days mean every day.
    #[must_use]
    pub fn new(days: &[Weekday], from: TimeOfDay, to: TimeOfDay) -> Self {
        let on = |day: u32| {
            days.is_empty() || days.iter().any(|held| held.num_days_from_monday() == day)
        };
        Self { days: [on(0), on(1), on(2), on(3), on(4), on(5), on(6)], from, to }
    }

    /// The days of a week on which it begins, Monday first.
    #[must_use]
    pub const fn days(&self) -> [bool; 7] {
        self.days
    }

    /// From when (included) to when (not) it holds.
    #[must_use]
    pub const fn hours(&self) -> (TimeOfDay, TimeOfDay) {
        (self.from, self.to)
    }

    /// Whether it holds at some time of a local day.
    #[must_use]
    pub fn holds_on(&self, date: NaiveDate) -> bool {
        let today = date.weekday();
        let into_the_next = self.from >= self.to && self.to > TimeOfDay(0);
        self.on(today) || (into_the_next && self.on(today.pred()))
    }

    /// Whether the schedule holds at a local time.
    #[must_use]
    pub fn holds(&self, local: LocalTime) -> bool {
        let today = local.date.weekday();
        if self.from < self.to {
            return self.on(today) && self.from.reached(local.time) && !self.to.reached(local.time);
        }
        (self.on(today) && self.from.reached(local.time))
            || (self.on(today.pred()) && !self.to.reached(local.time))
    }

    fn on(&self, day: Weekday) -> bool {
        let index = usize::try_from(day.num_days_from_monday()).unwrap_or(0);
        self.days.get(index).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn a_date_is_written_in_one_way() {
        for text in ["2024-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(parse_date(text), Some(day(text)));
        }
        for wrong in [
            "2023-02-29",
            "2024-2-29",
            "+2024-2-29",
            "2024-02-29 ",
            "24-02-29",
            "2024/02/29",
            "",
            "2024-02-+1",
            "2024-ā2-29",
            "2024-02-291",
            "-024-02-29",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    fn local(date: &str, time: &str) -> LocalTime {
        LocalTime { date: day(date), time: time.parse().expect("a time") }
    }

    #[test]
    fn days_have_23_and_25_hours() {
        let hours = |date: &str| {
            let next = day(date).succ_opt().expect("a day");
            (start_of_day(next) - start_of_day(day(date))).num_hours()
        };
        assert_eq!((hours("2025-03-30"), hours("2025-10-26"), hours("2025-06-01")), (23, 25, 24));
    }

    #[test]
    fn an_instant_belongs_to_the_local_day() {
        let instant = "2025-01-31T22:30:00Z".parse().expect("an instant");
        assert_eq!(LocalTime::of(instant).date, day("2025-02-01"));
    }

    #[test]
    fn a_schedule_past_midnight_belongs_to_the_day_it_began() {
        let time = |text| TimeOfDay::parse(text).expect("a time");
        let night = Schedule::new(&[Weekday::Fri], time("22:00"), time("06:00"));
        assert!(night.holds(local("2025-03-28", "22:00:00")));
        assert!(night.holds(local("2025-03-29", "05:59:59")));
        assert!(!night.holds(local("2025-03-29", "06:00:00")));
        assert!(!night.holds(local("2025-03-28", "05:00:00")));
        let all_day = Schedule::new(&[Weekday::Sat], time("00:00"), time("24:00"));
        assert!(all_day.holds(local("2025-03-29", "23:59:59")));
        assert!(!all_day.holds(local("2025-03-30", "00:00:00")));
    }

    #[test]
    fn a_schedule_holds_on_a_day_when_it_does_at_some_minute_of_it() {
        let hours =
            [("09:00", "17:00"), ("22:00", "06:00"), ("22:00", "00:00"), ("00:00", "24:00")];
        for (from, to) in hours {
            let time = |text| TimeOfDay::parse(text).expect("a time");
            let schedule = Schedule::new(&[Weekday::Fri], time(from), time(to));
            for date in ["2025-03-27", "2025-03-28", "2025-03-29"].map(day) {
                let minutes = (0..1_440).filter_map(|minute| {
                    NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0)
                });
                let some = minutes.into_iter().any(|time| schedule.holds(LocalTime { date, time }));
                assert_eq!(schedule.holds_on(date), some, "{from} to {to} on {date}");
            }
        }
    }

    #[test]
    fn full_years_count_from_the_first_of_march_for_leaplings() {
        assert_eq!(age(day("2004-02-29"), day("2022-02-28")), 17);
        assert_eq!(age(day("2004-02-29"), day("2022-03-01")), 18);
        assert_eq!(age(day("1960-05-03"), day("2025-05-03")), 65);
    }

    #[test]
    fn months_end_where_the_next_begins() {
        let month = Month::parse("2024-02").expect("a month");
        assert_eq!(month.last_day(), day("2024-02-29"));
        assert_eq!(month.next().to_string(), "2024-03");
        assert_eq!(Month::parse("2024-2"), None);
        assert_eq!(start_of_week(day("2025-01-01")), day("2024-12-30"));
    }

    #[test]
    fn times_of_day_are_checked() {
        assert!(TimeOfDay::parse("24:00").is_some());
        assert!(TimeOfDay::parse("24:01").is_none());
        assert!(TimeOfDay::parse("9:00").is_none());
        let told = TimeOfDay::parse("09:05").map(|time| time.to_string());
        assert_eq!(told.as_deref(), Some("09:05"));
    }
}
