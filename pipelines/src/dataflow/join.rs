//! Joins without windows: each row is kept for the time to live, and meets the rows of the other side
//! that are within that time of it, by event time, and within that time of what its own partition had
//! told. The query says so of each pair, so it is not seen when exactly rows are let go of, nor that a
//! flow that takes up what was saved forgets when the last were.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef};
use datafusion::{common::Result as EngineResult, physical_plan::PhysicalExpr};

use super::{
    bytes,
    keys::{Key, Keys, sorted},
    pieces::Pieces,
    stage::Stage,
    time::{TIMESTAMP, bin, instants, split},
};

/// What is joined.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The join as the engine executes it.
    pub stage: Stage,
    /// What has to be equal, on either side.
    pub on: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// The types of that.
    pub keys: SchemaRef,
    /// How long a row is kept, in nanoseconds of event time.
    pub time_to_live: i64,
}

/// Rows of one key: the slice of time in which they lie, the place of the first, and their number.
type Place = (i64, usize, usize);

/// The rows of one side.
#[derive(Debug, Default)]
struct Side {
    /// By slices of time, so that those that are past their time go together.
    slices: BTreeMap<i64, Pieces>,
    places: BTreeMap<Key, Vec<Place>>,
}

/// The rows that are kept.
#[derive(Debug)]
pub struct Join {
    plan: Arc<Plan>,
    keys: Keys,
    sides: [Side; 2],
    /// What lies before is let go of.
    kept_from: i64,
}

impl Join {
    /// No rows yet.
    ///
    /// # Errors
    /// Where what has to be equal is of a type that cannot be a key.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        let keys = Keys::new(&plan.keys)?;
        Ok(Self { plan, keys, sides: Default::default(), kept_from: i64::MIN })
    }

    /// Keeps rows of a side; the pairs that they make with rows of the other.
    ///
    /// # Errors
    /// Where the join fails.
    pub async fn take(
        &mut self,
        side: usize,
        rows: &RecordBatch,
    ) -> EngineResult<Vec<RecordBatch>> {
        let other = 1 - side;
        let mut met = Vec::new();
        for key in self.keep(side, rows)? {
            met.extend(self.sides[other].of(&key));
        }
        if met.is_empty() {
            return Ok(Vec::new());
        }
        let mut inputs = vec![vec![rows.clone()], met];
        if side == 1 {
            inputs.reverse();
        }
        self.plan.stage.run(inputs).await
    }

    /// Keeps rows of a side; the keys that they have.
    fn keep(&mut self, side: usize, rows: &RecordBatch) -> EngineResult<BTreeSet<Key>> {
        let width = self.plan.slice();
        let times = instants(rows, TIMESTAMP)?.values().iter();
        let slices: Vec<i64> = times.map(|at| bin(*at, width)).collect();
        let mut came = BTreeSet::new();
        for (slice, rows) in split(rows, &slices)? {
            let keys = self.keys.evaluated(&self.plan.on[side], &rows)?;
            let times = instants(&rows, TIMESTAMP)?.values().clone();
            let (rows, runs) = sorted(&rows, keys, &times)?;
            let Side { slices, places } = &mut self.sides[side];
            let first = slices.entry(slice).or_default().push(rows)?;
            for (key, run) in runs {
                let place = (slice, first + run.start, run.len());
                places.entry(Arc::clone(&key)).or_default().push(place);
                came.insert(key);
            }
        }
        Ok(came)
    }

    /// Lets go of rows that are past their time.
    pub fn advance(&mut self, watermark: i64) {
        let from = watermark.saturating_sub(self.plan.time_to_live);
        let slice = self.plan.slice();
        // Looking through all keys is worth it when a slice of time has passed.
        if from < self.kept_from.saturating_add(slice) {
            return;
        }
        self.kept_from = from;
        for side in &mut self.sides {
            side.let_go(from.saturating_sub(slice).saturating_add(1));
        }
    }

    /// The rows that are kept, each side's in one.
    ///
    /// # Errors
    /// Never in practice: a side's rows have one schema.
    pub fn save(&self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let mut parts = Vec::new();
        for (side, kept) in self.sides.iter().enumerate() {
            let rows: Vec<_> = kept.batches().collect();
            if let Some(first) = rows.first() {
                parts.push((format!("side {side}"), concat_batches(&first.schema(), rows)?));
            }
        }
        Ok(parts)
    }

    /// Takes up what was saved.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(&mut self, parts: Vec<(String, RecordBatch)>) -> EngineResult<()> {
        for (name, rows) in parts {
            match super::state::number(&name)? {
                ("side", side @ (0 | 1)) => {
                    self.keep(usize::from(side == 1), &rows)?;
                }
                _ => return super::state::other(&name),
            }
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let places = self.sides.iter().flat_map(|side| &side.places).map(|(key, places)| {
            size_of::<(Key, Vec<Place>)>() + key.len() + places.capacity() * size_of::<Place>()
        });
        places.sum::<usize>() + bytes(self.sides.iter().flat_map(Side::batches))
    }
}

impl Plan {
    /// How long a slice of time is, in nanoseconds.
    fn slice(&self) -> i64 {
        (self.time_to_live / 10).max(1)
    }
}

impl Side {
    /// The rows of a key.
    fn of(&self, key: &Key) -> impl Iterator<Item = RecordBatch> {
        let places = self.places.get(key).into_iter().flatten();
        places.filter_map(move |(slice, first, rows)| self.slices.get(slice)?.get(*first, *rows))
    }

    /// Lets go of the slices before an instant.
    fn let_go(&mut self, instant: i64) {
        let kept = self.slices.split_off(&instant);
        if std::mem::replace(&mut self.slices, kept).is_empty() {
            return;
        }
        self.places.retain(|_, places| {
            places.retain(|(slice, ..)| *slice >= instant);
            !places.is_empty()
        });
    }

    fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.slices.values().flat_map(|slice| slice.batches())
    }
}
