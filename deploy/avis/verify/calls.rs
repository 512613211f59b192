//! The calls against the stream of the service centres.
//!
//! A call's events of which none comes two hours or more after the one before are one row, which is told once
//! time is past them; what comes later than its partition had told of time is not in it. So calls are put
//! together here as the stream goes by, and those that are over are let go of: both sides are sums of hashes
//! by the day of the call, and only of days that differ the rows are kept, in a second reading.

use std::collections::{BTreeMap, BTreeSet};

use ingest::{
    record::Stored,
    wire::v1::{Event, ServiceEvent},
};
use warehouse::{
    schema::{self, Table},
    session::Session,
};

use super::{
    findings::Findings,
    hash,
    row::Row,
    tables::{positions, scan, told},
};
use crate::failure::Failure;

/// The table.
pub const NAME: &str = "calls";
const GAP: i64 = 2 * 3_600_000_000;
/// How far behind the newest event time is.
const BEHIND: i64 = 5 * 60_000_000;
/// How much time passes between two looks at which calls are over.
const NOW_AND_THEN: i64 = 600_000_000;
/// Days whose rows are looked at.
const MOST: usize = 62;

/// A call that may go on.
#[derive(Clone, Debug, Default)]
struct Call {
    first: i64,
    last: i64,
    centre: Option<String>,
    service: Option<String>,
    institution: Option<String>,
    official: Option<String>,
    language: Option<String>,
    requested: Option<i64>,
    offered: Option<i64>,
    accepted: Option<i64>,
    connected: Option<i64>,
    ended: Option<i64>,
    abandoned: Option<i64>,
    rating: Option<u32>,
    resolved: Option<bool>,
    date: Option<String>,
}

/// Both sides.
#[derive(Debug)]
pub struct Calls {
    table: &'static Table,
    next: u64,
    from_day: Option<i64>,
    /// How far the stream has told time, and how far it had when calls were last let go of.
    told: Option<i64>,
    looked_at: i64,
    open: BTreeMap<String, Vec<Call>>,
    sums: BTreeMap<i64, u128>,
    expected: u64,
    /// Of these days the rows are kept, by what is wanted of the second reading.
    wanted: Option<BTreeSet<i64>>,
    rows: BTreeMap<Vec<u8>, i64>,
    row: Row,
}

impl Calls {
    /// The table as a session has it; none where the stream has several partitions, between which calls
    /// cannot be put together in one reading.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn open(
        session: &Session,
        partitions: u32,
        from_day: Option<i64>,
    ) -> Result<Option<Self>, Failure> {
        let table = schema::table(NAME);
        let table = table.ok_or_else(|| Failure::NoTable { pipeline: NAME.to_owned() })?;
        let next = positions(session, table, partitions).await?;
        let [next] = next.as_slice() else { return Ok(None) };
        Ok(Some(Self {
            table,
            next: *next,
            from_day,
            told: None,
            looked_at: i64::MIN,
            open: BTreeMap::new(),
            sums: BTreeMap::new(),
            expected: 0,
            wanted: None,
            rows: BTreeMap::new(),
            row: Row::default(),
        }))
    }

    /// Takes a record of the stream.
    pub fn take(&mut self, stored: &Stored) {
        if stored.position.offset >= self.next {
            return;
        }
        let time = stored.record.event_time.timestamp_micros();
        let until = match &stored.record.event {
            Event::Heartbeat(beat) => beat.until,
            Event::ServiceEvent(event) => {
                if let (Some(kind), Some(call)) =
                    (event.event_type.strip_prefix("lv.vpvkac.call."), &event.call_id)
                    && self.told.is_none_or(|told| time >= told)
                {
                    join(self.open.entry(call.clone()).or_default(), kind, time, event);
                }
                time - BEHIND
            }
            _ => time - BEHIND,
        };
        self.told = Some(self.told.map_or(until, |told| told.max(until)));
        // Letting go later changes nothing: what comes then is another call all the same.
        if self.told.is_some_and(|told| told >= self.looked_at.saturating_add(NOW_AND_THEN)) {
            self.let_go();
        }
    }

    /// Lets go of the calls that are over.
    fn let_go(&mut self) {
        let Some(told) = self.told else { return };
        self.looked_at = told;
        let mut over = Vec::new();
        self.open.retain(|id, calls| {
            let (ended, left): (Vec<_>, Vec<_>) =
                calls.drain(..).partition(|call| call.last.saturating_add(GAP) < told);
            over.extend(ended.into_iter().map(|call| (id.clone(), call)));
            *calls = left;
            !calls.is_empty()
        });
        for (id, call) in over {
            call.row(&id, &mut self.row);
            let Some(day) = day_of(self.row.bytes()) else { continue };
            if self.from_day.is_some_and(|from| day < from) {
                continue;
            }
            match &self.wanted {
                None => {
                    self.expected += 1;
                    let sum = self.sums.entry(day).or_default();
                    *sum = sum.wrapping_add(hash(self.row.bytes()));
                }
                Some(wanted) if wanted.contains(&day) => {
                    *self.rows.entry(self.row.bytes().to_vec()).or_default() += 1;
                }
                Some(_) => {}
            }
        }
    }

    /// Reads the table; answers the days that differ.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn differing(
        &mut self,
        session: &Session,
        findings: &mut Findings,
    ) -> Result<BTreeSet<i64>, Failure> {
        self.let_go();
        let (mut sums, mut found) = (std::mem::take(&mut self.sums), 0);
        scan(session, self.table, |_, _, bytes| {
            let Some(day) = day_of(bytes) else { return };
            if self.from_day.is_none_or(|from| day >= from) {
                found += 1;
                let sum = sums.entry(day).or_default();
                *sum = sum.wrapping_sub(hash(bytes));
            }
        })
        .await?;
        findings.compared(NAME, self.expected, found);
        sums.retain(|_, sum| *sum != 0);
        if let Some(more) = sums.len().checked_sub(MOST).filter(|more| *more > 0) {
            findings.unnamed(NAME, more as u64, format!("{NAME}: {more} more days differ"));
        }
        Ok(sums.into_keys().take(MOST).collect())
    }

    /// Begins a second reading, of some days only.
    pub fn again(&mut self, days: BTreeSet<i64>) {
        (self.told, self.looked_at, self.wanted) = (None, i64::MIN, Some(days));
        self.open.clear();
    }

    /// Names what drifts on those days, after the second reading.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub async fn name(mut self, session: &Session, findings: &mut Findings) -> Result<(), Failure> {
        self.let_go();
        let wanted = self.wanted.take().unwrap_or_default();
        scan(session, self.table, |_, _, bytes| {
            if day_of(bytes).is_some_and(|day| wanted.contains(&day)) {
                *self.rows.entry(bytes.to_vec()).or_default() -= 1;
            }
        })
        .await?;
        self.rows.retain(|_, count| *count != 0);
        told(self.table, &self.rows, findings);
        Ok(())
    }
}

/// The day of a row, which is its last column.
fn day_of(bytes: &[u8]) -> Option<i64> {
    bytes.last_chunk().map(|day| i64::from_le_bytes(*day))
}

/// Puts an event where it belongs: to the call that it is less than the gap away from. It can join two.
fn join(calls: &mut Vec<Call>, kind: &str, time: i64, event: &ServiceEvent) {
    calls.push(Call::of(kind, time, event));
    calls.sort_by_key(|call| call.first);
    let mut joined: Vec<Call> = Vec::new();
    for call in calls.drain(..) {
        match joined.last_mut() {
            Some(before) if call.first < before.last.saturating_add(GAP) => before.merge(call),
            _ => joined.push(call),
        }
    }
    *calls = joined;
}

impl Call {
    /// What one event tells.
    fn of(kind: &str, time: i64, event: &ServiceEvent) -> Self {
        let at = |of: &str| (kind == of).then_some(time);
        Self {
            first: time,
            last: time,
            centre: event.centre_id.clone(),
            service: event.service_id.clone(),
            institution: event.institution_id.clone(),
            official: event.official_id.clone(),
            language: event.language.clone(),
            requested: at("requested"),
            offered: at("offered"),
            accepted: at("accepted"),
            connected: at("connected"),
            ended: at("ended"),
            abandoned: at("abandoned"),
            rating: event.rating,
            resolved: event.resolved,
            date: Some(event.date.clone()),
        }
    }

    /// What two parts tell together: the greatest of each word, the first of each instant, and the last end.
    fn merge(&mut self, other: Self) {
        fn least<T: Ord>(one: &mut Option<T>, other: Option<T>) {
            *one = one.take().into_iter().chain(other).min();
        }
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
        self.centre = self.centre.take().max(other.centre);
        self.service = self.service.take().max(other.service);
        self.institution = self.institution.take().max(other.institution);
        self.official = self.official.take().max(other.official);
        self.language = self.language.take().max(other.language);
        least(&mut self.requested, other.requested);
        least(&mut self.offered, other.offered);
        least(&mut self.accepted, other.accepted);
        least(&mut self.connected, other.connected);
        self.ended = self.ended.max(other.ended);
        least(&mut self.abandoned, other.abandoned);
        self.rating = self.rating.max(other.rating);
        self.resolved = self.resolved.max(other.resolved);
        least(&mut self.date, other.date);
    }

    fn row(&self, id: &str, row: &mut Row) {
        // As the table's whole seconds: the difference of two instants in seconds, cut off.
        let seconds = |micros: i64| (micros * 1_000) as f64 / 1_000_000_000.0;
        let between = |from: Option<i64>, to: Option<i64>| {
            from.zip(to).map(|(from, to)| (seconds(to) - seconds(from)) as i64)
        };
        let waited = self.connected.or(self.abandoned).or(self.ended);
        row.begin()
            .may(self.centre.as_deref())
            .may(self.service.as_deref())
            .may(self.institution.as_deref())
            .may(self.official.as_deref())
            .text(id)
            .may(self.language.as_deref())
            .maybe(self.requested)
            .maybe(self.offered)
            .maybe(self.accepted)
            .maybe(self.connected)
            .maybe(self.ended)
            .number(self.abandoned.is_some())
            .maybe(between(self.requested, waited))
            .maybe(between(self.connected, self.ended))
            .maybe(self.rating.map(i64::from))
            .maybe(self.resolved.map(i64::from))
            .day(self.date.as_deref().unwrap_or_default());
    }
}
