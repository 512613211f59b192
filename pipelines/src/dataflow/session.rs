//! Aggregates over sessions: rows of a key of which none lies `gap` or more after the one before.
//!
//! Rows wait until the watermark has passed them, and are then gathered in the order of their event
//! times; so a row that comes out of order can join two others, and what has been gathered never has
//! to be taken apart. A session ends `gap` after its last row, and fires when the watermark has
//! passed that. A row is late when it lies before the watermark that its own partition told before it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch, TimestampNanosecondArray},
    compute::concat_batches,
    datatypes::{Field, Schema, SchemaRef, TimestampNanosecondType},
};
use datafusion::common::{Result as EngineResult, ScalarValue, exec_datafusion_err};

use super::{
    cells::{Arguments, Cells, arguments, columns},
    groups::Aggregation,
    keys::{Key, Keys, sorted},
    time::{TIMESTAMP, chosen, instant, instants, refused, told, windows},
    windowed::fitted,
};

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
    /// Rows that the watermark has not passed.
    waiting: Vec<RecordBatch>,
    /// The earliest of them.
    earliest: i64,
    open: BTreeMap<Key, Session>,
    watermark: i64,
    late: Vec<RecordBatch>,
}

#[derive(Debug)]
struct Session {
    start: i64,
    last: i64,
    cells: Cells,
}

/// A session that is over.
type Fired = (Key, Session);

impl Sessions {
    /// No rows yet.
    ///
    /// # Errors
    /// Where a key's type cannot be one.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        Ok(Self {
            keys: Keys::new(&plan.aggregation.keys)?,
            plan,
            waiting: Vec::new(),
            earliest: i64::MAX,
            open: BTreeMap::new(),
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
        let rows = chosen(rows, on_time)?;
        let earliest = instants(&rows, TIMESTAMP)?.values().iter().min().copied();
        if let Some(earliest) = earliest {
            self.earliest = self.earliest.min(earliest);
            self.waiting.push(rows);
        }
        Ok(())
    }

    /// Lets time come to an instant: the rows of sessions that are over, and the earliest start that
    /// one still to fire can have.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn advance(&mut self, watermark: i64) -> EngineResult<(Vec<RecordBatch>, i64)> {
        self.watermark = watermark;
        let mut fired = Vec::new();
        if self.earliest < watermark {
            let rows = self.passed(watermark)?;
            self.gather(&rows, &mut fired)?;
        }
        let gap = self.plan.gap;
        let over =
            self.open.extract_if(.., |_, session| session.last.saturating_add(gap) < watermark);
        fired.extend(over);
        let starts = self.open.values().map(|session| session.start);
        let earliest = starts.min().unwrap_or(watermark).min(self.earliest).min(watermark);
        let rows = if fired.is_empty() { Vec::new() } else { vec![self.rows(fired)?] };
        Ok((rows, earliest))
    }

    /// Takes the rows before the watermark out of those that wait.
    fn passed(&mut self, watermark: i64) -> EngineResult<RecordBatch> {
        let mut passed = Vec::new();
        self.earliest = i64::MAX;
        for rows in std::mem::take(&mut self.waiting) {
            let times = instants(&rows, TIMESTAMP)?.values().clone();
            passed.push(chosen(&rows, times.iter().map(|at| *at < watermark).collect())?);
            let later = chosen(&rows, times.iter().map(|at| *at >= watermark).collect())?;
            if let Some(earliest) = times.iter().filter(|at| **at >= watermark).min() {
                self.earliest = self.earliest.min(*earliest);
                self.waiting.push(later);
            }
        }
        let schema = passed.first().map(RecordBatch::schema);
        let schema = schema.ok_or_else(|| exec_datafusion_err!("no row waits"))?;
        Ok(concat_batches(&schema, &passed)?)
    }

    /// Gathers rows that no other can come before.
    fn gather(&mut self, rows: &RecordBatch, fired: &mut Vec<Fired>) -> EngineResult<()> {
        let plan = Arc::clone(&self.plan);
        let keys = self.keys.of(plan.aggregation.key_columns(rows), rows.num_rows())?;
        let times = instants(rows, TIMESTAMP)?.values().clone();
        let (rows, runs) = sorted(rows, keys, &times)?;
        let times = instants(&rows, TIMESTAMP)?.values().clone();
        let all = arguments(&plan.aggregation, &rows)?;
        for (key, run) in runs {
            let mut first = run.start;
            while first < run.end {
                let (next, session) = self.gather_one(&key, &times[..run.end], first, &all)?;
                fired.extend(session.map(|session| (key.clone(), session)));
                first = next;
            }
        }
        Ok(())
    }

    /// Gathers the rows of one key that belong to one session, from `first` on. Where they end, and
    /// the session that was before.
    fn gather_one(
        &mut self,
        key: &Key,
        times: &[i64],
        first: usize,
        all: &Arguments,
    ) -> EngineResult<(usize, Option<Session>)> {
        let gap = self.plan.gap;
        let over = self.open.get(key).is_some_and(|open| times[first] >= open.last + gap);
        let before = if over { self.open.remove(key) } else { None };
        let session = match self.open.entry(key.clone()) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                let cells = Cells::new(&self.plan.aggregation)?;
                none.insert(Session { start: times[first], last: times[first], cells })
            }
        };
        let mut next = first;
        while next < times.len() && times[next] < session.last.saturating_add(gap) {
            session.last = times[next];
            next += 1;
        }
        session.cells.update(all, first, next - first)?;
        Ok((next, before))
    }

    fn rows(&self, fired: Vec<Fired>) -> EngineResult<RecordBatch> {
        let gap = self.plan.gap;
        let (mut keys, mut starts, mut ends, mut values) = (vec![], vec![], vec![], vec![]);
        for (key, session) in fired {
            keys.push(key);
            starts.push(session.start);
            ends.push(session.last.saturating_add(gap));
            values.push(session.cells.evaluate()?);
        }
        let mut made = self.keys.columns(keys.iter())?;
        made.extend(columns(values)?);
        made.insert(self.plan.window_at, windows(starts.clone(), ends));
        made.push(Arc::new(TimestampNanosecondArray::from(starts)));
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
        let waiting = self.waiting.iter().map(|rows| ("waiting 0".to_owned(), rows.clone()));
        let mut parts: Vec<_> = waiting.collect();
        if self.open.is_empty() {
            return Ok(parts);
        }
        let mut made = self.keys.columns(self.open.keys())?;
        let rows = self.open.values_mut().map(|session| {
            let time = |at: i64| ScalarValue::TimestampNanosecond(Some(at), None);
            let mut row = vec![time(session.start), time(session.last)];
            row.extend(session.cells.state(&self.plan.aggregation)?);
            Ok(row)
        });
        made.extend(columns(rows.collect::<EngineResult<_>>()?)?);
        let field = |(at, column): (usize, &arrow::array::ArrayRef)| {
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
                let earliest = instants(&rows, TIMESTAMP)?.values().iter().min().copied();
                self.earliest = self.earliest.min(earliest.unwrap_or(i64::MAX));
                self.waiting.push(rows);
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
        for (row, key) in keys.into_iter().enumerate() {
            let mut cells = Cells::new(aggregation)?;
            cells.merge(aggregation, rows.slice(row, 1).columns(), width + 2)?;
            let session = Session { start: starts.value(row), last: lasts.value(row), cells };
            self.open.insert(key, session);
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let waiting = self.waiting.iter().map(RecordBatch::get_array_memory_size);
        let open = self.open.iter().map(|(key, session)| key.len() + session.cells.size());
        waiting.sum::<usize>() + open.sum::<usize>()
    }
}
