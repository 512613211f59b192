//! Aggregates over sessions: rows of a key of which none lies `gap` or more after the one before.
//!
//! Rows wait until the watermark has passed them, and are then gathered in the order of their event
//! times; so a row that comes out of order can join two others, and what has been gathered never has
//! to be taken apart. A session ends `gap` after its last row, and fires when the watermark has
//! passed that. A row is late when it lies before the watermark that its own partition told before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray},
    datatypes::{Field, Schema, SchemaRef, TimestampNanosecondType},
};
use datafusion::common::{Result as EngineResult, ScalarValue, exec_datafusion_err};

use super::{
    cells::{Arguments, Cells, arguments, columns},
    groups::Aggregation,
    keys::{Key, Keys, Run, sorted},
    packed::{Packed, Packing},
    time::{TIMESTAMP, chosen, instant, instants, refused, told, windows},
    waiting::Waiting,
    windowed::fitted,
};

/// How many sessions have accumulators at once; some take tens of kilobytes.
const UNPACKED_AT_ONCE: usize = 1_024;

/// How rows are gathered by session.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Keys and aggregates.
    pub aggregation: Aggregation,
    /// The gap in nanoseconds.
    pub gap: i64,
    /// The place of the window among the columns that come out.
    pub window_at: usize,
    /// The columns that come out.
    pub output: SchemaRef,
}

/// The sessions that are open.
#[derive(Debug)]
pub struct Sessions {
    plan: Arc<Plan>,
    keys: Keys,
    packing: Packing,
    /// Rows that the watermark has not passed.
    waiting: Waiting,
    open: Open,
    watermark: i64,
    late: Vec<RecordBatch>,
}

#[derive(Debug)]
struct Session<G> {
    start: i64,
    last: i64,
    gathered: G,
}

/// The sessions that are open, by their keys.
#[derive(Debug, Default)]
struct Open {
    sessions: BTreeMap<Key, Session<Packed>>,
    /// The same by their starts and by their last rows: there may be a million of them, and each step
    /// of time asks which is the first.
    by_start: BTreeSet<(i64, Key)>,
    by_last: BTreeSet<(i64, Key)>,
    /// Bytes of memory.
    bytes: usize,
}

impl Open {
    fn insert(&mut self, key: Key, session: Session<Packed>) {
        self.bytes += session.size(&key);
        self.by_start.insert((session.start, Arc::clone(&key)));
        self.by_last.insert((session.last, Arc::clone(&key)));
        self.sessions.insert(key, session);
    }

    fn remove(&mut self, key: &Key) -> Option<Session<Packed>> {
        let session = self.sessions.remove(key)?;
        self.bytes -= session.size(key);
        self.by_start.remove(&(session.start, Arc::clone(key)));
        self.by_last.remove(&(session.last, Arc::clone(key)));
        Some(session)
    }

    /// Takes out those whose last row lies before an instant.
    fn take_before(&mut self, instant: i64) -> Vec<(Key, Session<Packed>)> {
        let over = self.by_last.iter().take_while(|(last, _)| *last < instant);
        let over: Vec<Key> = over.map(|(_, key)| Arc::clone(key)).collect();
        let over = over.into_iter().map(|key| (self.remove(&key), key));
        over.filter_map(|(session, key)| Some((key, session?))).collect()
    }

    fn earliest_start(&self) -> Option<i64> {
        self.by_start.first().map(|(start, _)| *start)
    }
}

impl Session<Packed> {
    /// Bytes that it takes under its key and in both orders.
    fn size(&self, key: &Key) -> usize {
        size_of::<(Key, Self)>() + 2 * size_of::<(i64, Key)>() + key.len() + self.gathered.len()
    }
}

/// A session that is over, with its aggregates' values.
type Fired = (Key, Session<Vec<ScalarValue>>);

impl<G> Session<G> {
    /// The same with what `gathered` holds in another form.
    fn with<H>(&self, gathered: H) -> Session<H> {
        Session { start: self.start, last: self.last, gathered }
    }
}

impl Sessions {
    /// No rows yet.
    ///
    /// # Errors
    /// Where a key's type cannot be one.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        Ok(Self {
            keys: Keys::new(&plan.aggregation.keys)?,
            packing: Packing::new(&plan.aggregation)?,
            plan,
            waiting: Waiting::default(),
            open: Open::default(),
            watermark: i64::MIN,
            late: Vec::new(),
        })
    }

    /// Takes rows that are not late.
    ///
    /// # Errors
    /// Where they have no event time.
    pub fn take(&mut self, rows: &RecordBatch) -> EngineResult<()> {
        let times = instants(rows, TIMESTAMP)?;
        let told = told(rows);
        let on_time = |(row, at): (usize, &i64)| {
            let own = told.filter(|told| !arrow::array::Array::is_null(told, row));
            *at >= self.watermark && own.is_none_or(|told| *at >= told.value(row))
        };
        let on_time: Vec<bool> = times.values().iter().enumerate().map(on_time).collect();
        self.late.extend(refused(rows, &on_time)?);
        self.waiting.add(&chosen(rows, on_time)?)
    }

    /// Lets time come to an instant: the rows of sessions that are over, and the earliest start that
    /// one still to fire can have.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn advance(&mut self, watermark: i64) -> EngineResult<(Vec<RecordBatch>, i64)> {
        self.watermark = watermark;
        let mut fired = Vec::new();
        if let Some(rows) = self.waiting.take_before(watermark)? {
            self.gather(&rows, &mut fired)?;
        }
        // The watermark has passed the end of those.
        let over = self.open.take_before(watermark.saturating_sub(self.plan.gap));
        for over in over.chunks(UNPACKED_AT_ONCE) {
            fired.extend(self.fire(over)?);
        }
        let starts = self.open.earliest_start().into_iter().chain(self.waiting.earliest()?);
        let earliest = starts.min().unwrap_or(watermark).min(watermark);
        let rows = if fired.is_empty() { Vec::new() } else { vec![self.rows(fired)?] };
        Ok((rows, earliest))
    }

    /// Gathers rows that no other can come before.
    fn gather(&mut self, rows: &RecordBatch, fired: &mut Vec<Fired>) -> EngineResult<()> {
        let plan = Arc::clone(&self.plan);
        let keys = self.keys.of(plan.aggregation.key_columns(rows), rows.num_rows())?;
        let times = instants(rows, TIMESTAMP)?.values().clone();
        let (rows, runs) = sorted(rows, keys, &times)?;
        let times = instants(&rows, TIMESTAMP)?.values().clone();
        let all = arguments(&plan.aggregation, &rows)?;
        for runs in runs.chunks(UNPACKED_AT_ONCE) {
            self.gather_runs(runs, &times, &all, fired)?;
        }
        Ok(())
    }

    /// Gathers the rows of some keys, whose sessions are unpacked for it.
    fn gather_runs(
        &mut self,
        runs: &[Run],
        times: &[i64],
        all: &Arguments,
        fired: &mut Vec<Fired>,
    ) -> EngineResult<()> {
        let open = runs.iter().map(|(key, _)| self.open.remove(key));
        let open: Vec<Option<Session<Packed>>> = open.collect();
        let mut unpacked = self.unpack(open.iter().flatten())?.into_iter();
        let mut sessions = Vec::with_capacity(runs.len());
        for ((key, run), open) in runs.iter().zip(&open) {
            let open = if open.is_some() { unpacked.next() } else { None };
            sessions.push(self.gather_key(key, &times[..run.end], run.start, open, all, fired)?);
        }
        let (spans, cells): (Vec<_>, Vec<_>) =
            sessions.into_iter().map(|session| (session.with(()), session.gathered)).unzip();
        let packed = spans.iter().zip(self.packing.pack(cells)?);
        let packed = packed.map(|(span, packed)| span.with(packed));
        for ((key, _), session) in runs.iter().zip(packed) {
            self.open.insert(Arc::clone(key), session);
        }
        Ok(())
    }

    /// Gathers the rows of one key, from `first` on; the session that is open after the last.
    fn gather_key(
        &self,
        key: &Key,
        times: &[i64],
        first: usize,
        open: Option<Session<Cells>>,
        all: &Arguments,
        fired: &mut Vec<Fired>,
    ) -> EngineResult<Session<Cells>> {
        let gap = self.plan.gap;
        let new = |at: i64| -> EngineResult<Session<Cells>> {
            let gathered = Cells::new(&self.plan.aggregation)?;
            Ok(Session { start: at, last: at, gathered })
        };
        let mut session = match open {
            Some(open) => open,
            None => new(times[first])?,
        };
        let mut next = first;
        while next < times.len() {
            if times[next] >= session.last.saturating_add(gap) {
                let over = std::mem::replace(&mut session, new(times[next])?);
                fired.push((Arc::clone(key), over.fire()?));
            }
            let from = next;
            while next < times.len() && times[next] < session.last.saturating_add(gap) {
                session.last = times[next];
                next += 1;
            }
            session.gathered.update(all, from, next - from)?;
        }
        Ok(session)
    }

    /// The values of sessions that are over.
    fn fire(&self, over: &[(Key, Session<Packed>)]) -> EngineResult<Vec<Fired>> {
        let keys = over.iter().map(|(key, _)| Arc::clone(key));
        let sessions = self.unpack(over.iter().map(|(_, session)| session))?;
        keys.zip(sessions).map(|(key, session)| Ok((key, session.fire()?))).collect()
    }

    fn unpack<'a>(
        &self,
        sessions: impl Iterator<Item = &'a Session<Packed>> + Clone,
    ) -> EngineResult<Vec<Session<Cells>>> {
        let packed: Vec<&Packed> = sessions.clone().map(|session| &session.gathered).collect();
        let cells = self.packing.unpack(&self.plan.aggregation, &packed)?;
        Ok(sessions.zip(cells).map(|(session, cells)| session.with(cells)).collect())
    }

    fn rows(&self, fired: Vec<Fired>) -> EngineResult<RecordBatch> {
        let gap = self.plan.gap;
        let (mut keys, mut starts, mut ends, mut values) = (vec![], vec![], vec![], vec![]);
        for (key, session) in fired {
            keys.push(key);
            starts.push(session.start);
            ends.push(session.last.saturating_add(gap));
            values.push(session.gathered);
        }
        let mut made = self.keys.columns(keys.iter())?;
        made.extend(columns(values)?);
        made.insert(self.plan.window_at, windows(starts.clone(), ends));
        made.push(times(starts.into_iter()));
        fitted(&self.plan.output, made)
    }

    /// The rows that came late since this was asked last.
    pub fn take_late(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.late)
    }

    /// The rows that wait, and the sessions that are open.
    ///
    /// # Errors
    /// Where an aggregate cannot tell its state.
    pub fn save(&mut self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let waiting = self.waiting.all()?.into_iter();
        let mut parts: Vec<_> = waiting.map(|rows| ("waiting 0".to_owned(), rows)).collect();
        let sessions = &self.open.sessions;
        if sessions.is_empty() {
            return Ok(parts);
        }
        let open = || sessions.values();
        let mut made = self.keys.columns(sessions.keys())?;
        made.push(times(open().map(|session| session.start)));
        made.push(times(open().map(|session| session.last)));
        made.extend(self.packing.columns(open().map(|session| &session.gathered))?);
        let field = |(at, column): (usize, &ArrayRef)| {
            Field::new(format!("_{at}"), column.data_type().clone(), true)
        };
        let fields: Vec<Field> = made.iter().enumerate().map(field).collect();
        let open = RecordBatch::try_new(Arc::new(Schema::new(fields)), made)?;
        parts.push(("open 0".to_owned(), open));
        Ok(parts)
    }

    /// Takes up what was saved, at the watermark of then.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(
        &mut self,
        parts: Vec<(String, RecordBatch)>,
        watermark: Option<i64>,
    ) -> EngineResult<()> {
        self.watermark = watermark.unwrap_or(i64::MIN);
        for (name, rows) in parts {
            if name.starts_with("waiting") {
                self.waiting.add(&rows)?;
            } else {
                self.load_open(&rows)?;
            }
        }
        Ok(())
    }

    fn load_open(&mut self, rows: &RecordBatch) -> EngineResult<()> {
        let aggregation = &self.plan.aggregation;
        let width = aggregation.keys.fields().len();
        let keys = self.keys.of(aggregation.key_columns(rows), rows.num_rows())?;
        let time = |at: usize| {
            let column = rows.columns().get(at);
            let column =
                column.and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
            column.ok_or_else(|| exec_datafusion_err!("the kept state has no {}", instant()))
        };
        let (starts, lasts) = (time(width)?, time(width + 1)?);
        let states = rows.columns().get(width + 2..).unwrap_or_default();
        let packed = self.packing.of(states, rows.num_rows())?;
        for (row, (key, gathered)) in keys.into_iter().zip(packed).enumerate() {
            let session = Session { start: starts.value(row), last: lasts.value(row), gathered };
            self.open.insert(key, session);
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.waiting.size() + self.open.bytes
    }
}

impl Session<Cells> {
    /// Its aggregates' values, once it is over.
    fn fire(self) -> EngineResult<Session<Vec<ScalarValue>>> {
        Ok(Session { start: self.start, last: self.last, gathered: self.gathered.evaluate()? })
    }
}

fn times(times: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(times))
}
