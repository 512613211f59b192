//! Rows that wait until time has passed them.
//!
//! They lie in slices of time, so that a step of time looks at the rows of one slice, however many
//! wait in the others.

use std::collections::BTreeMap;

use arrow::{array::RecordBatch, compute::concat_batches};
use datafusion::common::{Result as EngineResult, exec_datafusion_err};

use super::{
    bytes,
    time::{TIMESTAMP, bin, chosen, instants, refused, split},
};

/// How long a slice is, in nanoseconds.
const SLICE: i64 = 10_000_000_000;

/// The rows that wait.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<i64, Vec<RecordBatch>>);

impl Waiting {
    /// Adds rows.
    ///
    /// # Errors
    /// Where they have no event time.
    pub fn add(&mut self, rows: &RecordBatch) -> EngineResult<()> {
        let times = instants(rows, TIMESTAMP)?.values().iter();
        let slices: Vec<i64> = times.map(|at| bin(*at, SLICE)).collect();
        for (slice, rows) in split(rows, &slices)? {
            self.0.entry(slice).or_default().push(rows);
        }
        Ok(())
    }

    /// Takes out the rows before an instant, if there are any.
    ///
    /// # Errors
    /// Never in practice: all rows have one schema.
    pub fn take_before(&mut self, instant: i64) -> EngineResult<Option<RecordBatch>> {
        let later = self.0.split_off(&bin(instant, SLICE));
        let before = std::mem::replace(&mut self.0, later);
        let mut before: Vec<RecordBatch> = before.into_values().flatten().collect();
        // Of the slice in which the instant lies a part is taken.
        if let Some(rows) = self.0.remove(&bin(instant, SLICE)) {
            let rows = one(&rows)?;
            let wanted: Vec<bool> =
                instants(&rows, TIMESTAMP)?.values().iter().map(|at| *at < instant).collect();
            if let Some(later) = refused(&rows, &wanted)? {
                self.0.insert(bin(instant, SLICE), vec![later]);
            }
            before.push(chosen(&rows, wanted)?);
        }
        before.retain(|rows| rows.num_rows() > 0);
        if before.is_empty() { Ok(None) } else { one(&before).map(Some) }
    }

    /// The earliest instant of a row.
    ///
    /// # Errors
    /// Where rows have no event time.
    pub fn earliest(&self) -> EngineResult<Option<i64>> {
        let mut earliest = None;
        for rows in self.0.values().next().into_iter().flatten() {
            let least = instants(rows, TIMESTAMP)?.values().iter().min().copied();
            earliest = earliest.into_iter().chain(least).min();
        }
        Ok(earliest)
    }

    /// All rows, in slices of time.
    ///
    /// # Errors
    /// Never in practice: all rows have one schema.
    pub fn all(&mut self) -> EngineResult<Vec<RecordBatch>> {
        for rows in self.0.values_mut() {
            *rows = vec![one(rows)?];
        }
        Ok(self.0.values().flatten().cloned().collect())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        bytes(self.0.values().flatten())
    }
}

/// Batches as one.
fn one(rows: &[RecordBatch]) -> EngineResult<RecordBatch> {
    match rows {
        [rows] => Ok(rows.clone()),
        rows => {
            let first = rows.first().ok_or_else(|| exec_datafusion_err!("no row waits"))?;
            Ok(concat_batches(&first.schema(), rows)?)
        }
    }
}
