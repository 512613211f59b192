//! Generated input: as many people and baskets as asked for, the same ones for the same seed.
//!
//! Baskets are drawn from the real ones and spread evenly over their span, so that categories and
//! prices stay real; people are invented. It is written as the files of the connectors, line by
//! line, so that nothing of the main job is bypassed and any number fits in memory.

use std::io::{BufReader, Read};

use chrono::{DateTime, Days, Duration, NaiveDate, SecondsFormat, Utc};
use serde_json::{Value, json};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many baskets.
    pub transactions: u64,
    /// How many people, each with one card.
    pub people: u64,
    /// What the draw begins with.
    pub seed: u64,
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and enough for a draw.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Lines made on demand, as a reader.
pub struct Lines<I> {
    lines: I,
    buffer: Vec<u8>,
    taken: usize,
}

impl<I> std::fmt::Debug for Lines<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

impl<I: Iterator<Item = Value>> Read for Lines<I> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
            let Some(line) = self.lines.next() else { return Ok(0) };
            serde_json::to_writer(&mut self.buffer, &line)?;
            self.buffer.push(b'\n');
        }
        let rest = &self.buffer[self.taken..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

/// Lines that are made while they are read.
pub(super) fn reader(lines: impl Iterator<Item = Value> + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(BufReader::new(Lines { lines, buffer: Vec::new(), taken: 0 }))
}

fn person_code(number: u64) -> String {
    // The newer form: 32 to 39, then digits that mean nothing.
    format!(
        "{}{:04}-{:05}",
        32 + number / 1_000_000_000,
        number / 100_000 % 10_000,
        number % 100_000
    )
}

fn card(number: u64) -> String {
    format!("{:014X}", 0x00A0_0000_0000_0000 + number)
}

const TERRITORIES: [&str; 6] =
    ["LV0001000", "LV0002000", "LV0003000", "LV0004000", "LV0020000", "LV0042000"];

impl Plan {
    /// The people, as a snapshot of the register.
    #[must_use]
    pub fn persons(self) -> Box<dyn Read + Send> {
        let mut draw = Draw(self.seed);
        let first_day = NaiveDate::from_ymd_opt(1935, 1, 1).unwrap_or_default();
        reader((0..self.people).map(move |number| {
            let born = first_day + Days::new(draw.below(32_000));
            let code = person_code(number);
            let mut event = json!({
                "specversion": "1.0", "id": format!("generated-{number}"), "source": "/dagr/persons",
                "type": "lv.dagr.person.changed", "subject": code, "time": "2024-12-01T00:00:00+02:00",
                "datacontenttype": "application/json",
                "data": {"person": code, "sequence": 1, "attributes": {
                    "birth_date": born.to_string(),
                    "territory": TERRITORIES[draw.below(6) as usize],
                    "family_id": format!("G-{}", number / 2),
                    "student": draw.below(10) == 0,
                    "pensioner": draw.below(4) == 0,
                    "large_family": draw.below(12) == 0,
                    "status": "alive",
                }},
            });
            if draw.below(15) == 0 {
                event["data"]["attributes"]["disability_group"] = json!(1 + draw.below(3));
            }
            event
        }))
    }

    /// One card for each.
    #[must_use]
    pub fn means(self) -> Box<dyn Read + Send> {
        reader((0..self.people).map(|number| {
            json!({
                "person": person_code(number), "issuer": "market-card", "kind": "card_uid",
                "value": card(number), "valid_from": "2024-12-01", "valid_to": null,
            })
        }))
    }

    /// Baskets drawn from `real` and spread evenly from `from` to `to`.
    #[must_use]
    pub fn baskets(
        self,
        real: Vec<Value>,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Box<dyn Read + Send> {
        let mut draw = Draw(self.seed ^ 0xba5_ce75);
        let step =
            (to - from).num_milliseconds() / i64::try_from(self.transactions.max(1)).unwrap_or(1);
        reader((0..self.transactions).map(move |number| {
            let mut basket = real[draw.below(real.len() as u64) as usize].clone();
            let after = step.saturating_mul(i64::try_from(number).unwrap_or(0));
            let at = from + Duration::milliseconds(after);
            let key = format!("generated-{}-{number}", self.seed);
            basket["occurred_at"] = json!(at.to_rfc3339_opts(SecondsFormat::Millis, true));
            basket["means"] = json!({"kind": "card_uid", "value": card(draw.below(self.people))});
            basket["receipt"] = json!({"number": key});
            basket["idempotency_key"] = json!(key);
            basket
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mut reader: Box<dyn Read + Send>) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("lines");
        text
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        let plan = Plan { transactions: 5, people: 3, seed: 7 };
        let baskets = |plan: Plan| {
            let real =
                vec![json!({"terminal_id": "T-1", "lines": []}), json!({"terminal_id": "T-2"})];
            text(plan.baskets(
                real,
                DateTime::UNIX_EPOCH,
                DateTime::UNIX_EPOCH + Duration::hours(1),
            ))
        };
        assert_eq!(text(plan.persons()), text(plan.persons()));
        assert_eq!(baskets(plan), baskets(plan));
        assert_ne!(baskets(plan), baskets(Plan { seed: 8, ..plan }));
        assert_eq!(baskets(plan).lines().count(), 5);
        assert_eq!(text(plan.means()).lines().count(), 3);
    }

    #[test]
    fn generated_codes_are_well_formed_and_differ() {
        let codes: std::collections::BTreeSet<_> =
            (0..2_000).map(|n| person_code(n * 777_777)).collect();
        assert_eq!(codes.len(), 2_000);
        assert!(codes.iter().all(|code| domain::person_code::PersonCode::parse(code).is_ok()));
    }
}
