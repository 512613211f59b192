//! Joins without windows: each row is kept for the time to live, and meets the rows of the other side
//! that are within that time of it, by event time, and within that time of what its own partition had
//! told. The query says so of each pair, so it is not seen when exactly rows are let go of, nor that a
//! flow that takes up what was saved forgets when the last were.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, RecordBatch},
    compute::concat_batches,
    datatypes::SchemaRef,
};
use datafusion::{common::Result as EngineResult, physical_plan::PhysicalExpr};

use super::{
    keys::{Key, Keys, sorted},
    stage::Stage,
    time::{TIMESTAMP, instants},
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

/// Rows of one key with the latest event time among them.
type Kept = (i64, RecordBatch);

/// The rows that are kept.
#[derive(Debug)]
pub struct Join {
    plan: Arc<Plan>,
    keys: Keys,
    sides: [BTreeMap<Key, Vec<Kept>>; 2],
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
            if let Some(kept) = self.sides[other].get(&key) {
                met.extend(kept.iter().map(|(_, rows)| rows.clone()));
            }
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

    fn keep(&mut self, side: usize, rows: &RecordBatch) -> EngineResult<Vec<Key>> {
        let keys = self.keys.evaluated(&self.plan.on[side], rows)?;
        let times = instants(rows, TIMESTAMP)?.values().clone();
        let (rows, runs) = sorted(rows, keys, &times)?;
        let times = instants(&rows, TIMESTAMP)?.values();
        let mut came = Vec::with_capacity(runs.len());
        for (key, run) in runs {
            let latest = times[run.clone()].iter().max().copied().unwrap_or(i64::MIN);
            let kept = (latest, rows.slice(run.start, run.len()));
            self.sides[side].entry(key.clone()).or_default().push(kept);
            came.push(key);
        }
        Ok(came)
    }

    /// Lets go of rows that are past their time.
    pub fn advance(&mut self, watermark: i64) {
        let from = watermark.saturating_sub(self.plan.time_to_live);
        // Looking through everything is worth it when a tenth of the time to live has passed.
        if from < self.kept_from.saturating_add(self.plan.time_to_live / 10) {
            return;
        }
        self.kept_from = from;
        for side in &mut self.sides {
            side.retain(|_, kept| {
                kept.retain(|(latest, _)| *latest >= from);
                !kept.is_empty()
            });
        }
    }

    /// The rows that are kept, each side's in one.
    ///
    /// # Errors
    /// Never in practice: a side's rows have one schema.
    pub fn save(&self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let mut parts = Vec::new();
        for (side, kept) in self.sides.iter().enumerate() {
            let rows: Vec<_> = kept.values().flatten().map(|(_, rows)| rows).collect();
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
        let rows = self.sides.iter().flat_map(BTreeMap::values).flatten();
        let columns = rows.flat_map(|(_, rows)| rows.columns());
        // The keys of a batch share its memory, each a part of it.
        columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }
}
