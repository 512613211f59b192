//! Lookup joins: each row meets the newest row of the table that it is looked up in, as of when it is
//! read. A row of the table changes what later rows meet, and nothing that came before. A table outside is
//! asked for the rows of a batch's keys, once for each batch, and nothing of it is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch, UInt64Array},
    compute::{cast, interleave_record_batch, take_record_batch},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::Result as EngineResult, error::DataFusionError, physical_plan::PhysicalExpr,
};

use super::{
    bytes,
    keys::{Key, Keys, sorted},
    stage::Stage,
};
use crate::redis::{Reader, Table};

/// What is joined.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The join as the engine executes it.
    pub stage: Stage,
    /// What has to be equal, on either side.
    pub on: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// The types of that.
    pub keys: SchemaRef,
    /// The table, where it lies outside: the first of the keys is that of its rows, a text.
    pub(crate) outside: Option<Outside>,
}

/// A table that is asked for rows.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    /// What is done to its rows before they are joined.
    pub right: Stage,
    pub table: Arc<Table>,
}

impl Outside {
    fn reader(&self) -> Box<(Stage, Reader)> {
        Box::new((self.right.clone(), Reader::new(Arc::clone(&self.table))))
    }
}

/// Rows beyond twice as many as there are keys, from which on the newest are brought together.
const REPLACED: usize = 1_024;

/// The table's newest rows.
#[derive(Debug)]
pub struct Lookup {
    plan: Arc<Plan>,
    keys: Keys,
    /// The rows in batches, with some that newer ones have replaced.
    batches: Vec<RecordBatch>,
    /// How many rows these are.
    rows: usize,
    /// The batch and the row of it that is each key's newest.
    newest: BTreeMap<Key, (usize, usize)>,
    outside: Option<Box<(Stage, Reader)>>,
}

impl Lookup {
    /// An empty table.
    ///
    /// # Errors
    /// Where what has to be equal is of a type that cannot be a key.
    pub fn new(plan: Arc<Plan>) -> EngineResult<Self> {
        let keys = Keys::new(&plan.keys)?;
        let outside = plan.outside.as_ref().map(Outside::reader);
        let (batches, newest) = (Vec::new(), BTreeMap::new());
        Ok(Self { plan, keys, batches, rows: 0, newest, outside })
    }

    /// Takes rows: of input 0 they are looked up and come out, of input 1 they are the table's.
    ///
    /// # Errors
    /// Where the join fails, or a table outside does not answer.
    pub async fn take(
        &mut self,
        input: usize,
        rows: &RecordBatch,
    ) -> EngineResult<Vec<RecordBatch>> {
        if let Some((right, reader)) = self.outside.as_deref_mut() {
            let met = asked(&self.plan.on[0][0], right, reader, rows).await?;
            return self.plan.stage.run(vec![vec![rows.clone()], met]).await;
        }
        let keys = self.keys.evaluated(&self.plan.on[input], rows)?;
        if input == 1 {
            self.keep(rows, keys)?;
            return Ok(Vec::new());
        }
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let met = wanted.iter().filter_map(|key| self.newest.get(key));
        let met = met.map(|(batch, row)| self.batches[*batch].slice(*row, 1)).collect();
        self.plan.stage.run(vec![vec![rows.clone()], met]).await
    }

    /// The last row of each key takes the place of the one before.
    fn keep(&mut self, rows: &RecordBatch, keys: Vec<Key>) -> EngineResult<()> {
        let (rows, runs) = sorted(rows, keys, &vec![0; rows.num_rows()])?;
        let last = runs.iter().map(|(_, run)| run.end as u64 - 1);
        let last = take_record_batch(&rows, &UInt64Array::from_iter_values(last))?;
        let batch = self.batches.len();
        self.rows += last.num_rows();
        self.batches.push(last);
        for (row, (key, _)) in runs.into_iter().enumerate() {
            self.newest.insert(key, (batch, row));
        }
        if self.rows > 2 * self.newest.len() + REPLACED {
            self.bring_together()?;
        }
        Ok(())
    }

    /// Makes one batch of the newest rows, in the order of their keys, and lets go of the others.
    fn bring_together(&mut self) -> EngineResult<()> {
        // A key has one row in a batch.
        if self.batches.len() < 2 {
            return Ok(());
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let places: Vec<(usize, usize)> = self.newest.values().copied().collect();
        let rows = interleave_record_batch(&batches, &places)?;
        for (row, place) in self.newest.values_mut().enumerate() {
            *place = (0, row);
        }
        self.rows = rows.num_rows();
        self.batches = vec![rows];
        Ok(())
    }

    /// The table's rows.
    ///
    /// # Errors
    /// Never in practice: they have one schema.
    pub fn save(&mut self) -> EngineResult<Vec<(String, RecordBatch)>> {
        self.bring_together()?;
        Ok(self.batches.iter().map(|rows| ("rows 0".to_owned(), rows.clone())).collect())
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
        let place = size_of::<(Key, (usize, usize))>();
        let keys = self.newest.keys().map(|key| key.len() + place);
        keys.sum::<usize>() + bytes(self.batches.iter())
    }
}

/// The rows of a table outside that have the keys of some rows.
async fn asked(
    key: &Arc<dyn PhysicalExpr>,
    right: &Stage,
    reader: &mut Reader,
    rows: &RecordBatch,
) -> EngineResult<Vec<RecordBatch>> {
    let keys = key.evaluate(rows)?.into_array(rows.num_rows())?;
    let keys = cast(&keys, &DataType::Utf8)?;
    let wanted: BTreeSet<&str> = keys.as_string::<i32>().iter().flatten().collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let found = reader.rows(&wanted).await;
    let found = found.map_err(|trouble| DataFusionError::External(Box::new(trouble)))?;
    right.run(vec![vec![found]]).await
}
