//! What the aggregates of many keys have gathered, as a few bytes each.
//!
//! An accumulator may take tens of kilobytes before it has counted anything (`COUNT(DISTINCT)` does),
//! too much to hold one for each person who is under way. Between two batches its state lies here as
//! bytes, and accumulators are made for those keys alone that a batch touches.

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    compute::cast,
    datatypes::{FieldRef, Schema, SchemaRef},
};
use datafusion::common::{Result as EngineResult, exec_err};

use super::{
    cells::{Cells, columns},
    groups::Aggregation,
    keys::{Key, Keys},
};

/// A key's aggregates, packed.
pub type Packed = Key;

/// Packs what aggregates have gathered.
#[derive(Debug)]
pub struct Packing {
    /// The columns of the aggregates' states.
    schema: SchemaRef,
    states: Keys,
}

impl Packing {
    /// For these aggregates.
    ///
    /// # Errors
    /// Where a state is of a type that has no form as bytes.
    pub fn new(aggregation: &Aggregation) -> EngineResult<Self> {
        let mut fields: Vec<FieldRef> = Vec::new();
        for lowered in &aggregation.aggregates {
            fields.extend(lowered.aggregate.state_fields()?);
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { states: Keys::new(&schema)?, schema })
    }

    /// Packs the aggregates of some keys.
    ///
    /// # Errors
    /// Where one cannot tell its state.
    pub fn pack(&self, gathered: Vec<Cells>) -> EngineResult<Vec<Packed>> {
        let rows = gathered.len();
        let states = gathered.into_iter().map(Cells::into_state);
        self.of(&columns(states.collect::<EngineResult<_>>()?)?, rows)
    }

    /// Packs so many rows of states, as they are told and written down.
    ///
    /// # Errors
    /// Where a column is of another state.
    pub fn of(&self, columns: &[ArrayRef], rows: usize) -> EngineResult<Vec<Packed>> {
        let fields = self.schema.fields();
        if columns.len() != fields.len() {
            return exec_err!("the kept state has other aggregates");
        }
        let columns = columns.iter().zip(fields);
        // A list is told with a name and a nullability of its items that the field does not promise.
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        self.states.of(&columns.collect::<Result<Vec<_>, _>>()?, rows)
    }

    /// The columns of states again.
    ///
    /// # Errors
    /// Where bytes are of other states.
    pub fn columns<'a>(
        &self,
        packed: impl Iterator<Item = &'a Packed>,
    ) -> EngineResult<Vec<ArrayRef>> {
        self.states.columns(packed)
    }

    /// Aggregates that gather on.
    ///
    /// # Errors
    /// Where bytes are of other aggregates.
    pub fn unpack(
        &self,
        aggregation: &Aggregation,
        packed: &[&Packed],
    ) -> EngineResult<Vec<Cells>> {
        let columns = self.columns(packed.iter().copied())?;
        let cells = |row: usize| {
            let state: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
            Cells::of(aggregation, &state)
        };
        (0..packed.len()).map(cells).collect()
    }
}
