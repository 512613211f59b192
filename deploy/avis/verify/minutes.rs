//! The minutes of `usage_by_minute` against the stream.
//!
//! Which records are late, and which minutes are over, is worked out as the table promises it: a record
//! is late when its minute lies before the one up to which its own partition had told time, and a minute is
//! told when every partition's time is past it. Counts and cents are sums, so each side is a sum of
//! hashes of the rows' keys, times what they count.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ingest::{
    record::Stored,
    wire::v1::{AuthorisationDecided, Event},
};
use warehouse::{
    schema::{self, Table},
    session::Session,
};

use super::{
    findings::{Findings, NOTHING},
    hash,
    row::{Cell, Row, cells},
    tables::positions,
};
use crate::failure::Failure;

/// The table.
pub const NAME: &str = "usage_by_minute";
const MINUTE: i64 = 60_000_000;
/// How far behind the newest event time is.
const BEHIND: i64 = 5 * MINUTE;
/// Minutes whose rows are looked at.
const MOST: usize = 512;
/// What is counted of each key: decisions, and three sums of cents.
type Counts = [i64; 4];

/// Both sides, by minute.
#[derive(Debug)]
pub struct Minutes {
    table: &'static Table,
    next: Vec<u64>,
    from_day: Option<i64>,
    /// How far each partition has told time.
    told: Vec<Option<i64>>,
    sums: HashMap<i64, u128>,
    /// Of these minutes the keys are kept, by what is wanted of the second reading.
    wanted: Option<BTreeSet<i64>>,
    keys: BTreeMap<Vec<u8>, Counts>,
    row: Row,
}

impl Minutes {
    /// The table as a session has it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn open(
        session: &Session,
        partitions: u32,
        from_day: Option<i64>,
    ) -> Result<Self, Failure> {
        let table = schema::table(NAME);
        let table = table.ok_or_else(|| Failure::NoTable { pipeline: NAME.to_owned() })?;
        Ok(Self {
            table,
            next: positions(session, table, partitions).await?,
            from_day,
            told: vec![None; partitions as usize],
            sums: HashMap::new(),
            wanted: None,
            keys: BTreeMap::new(),
            row: Row::default(),
        })
    }

    /// Takes a record of the stream, in the order of its partition.
    pub fn take(&mut self, stored: &Stored) {
        let at = stored.position.partition as usize;
        if self.next.get(at).is_none_or(|next| stored.position.offset >= *next) {
            return;
        }
        let told = self.told.get(at).copied().flatten();
        let time = stored.record.event_time.timestamp_micros();
        let until = match &stored.record.event {
            Event::Heartbeat(beat) => beat.until,
            Event::AuthorisationDecided(event) => {
                let minute = start(time);
                if told.is_none_or(|told| minute >= start(told)) {
                    self.count(minute, event);
                }
                time - BEHIND
            }
            _ => time - BEHIND,
        };
        if let Some(known) = self.told.get_mut(at) {
            *known = Some(told.map_or(until, |told| told.max(until)));
        }
    }

    fn count(&mut self, minute: i64, event: &AuthorisationDecided) {
        self.row
            .begin()
            .number(minute)
            .number(MINUTE)
            .text(&event.merchant_id)
            .text(&event.place_id)
            .text(&event.territory)
            .text(&event.decision)
            .day(&event.date);
        let counts = [1, event.total_cents, event.benefit_cents, event.payable_cents];
        if !is_kept(self.from_day, self.row.bytes()) {
            return;
        }
        match &self.wanted {
            None => add(&mut self.sums, minute, self.row.bytes(), counts, 1),
            Some(wanted) if wanted.contains(&minute) => {
                let sums = self.keys.entry(self.row.bytes().to_vec()).or_default();
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            Some(_) => {}
        }
    }

    /// The minute that is not over yet; none where some partition has told no time.
    fn closed(&self) -> Option<i64> {
        self.told.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().min().map(start)
    }

    /// Reads the table; answers the minutes that differ.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn differing(
        &mut self,
        session: &Session,
        findings: &mut Findings,
    ) -> Result<BTreeSet<i64>, Failure> {
        let closed = self.closed().unwrap_or(i64::MIN);
        let mut sums = std::mem::take(&mut self.sums);
        sums.retain(|minute, _| *minute < closed);
        let expected = sums.len() as u64;
        let mut seen = BTreeSet::new();
        for (minute, key, counts) in self.rows(session).await? {
            seen.insert(minute);
            add(&mut sums, minute, &key, counts, -1);
        }
        findings.compared("usage_by_minute (minutes)", expected, seen.len() as u64);
        sums.retain(|_, sum| *sum != 0);
        let differing = sums.into_keys();
        let differing: BTreeSet<i64> = differing.collect();
        if let Some(more) = differing.len().checked_sub(MOST).filter(|more| *more > 0) {
            let text = format!("{NAME}: {more} more minutes differ");
            findings.unnamed("usage_by_minute (minutes)", more as u64, text);
        }
        Ok(differing.into_iter().take(MOST).collect())
    }

    /// Begins a second reading, of some minutes only.
    pub fn again(&mut self, minutes: BTreeSet<i64>) {
        self.told.fill(None);
        self.wanted = Some(minutes);
    }

    /// Names what drifts in those minutes, after the second reading.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub async fn name(mut self, session: &Session, findings: &mut Findings) -> Result<(), Failure> {
        let closed = self.closed().unwrap_or(i64::MIN);
        let wanted = self.wanted.take().unwrap_or_default();
        let mut both: BTreeMap<Vec<u8>, [Vec<Counts>; 2]> = BTreeMap::new();
        for (key, counts) in std::mem::take(&mut self.keys) {
            if minute_of(&key).is_some_and(|minute| minute < closed) {
                both.entry(key).or_default()[0].push(counts);
            }
        }
        for (minute, key, counts) in self.rows(session).await? {
            if wanted.contains(&minute) {
                both.entry(key).or_default()[1].push(counts);
            }
        }
        for (key, [expected, found]) in both.into_iter().filter(|(_, [left, right])| left != right)
        {
            let told = |of: &[Counts]| match of {
                [] => NOTHING.to_owned(),
                some => some.iter().map(said).collect::<Vec<_>>().join(" and "),
            };
            findings.drift(NAME, named(&key), told(&expected), told(&found));
        }
        Ok(())
    }

    /// The table's rows: minute, key, counts.
    async fn rows(&self, session: &Session) -> Result<Vec<(i64, Vec<u8>, Counts)>, Failure> {
        let mut rows = Vec::new();
        let mut key = Row::default();
        super::tables::scan(session, self.table, |_, _, bytes| {
            let cells = cells(bytes);
            let cell = |name: &str| {
                let place = self.table.columns.iter().position(|column| column.name == name);
                place.and_then(|place| cells.get(place)).cloned().unwrap_or(Cell::None)
            };
            let number = |name: &str| match cell(name) {
                Cell::Number(number) => number,
                _ => 0,
            };
            let minute = number("window_start");
            key.begin().number(minute).number(number("window_end") - minute);
            for name in ["merchant_id", "place_id", "territory", "decision"] {
                match cell(name) {
                    Cell::Text(text) => key.text(&text),
                    _ => key.none(),
                };
            }
            key.number(number("date"));
            if is_kept(self.from_day, key.bytes()) {
                let counts = ["authorisations", "total", "benefit", "payable"].map(number);
                rows.push((minute, key.bytes().to_vec(), counts));
            }
        })
        .await?;
        Ok(rows)
    }
}

const fn start(instant: i64) -> i64 {
    instant - instant.rem_euclid(MINUTE)
}

fn is_kept(from_day: Option<i64>, key: &[u8]) -> bool {
    let day = key.last_chunk().map(|day| i64::from_le_bytes(*day));
    from_day.is_none_or(|from| day.is_some_and(|day| day >= from))
}

fn minute_of(key: &[u8]) -> Option<i64> {
    match cells(key).first() {
        Some(Cell::Number(minute)) => Some(*minute),
        _ => None,
    }
}

fn add(sums: &mut HashMap<i64, u128>, minute: i64, key: &[u8], counts: Counts, times: i128) {
    let sum = sums.entry(minute).or_default();
    // Each count has a hash of its own, so that a cent cannot hide behind another.
    let first = hash(key);
    for (at, count) in (1_u32..).zip(counts) {
        let weight = first.rotate_left(at * 29) | 1;
        let moved = (i128::from(count) * times).cast_unsigned();
        *sum = sum.wrapping_add(weight.wrapping_mul(moved));
    }
}

fn said([count, total, benefit, payable]: &Counts) -> String {
    format!("{count} decisions of {total} cents, {benefit} given, {payable} paid")
}

fn named(key: &[u8]) -> String {
    let cells = cells(key);
    let text = |at: usize| match cells.get(at) {
        Some(Cell::Text(text)) => text.clone(),
        Some(Cell::Number(micros)) => {
            chrono::DateTime::from_timestamp_micros(*micros).unwrap_or_default().to_rfc3339()
        }
        _ => "none".into(),
    };
    format!("minute {}, {} at {} ({}), {}", text(0), text(2), text(3), text(4), text(5))
}
