//! Aggregates without a window: what they said before is taken back when it changes.
//!
//! Changes gather until the next flush, so a key that changes often is told once. A key that no row
//! has touched for the time to live, by event time, is let go of; what it said stays said.
//!
//! Over rows that can themselves be taken back, the distinct arguments of each aggregate are kept
//! with how often each stands, and the aggregate is worked out from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampNanosecondArray,
        UInt32Array,
    },
    compute::take,
    datatypes::{Field, Int64Type, Schema, SchemaRef},
};
use datafusion::common::{Result as EngineResult, ScalarValue, exec_datafusion_err};

use super::{
    cells::{Arguments, Cells, arguments, columns},
    groups::Aggregation,
    keys::{Key, Keys, sorted},
    packed::{Packed, Packing},
    time::{RETRACT, TIMESTAMP, instants},
    windowed::fitted,
};

/// How rows are gathered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Keys and aggregates.
    pub aggregation: Aggregation,
    /// How long a key lives that no row touches, in nanoseconds of event time.
    pub time_to_live: i64,
    /// Whether rows that come can take back others.
    pub over_updates: bool,
    /// The columns that come out.
    pub output: SchemaRef,
}

/// The keys that live.
#[derive(Debug)]
pub struct Updating {
    plan: Arc<Plan>,
    keys: Keys,
    packing: Packing,
    live: BTreeMap<Key, Entry>,
    /// The same by when a row touched them last: each step of time asks which have been left alone.
    by_touch: BTreeSet<(i64, Key)>,
    /// Keys that changed since the last flush.
    changed: BTreeSet<Key>,
}

#[derive(Debug)]
struct Entry {
    gathered: Gathered,
    /// Rows that stand.
    rows: i64,
    /// The latest event time of a row.
    touched: i64,
    /// What was said of the key last.
    told: Option<Vec<ScalarValue>>,
}

#[derive(Debug)]
enum Gathered {
    /// Rows only come.
    Rows(Rows),
    /// Rows come and are taken back: of each aggregate, its arguments and how often each stands.
    Counts(Vec<Counts>),
}

/// What rows that only come have left.
#[derive(Debug)]
struct Rows {
    /// None where no row has come since `packed` was made.
    at_work: Option<Cells>,
    /// The aggregates as they were saved last.
    packed: Packed,
}

#[derive(Debug)]
struct Counts {
    keys: Keys,
    counts: BTreeMap<Key, i64>,
}

impl Updating {
    /// No rows yet.
    ///
    /// # Errors
    /// Where a key's type cannot be one.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        let keys = Keys::new(&plan.aggregation.keys)?;
        let packing = Packing::new(&plan.aggregation)?;
        let (live, by_touch, changed) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { plan, keys, packing, live, by_touch, changed })
    }

    /// Gathers rows.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn take(&mut self, rows: &RecordBatch) -> EngineResult<()> {
        let plan = Arc::clone(&self.plan);
        let keys = self.keys.of(plan.aggregation.key_columns(rows), rows.num_rows())?;
        // The order of coming is the order that counts, for a first or a last value too.
        let (rows, runs) = sorted(rows, keys, &vec![0; rows.num_rows()])?;
        let times = instants(&rows, TIMESTAMP)?.values();
        let all = arguments(&plan.aggregation, &rows)?;
        let back = rows.column_by_name(RETRACT).map(|back| back.as_boolean().clone());
        for (key, run) in runs {
            let entry = match self.live.entry(key.clone()) {
                std::collections::btree_map::Entry::Occupied(live) => live.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => {
                    none.insert(Entry::new(&plan, &all)?)
                }
            };
            let latest = times[run.clone()].iter().max().copied();
            self.by_touch.remove(&(entry.touched, Arc::clone(&key)));
            entry.touched = entry.touched.max(latest.unwrap_or(i64::MIN));
            self.by_touch.insert((entry.touched, Arc::clone(&key)));
            entry.gather(&plan, &self.packing, &all, back.as_ref(), run)?;
            self.changed.insert(key);
        }
        Ok(())
    }

    /// What changed since the last flush: what was said is taken back, what holds is said.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn flush(&mut self) -> EngineResult<Vec<RecordBatch>> {
        let (mut keys, mut values, mut times, mut back) = (vec![], vec![], vec![], vec![]);
        for key in std::mem::take(&mut self.changed) {
            let Some(entry) = self.live.get_mut(&key) else { continue };
            let stands = entry.rows > 0;
            let holds = stands.then(|| entry.evaluate(&self.plan, &self.packing)).transpose()?;
            if entry.told == holds {
                // What came and was taken back before anything was said of it has left nothing.
                if entry.rows == 0 {
                    self.let_go(&key);
                }
                continue;
            }
            let said = [(entry.told.take(), true), (holds.clone(), false)];
            for (row, retract) in said {
                let Some(row) = row else { continue };
                keys.push(key.clone());
                values.push(row);
                times.push(entry.touched);
                back.push(retract);
            }
            if holds.is_none() {
                self.let_go(&key);
            } else {
                entry.told = holds;
            }
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut made = self.keys.columns(keys.iter())?;
        made.extend(columns(values)?);
        made.push(Arc::new(TimestampNanosecondArray::from(times)));
        made.push(Arc::new(BooleanArray::from(back)));
        Ok(vec![fitted(&self.plan.output, made)?])
    }

    /// Lets go of keys that nothing has touched for the time to live.
    pub fn advance(&mut self, watermark: i64) {
        let before = watermark.saturating_sub(self.plan.time_to_live);
        let left = self.by_touch.iter().take_while(|(touched, _)| *touched < before);
        // What has not been said yet is said first.
        let left = left.filter(|(_, key)| !self.changed.contains(key));
        let left: Vec<Key> = left.map(|(_, key)| Arc::clone(key)).collect();
        for key in left {
            self.let_go(&key);
        }
    }

    fn let_go(&mut self, key: &Key) {
        if let Some(entry) = self.live.remove(key) {
            self.by_touch.remove(&(entry.touched, Arc::clone(key)));
        }
    }

    /// The keys that live, with what was gathered; whoever saves has flushed before.
    ///
    /// # Errors
    /// Where an aggregate cannot tell its state.
    pub fn save(&mut self) -> EngineResult<Vec<(String, RecordBatch)>> {
        if self.live.is_empty() {
            return Ok(Vec::new());
        }
        let mut made = self.keys.columns(self.live.keys())?;
        let entries = || self.live.values();
        made.push(Arc::new(entries().map(|entry| Some(entry.rows)).collect::<Int64Array>()));
        made.push(Arc::new(entries().map(|entry| Some(entry.touched)).collect::<Int64Array>()));
        let mut parts = Vec::new();
        if self.plan.over_updates {
            for aggregate in 0..self.plan.aggregation.aggregates.len() {
                parts.push((format!("counts {aggregate}"), self.counts(aggregate)?));
            }
        } else {
            made.extend(self.states()?);
        }
        parts.insert(0, ("keys 0".to_owned(), unnamed(made)?));
        Ok(parts)
    }

    /// What the aggregates of all keys have gathered. Accumulators tell it of those keys alone that rows
    /// have come for since it was asked last.
    fn states(&mut self) -> EngineResult<Vec<ArrayRef>> {
        let at_work = self.live.values_mut().filter_map(|entry| match &mut entry.gathered {
            Gathered::Rows(rows) => Some((rows.at_work.take()?, &mut rows.packed)),
            Gathered::Counts(_) => None,
        });
        let (cells, places): (Vec<Cells>, Vec<&mut Packed>) = at_work.unzip();
        let packed = if cells.is_empty() { Vec::new() } else { self.packing.pack(cells)? };
        for (place, packed) in places.into_iter().zip(packed) {
            *place = packed;
        }
        self.packing.columns(self.live.values().filter_map(|entry| match &entry.gathered {
            Gathered::Rows(rows) => Some(&rows.packed),
            Gathered::Counts(_) => None,
        }))
    }

    /// One aggregate's arguments, how often each stands, and the place of its key.
    fn counts(&self, aggregate: usize) -> EngineResult<RecordBatch> {
        let (mut places, mut counts, mut arguments) = (vec![], vec![], vec![]);
        let mut converter = None;
        for (place, entry) in (0_i64..).zip(self.live.values()) {
            let Gathered::Counts(all) = &entry.gathered else { continue };
            converter = Some(&all[aggregate].keys);
            for (argument, count) in &all[aggregate].counts {
                places.push(place);
                counts.push(*count);
                arguments.push(argument);
            }
        }
        let mut made: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(places)), Arc::new(Int64Array::from(counts))];
        if let Some(converter) = converter {
            made.extend(converter.columns(arguments.into_iter())?);
        }
        unnamed(made)
    }

    /// Takes up what was saved.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(&mut self, parts: Vec<(String, RecordBatch)>) -> EngineResult<()> {
        let mut order = Vec::new();
        let plan = Arc::clone(&self.plan);
        for (name, rows) in parts {
            match super::state::number(&name)? {
                ("keys", _) => order = self.load_keys(&rows)?,
                (_, aggregate) => {
                    let aggregate = usize::try_from(aggregate).unwrap_or(usize::MAX);
                    self.load_counts(&order, aggregate, &rows)?;
                }
            }
        }
        for entry in self.live.values_mut() {
            // Nothing is said of a key of which no row stands.
            let stands = entry.rows > 0;
            entry.told = stands.then(|| entry.evaluate(&plan, &self.packing)).transpose()?;
        }
        Ok(())
    }

    fn load_keys(&mut self, rows: &RecordBatch) -> EngineResult<Vec<Key>> {
        let plan = &self.plan;
        let width = plan.aggregation.keys.fields().len();
        let keys = self.keys.of(plan.aggregation.key_columns(rows), rows.num_rows())?;
        let (stand, touched) = (numbers(rows, width)?, numbers(rows, width + 1)?);
        let mut packed = Vec::new();
        if !plan.over_updates {
            let states = rows.columns().get(width + 2..).unwrap_or_default();
            packed = self.packing.of(states, rows.num_rows())?;
        }
        let mut packed = packed.into_iter();
        for (row, key) in keys.iter().enumerate() {
            let gathered = match packed.next() {
                Some(packed) => Gathered::Rows(Rows { at_work: None, packed }),
                None => no_counts(plan)?,
            };
            let (rows, touched) = (stand.value(row), touched.value(row));
            self.by_touch.insert((touched, Arc::clone(key)));
            self.live.insert(key.clone(), Entry { gathered, rows, touched, told: None });
        }
        Ok(keys)
    }

    fn load_counts(
        &mut self,
        order: &[Key],
        aggregate: usize,
        rows: &RecordBatch,
    ) -> EngineResult<()> {
        let arguments = &rows.columns()[2..];
        let converter = || Keys::new(&types(arguments));
        let values = converter()?.of(arguments, rows.num_rows())?;
        let (places, stand) = (numbers(rows, 0)?, numbers(rows, 1)?);
        for (row, value) in values.into_iter().enumerate() {
            let key = usize::try_from(places.value(row)).ok().and_then(|place| order.get(place));
            let entry = key.and_then(|key| self.live.get_mut(key));
            let Some(Gathered::Counts(all)) = entry.map(|entry| &mut entry.gathered) else {
                return super::state::other("counts");
            };
            let Some(counts) = all.get_mut(aggregate) else {
                return super::state::other("counts");
            };
            if counts.counts.is_empty() {
                counts.keys = converter()?;
            }
            counts.counts.insert(value, stand.value(row));
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.live.iter().map(|(key, entry)| entry.size(key)).sum()
    }
}

impl Entry {
    fn new(plan: &Plan, all: &Arguments) -> EngineResult<Self> {
        let gathered = if plan.over_updates {
            let counts = |(values, _): &(Vec<ArrayRef>, Option<BooleanArray>)| {
                Ok(Counts { keys: Keys::new(&types(values))?, counts: BTreeMap::new() })
            };
            Gathered::Counts(all.iter().map(counts).collect::<EngineResult<_>>()?)
        } else {
            let at_work = Some(Cells::new(&plan.aggregation)?);
            Gathered::Rows(Rows { at_work, packed: Packed::default() })
        };
        Ok(Self { gathered, rows: 0, touched: i64::MIN, told: None })
    }

    fn gather(
        &mut self,
        plan: &Plan,
        packing: &Packing,
        all: &Arguments,
        back: Option<&BooleanArray>,
        run: std::ops::Range<usize>,
    ) -> EngineResult<()> {
        let sign = |row: usize| if back.is_some_and(|back| back.value(row)) { -1 } else { 1 };
        self.rows += run.clone().map(sign).sum::<i64>();
        match &mut self.gathered {
            Gathered::Rows(rows) => {
                rows.cells(&plan.aggregation, packing)?.update(all, run.start, run.len())
            }
            Gathered::Counts(each) => {
                for (counts, arguments) in each.iter_mut().zip(all) {
                    let values: Vec<ArrayRef> = arguments
                        .0
                        .iter()
                        .map(|values| values.slice(run.start, run.len()))
                        .collect();
                    let values = counts.keys.of(&values, run.len())?;
                    let wanted = arguments.1.as_ref();
                    for (row, value) in run.clone().zip(values) {
                        if wanted.is_none_or(|wanted| wanted.is_valid(row) && wanted.value(row)) {
                            let count = counts.counts.entry(value.clone()).or_insert(0);
                            *count += sign(row);
                            if *count == 0 {
                                counts.counts.remove(&value);
                            }
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn evaluate(&mut self, plan: &Plan, packing: &Packing) -> EngineResult<Vec<ScalarValue>> {
        let each = match &mut self.gathered {
            Gathered::Rows(rows) => return rows.so_far(&plan.aggregation, packing),
            Gathered::Counts(each) => each,
        };
        let mut values = Vec::with_capacity(each.len());
        for (counts, lowered) in each.iter().zip(&plan.aggregation.aggregates) {
            let mut accumulator = lowered.aggregate.create_accumulator()?;
            if !counts.counts.is_empty() {
                accumulator.update_batch(&counts.standing()?)?;
            }
            values.push(accumulator.evaluate()?);
        }
        Ok(values)
    }

    /// Bytes that it takes under its key and in the order of touch, with what was told of it.
    fn size(&self, key: &Key) -> usize {
        let gathered = match &self.gathered {
            Gathered::Rows(rows) => {
                rows.at_work.as_ref().map_or(0, Cells::size) + rows.packed.len()
            }
            Gathered::Counts(each) => {
                let bytes = |counts: &Counts| {
                    counts
                        .counts
                        .keys()
                        .map(|key| key.len() + size_of::<(Key, i64)>())
                        .sum::<usize>()
                };
                each.iter().map(bytes).sum()
            }
        };
        let told = self.told.as_ref().map_or(0, ScalarValue::size_of_vec);
        size_of::<(Key, Self)>() + size_of::<(i64, Key)>() + key.len() + gathered + told
    }
}

impl Rows {
    /// Aggregates that gather on.
    fn cells(&mut self, aggregation: &Aggregation, packing: &Packing) -> EngineResult<&mut Cells> {
        match &mut self.at_work {
            Some(cells) => Ok(cells),
            none => Ok(none.insert(unpacked(aggregation, packing, &self.packed)?)),
        }
    }

    /// The aggregates' values so far.
    fn so_far(
        &mut self,
        aggregation: &Aggregation,
        packing: &Packing,
    ) -> EngineResult<Vec<ScalarValue>> {
        match &mut self.at_work {
            Some(cells) => cells.so_far(aggregation),
            None => unpacked(aggregation, packing, &self.packed)?.evaluate(),
        }
    }
}

fn unpacked(aggregation: &Aggregation, packing: &Packing, packed: &Packed) -> EngineResult<Cells> {
    Cells::of(aggregation, &packing.columns(std::iter::once(packed))?)
}

impl Counts {
    /// The arguments, each as often as it stands.
    fn standing(&self) -> EngineResult<Vec<ArrayRef>> {
        let columns = self.keys.columns(self.counts.keys())?;
        let mut places = Vec::new();
        for (place, count) in (0_u32..).zip(self.counts.values()) {
            places.extend(std::iter::repeat_n(place, usize::try_from(*count).unwrap_or(0)));
        }
        let places = UInt32Array::from(places);
        Ok(columns.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?)
    }
}

/// Of a key that was saved, before its arguments are read.
fn no_counts(plan: &Plan) -> EngineResult<Gathered> {
    let schema = Arc::new(Schema::empty());
    let none = |_| Ok(Counts { keys: Keys::new(&schema)?, counts: BTreeMap::new() });
    let each = plan.aggregation.aggregates.iter().map(none);
    Ok(Gathered::Counts(each.collect::<EngineResult<_>>()?))
}

/// The types of columns.
fn types(columns: &[ArrayRef]) -> SchemaRef {
    let field = |(at, column): (usize, &ArrayRef)| {
        Field::new(format!("_{at}"), column.data_type().clone(), true)
    };
    Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()))
}

fn unnamed(columns: Vec<ArrayRef>) -> EngineResult<RecordBatch> {
    Ok(RecordBatch::try_new(types(&columns), columns)?)
}

fn numbers(rows: &RecordBatch, column: usize) -> EngineResult<&Int64Array> {
    let column = rows.columns().get(column);
    let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.ok_or_else(|| exec_datafusion_err!("the kept state is of another query"))
}
