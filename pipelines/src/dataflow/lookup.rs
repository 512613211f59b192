//! Lookup joins: each row meets the newest row of the table that it is looked up in, as of when it is
//! read. A row of the table changes what later rows meet, and nothing that came before. A table outside is
//! asked for the rows of a batch's keys, once for each batch, and nothing of it is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::Result as EngineResult, error::DataFusionError, physical_plan::PhysicalExpr,
};

use super::{
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

/// The table's newest rows.
#[derive(Debug)]
pub struct Lookup {
    plan: Arc<Plan>,
    keys: Keys,
    newest: BTreeMap<Key, RecordBatch>,
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
        Ok(Self { plan, keys, newest: BTreeMap::new(), outside })
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
