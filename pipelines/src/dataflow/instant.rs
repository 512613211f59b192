//! Queries over whole windows: joins of windows, window functions, aggregates over aggregates.
//!
//! Rows of one window carry its first instant. They are held until no more can come, then the query
//! runs over all of them at once, by the engine's own operators.

use std::collections::BTreeMap;

use arrow::{array::RecordBatch, compute::concat_batches};
use datafusion::common::Result as EngineResult;

use super::{
    bytes,
    stage::Stage,
    time::{TIMESTAMP, instants, split},
};

/// Rows that are held for a query over whole windows.
#[derive(Debug)]
pub struct Held {
    stage: Stage,
    /// Of each input, by window.
    inputs: Vec<BTreeMap<i64, Vec<RecordBatch>>>,
}

impl Held {
    /// No rows yet.
    #[must_use]
    pub fn new(stage: Stage, inputs: usize) -> Self {
        Self { stage, inputs: vec![BTreeMap::new(); inputs] }
    }

    /// Holds rows of an input.
    ///
    /// # Errors
    /// Where they have no event time.
    pub fn take(&mut self, input: usize, rows: &RecordBatch) -> EngineResult<()> {
        let windows = instants(rows, TIMESTAMP)?.values().clone();
        for (window, rows) in split(rows, &windows)? {
            self.inputs[input].entry(window).or_default().push(rows);
        }
        Ok(())
    }

    /// Runs the query over the windows of which no more rows can come.
    ///
    /// # Errors
    /// Where it fails.
    pub async fn advance(&mut self, watermark: i64) -> EngineResult<Vec<RecordBatch>> {
        let whole = |held: &mut BTreeMap<i64, Vec<RecordBatch>>| {
            let later = held.split_off(&watermark);
            std::mem::replace(held, later).into_values().flatten().collect::<Vec<_>>()
        };
        let inputs: Vec<_> = self.inputs.iter_mut().map(whole).collect();
        if inputs.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        self.stage.run(inputs).await
    }

    /// The rows that are held, each input's in one.
    ///
    /// # Errors
    /// Never in practice: an input's rows have one schema.
    pub fn save(&self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let mut parts = Vec::new();
        for (input, held) in self.inputs.iter().enumerate() {
            let rows: Vec<_> = held.values().flatten().collect();
            if let Some(first) = rows.first() {
                parts.push((format!("input {input}"), concat_batches(&first.schema(), rows)?));
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
            let (_, input) = super::state::number(&name)?;
            let input = usize::try_from(input).unwrap_or(usize::MAX);
            if input >= self.inputs.len() {
                return super::state::other(&name);
            }
            self.take(input, &rows)?;
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        bytes(self.inputs.iter().flat_map(BTreeMap::values).flatten())
    }
}
