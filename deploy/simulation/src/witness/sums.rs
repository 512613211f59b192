//! Limits added up anew: from what was given on which line and when, not from what records say that
//! they move.

use std::collections::BTreeMap;

use authoriser::history::History;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use domain::limit::{Measure, Per, Period};
use ingest::wire::v1;

use crate::country::{LIMITS, Limit};

/// A limit's place among all, who is counted, and since when.
type Counter = (usize, String, NaiveDate);

/// What is used of each limit.
#[derive(Debug, Default)]
pub struct Sums(BTreeMap<Counter, i64>);

/// The day in Riga, by the rule of the European Union, not by a table of time zones.
pub fn local_day(instant: DateTime<Utc>) -> NaiveDate {
    let change = |month: u32| {
        let last = NaiveDate::from_ymd_opt(instant.year(), month, 31).unwrap_or_default();
        let sunday = last - Days::new(last.weekday().num_days_from_sunday().into());
        sunday.and_hms_opt(1, 0, 0).unwrap_or_default().and_utc()
    };
    let summer = change(3) <= instant && instant < change(10);
    (instant + TimeDelta::hours(if summer { 3 } else { 2 })).date_naive()
}

/// The instant of a record's field.
pub fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

impl Sums {
    /// Adds what a decision gave.
    pub fn decided(&mut self, event: &v1::AuthorisationDecided) -> Result<(), String> {
        self.moves(event, &event.lines, 1)
    }

    /// Takes off what came back of it.
    pub fn changed(
        &mut self,
        history: &History,
        event: &v1::AuthorisationChanged,
    ) -> Result<(), String> {
        match event.transition.as_str() {
            "void" | "expire" => self.moves(&history.decided, &history.decided.lines, -1),
            // What it gives on one line it takes back on another: in all it is below zero.
            "refund" => {
                let mut moved: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
                for back in event.lines.iter().flat_map(|line| &line.benefits) {
                    let (cents, units) = moved.entry(&back.instruction_id).or_default();
                    *cents += back.amount_cents;
                    *units += back.units;
                }
                let gives = |(_, (cents, units)): &(&&str, &(i64, i64))| *cents > 0 || *units > 0;
                if let Some((instruction, given)) = moved.iter().find(gives) {
                    return Err(format!("a refund gives {given:?} by {instruction}"));
                }
                self.moves(&history.decided, &event.lines, 1)
            }
            _ => Ok(()),
        }
    }

    fn moves(
        &mut self,
        sale: &v1::AuthorisationDecided,
        lines: &[v1::AuthorisationLine],
        sign: i64,
    ) -> Result<(), String> {
        let day = local_day(instant(sale.occurred_at));
        for (place, limit) in LIMITS.iter().enumerate() {
            let holder = match limit.per {
                Per::Recipient => sale.recipient_id.clone(),
                Per::Household => sale.household_id.clone(),
                Per::Instruction => Some(String::new()),
            };
            let Some(holder) = holder else { continue };
            let benefits = lines.iter().flat_map(|line| &line.benefits);
            let of_limit = benefits.filter(|given| given.instruction_id == limit.instruction);
            let moved: i64 = of_limit.map(|given| sign * measured(limit, given)).sum();
            let used = self.0.entry((place, holder.clone(), begins(limit, day))).or_default();
            *used += moved;
            if (moved > 0 && *used > limit.most) || *used < 0 {
                let (of, most) = (limit.instruction, limit.most);
                let per = limit.per.code();
                return Err(format!("{used} of {most} of {of} per {per} {holder} since {day}"));
            }
        }
        Ok(())
    }
}

fn measured(limit: &Limit, given: &v1::LineBenefit) -> i64 {
    match limit.measure {
        Measure::Units => given.units,
        Measure::AmountCents => given.amount_cents,
        Measure::Uses => 0,
    }
}

fn begins(limit: &Limit, day: NaiveDate) -> NaiveDate {
    match limit.period {
        Period::Month => day.with_day(1).unwrap_or(day),
        _ => day,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_rigas() {
        let day = |at: &str| local_day(at.parse().expect("an instant")).to_string();
        assert_eq!(day("2025-01-31T21:59:59Z"), "2025-01-31");
        assert_eq!(day("2025-01-31T22:00:00Z"), "2025-02-01");
        assert_eq!(day("2025-03-30T00:59:59Z"), "2025-03-30");
        assert_eq!(day("2025-03-30T20:59:59Z"), "2025-03-30");
        assert_eq!(day("2025-03-30T21:00:00Z"), "2025-03-31");
        assert_eq!(day("2025-10-26T21:59:59Z"), "2025-10-26");
        assert_eq!(day("2025-10-25T21:00:00Z"), "2025-10-26");
    }
}
