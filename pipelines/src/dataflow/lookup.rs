//! Lookup joins: each row meets the newest row of the table that it is looked up in, as of when it is
//! read. A row of the table changes what later rows meet, and nothing that came before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef};
use datafusion::{common::Result as EngineResult, physical_plan::PhysicalExpr};

use super::{
    keys::{Key, Keys, sorted},
    stage::Stage,
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
}

/// The table's newest rows.
#[derive(Debug)]
pub struct Lookup {
    plan: Arc<Plan>,
    keys: Keys,
    newest: BTreeMap<Key, RecordBatch>,
}

impl Lookup {
    /// An empty table.
    ///
    /// # Errors
    /// Where what has to be equal is of a type that cannot be a key.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        let keys = Keys::new(&plan.keys)?;
        Ok(Self { plan, keys, newest: BTreeMap::new() })
    }

    /// Takes rows: of input 0 they are looked up and come out, of input 1 they are the table's.
    ///
    /// # Errors
    /// Where the join fails.
    pub async fn take(
        &mut self,
        input: usize,
        rows: &RecordBatch,
    ) -> EngineResult<Vec<RecordBatch>> {
        let keys = self.keys.evaluated(&self.plan.on[input], rows)?;
        if input == 1 {
            self.keep(rows, keys)?;
            return Ok(Vec::new());
        }
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let met = wanted.iter().filter_map(|key| self.newest.get(key)).cloned().collect();
        self.plan.stage.run(vec![vec![rows.clone()], met]).await
    }

    /// The last row of each key takes the place of the one before.
    fn keep(&mut self, rows: &RecordBatch, keys: Vec<Key>) -> EngineResult<()> {
        let (rows, runs) = sorted(rows, keys, &vec![0; rows.num_rows()])?;
        for (key, run) in runs {
            // A copy, so that a row does not keep its whole batch in memory.
            let last = rows.slice(run.end - 1, 1);
            self.newest.insert(key, concat_batches(&last.schema(), [&last])?);
        }
        Ok(())
    }

    /// The table's rows.
    ///
    /// # Errors
    /// Never in practice: they have one schema.
    pub fn save(&self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let Some(first) = self.newest.values().next() else { return Ok(Vec::new()) };
        let rows = concat_batches(&first.schema(), self.newest.values())?;
        Ok(vec![("rows 0".to_owned(), rows)])
    }

    /// Takes up what was saved.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(&mut self, parts: Vec<(String, RecordBatch)>) -> EngineResult<()> {
        for (name, rows) in parts {
            match super::state::number(&name)? {
                ("rows", _) => {
                    let keys = self.keys.evaluated(&self.plan.on[1], &rows)?;
                    self.keep(&rows, keys)?;
                }
                _ => return super::state::other(&name),
            }
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let sizes = self.newest.iter();
        sizes.map(|(key, row)| key.len() + row.get_array_memory_size()).sum()
    }
}
