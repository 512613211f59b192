//! The aggregates of one key, each in an accumulator of its own.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch},
    compute::filter,
};
use datafusion::{
    common::{Result as EngineResult, ScalarValue, exec_err},
    logical_expr::Accumulator,
};

use super::groups::Aggregation;

/// The aggregates of one key.
#[derive(Debug)]
pub struct Cells(Vec<Box<dyn Accumulator>>);

/// The arguments of every aggregate over a batch, and which of its rows each counts.
pub type Arguments = Vec<(Vec<ArrayRef>, Option<BooleanArray>)>;

/// The arguments of every aggregate over a batch.
///
/// # Errors
/// Where one cannot be evaluated.
pub fn arguments(aggregation: &Aggregation, rows: &RecordBatch) -> EngineResult<Arguments> {
    (0..aggregation.aggregates.len()).map(|at| aggregation.arguments(at, rows)).collect()
}

/// What an aggregate counts of some consecutive rows.
///
/// # Errors
/// Never in practice: filters are as long as their rows.
pub fn counted(
    (values, wanted): &(Vec<ArrayRef>, Option<BooleanArray>),
    first: usize,
    rows: usize,
) -> EngineResult<Vec<ArrayRef>> {
    let slice = |values: &ArrayRef| values.slice(first, rows);
    let values = values.iter().map(slice);
    let Some(wanted) = wanted else { return Ok(values.collect()) };
    let wanted = wanted.slice(first, rows);
    Ok(values.map(|values| filter(&values, &wanted)).collect::<Result<_, _>>()?)
}

impl Cells {
    /// Nothing gathered.
    ///
    /// # Errors
    /// Where the engine has no accumulator for an aggregate.
    pub fn new(aggregation: &Aggregation) -> EngineResult<Self> {
        let aggregates = aggregation.aggregates.iter();
        Ok(Self(
            aggregates.map(|one| one.aggregate.create_accumulator()).collect::<Result<_, _>>()?,
        ))
    }

    /// Gathers consecutive rows.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn update(&mut self, all: &Arguments, first: usize, rows: usize) -> EngineResult<()> {
        for (cell, arguments) in self.0.iter_mut().zip(all) {
            cell.update_batch(&counted(arguments, first, rows)?)?;
        }
        Ok(())
    }

    /// The aggregates' values, of cells that gather no more.
    ///
    /// # Errors
    /// Where one cannot be told.
    pub fn evaluate(mut self) -> EngineResult<Vec<ScalarValue>> {
        self.0.iter_mut().map(|cell| cell.evaluate()).collect()
    }

    /// The aggregates' values so far. An accumulator may give away what it holds when it tells its
    /// state, so these are made anew from what they told.
    ///
    /// # Errors
    /// Where one cannot be told.
    pub fn so_far(&mut self, aggregation: &Aggregation) -> EngineResult<Vec<ScalarValue>> {
        let state = self.give_state()?;
        *self = Self::told(aggregation, &state)?;
        Self::told(aggregation, &state)?.evaluate()
    }

    /// Everything that was gathered, of cells that gather no more.
    ///
    /// # Errors
    /// Where an aggregate cannot tell its state.
    pub fn into_state(mut self) -> EngineResult<Vec<ScalarValue>> {
        self.give_state()
    }

    fn give_state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        let mut state = Vec::new();
        for cell in &mut self.0 {
            state.extend(cell.state()?);
        }
        Ok(state)
    }

    fn told(aggregation: &Aggregation, state: &[ScalarValue]) -> EngineResult<Self> {
        let columns = state.iter().map(ScalarValue::to_array).collect::<EngineResult<Vec<_>>>()?;
        Self::of(aggregation, &columns)
    }

    /// Of what was gathered before: columns of one row.
    ///
    /// # Errors
    /// Where it is of other aggregates.
    pub fn of(aggregation: &Aggregation, state: &[ArrayRef]) -> EngineResult<Self> {
        let mut cells = Self::new(aggregation)?;
        let mut first = 0;
        for (lowered, cell) in aggregation.aggregates.iter().zip(&mut cells.0) {
            let next = first + lowered.aggregate.state_fields()?.len();
            let Some(columns) = state.get(first..next) else {
                return exec_err!("the kept state has other aggregates");
            };
            cell.merge_batch(columns)?;
            first = next;
        }
        Ok(cells)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(|cell| cell.size()).sum()
    }
}

/// Rows of values as columns.
///
/// # Errors
/// Where a column's values are of several types.
pub fn columns(rows: Vec<Vec<ScalarValue>>) -> EngineResult<Vec<ArrayRef>> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(rows.len()); width];
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns.into_iter().map(ScalarValue::iter_to_array).collect()
}
