//! Groups and their aggregates, by the engine's own hash tables and accumulators.
//!
//! What has been gathered is told as rows (*partial state*: the keys and the accumulators' states),
//! which can be kept, written down, and merged again, in the order of coming.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::{
    common::{Result as EngineResult, exec_err},
    logical_expr::{EmitTo, GroupsAccumulator},
    physical_expr::{
        GroupsAccumulatorAdapter,
        aggregate::{AggregateFunctionExpr, LoweredAggregate},
    },
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

/// What is gathered: keys, which are the first columns of the input, and aggregates of the others.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// The keys' columns.
    pub keys: SchemaRef,
    /// The aggregates, over the whole input's columns.
    pub aggregates: Vec<LoweredAggregate>,
}

impl Aggregation {
    /// The values of an aggregate's arguments over a batch, and which of its rows count.
    ///
    /// # Errors
    /// Where an argument cannot be evaluated.
    pub fn arguments(
        &self,
        aggregate: usize,
        rows: &RecordBatch,
    ) -> EngineResult<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let lowered = &self.aggregates[aggregate];
        let length = rows.num_rows();
        let value = |expression: Arc<dyn datafusion::physical_plan::PhysicalExpr>| {
            expression.evaluate(rows)?.into_array(length)
        };
        let mut values = Vec::new();
        for expression in lowered.aggregate.expressions() {
            values.push(value(expression)?);
        }
        for order in lowered.aggregate.order_bys() {
            values.push(value(Arc::clone(&order.expr))?);
        }
        let filter = match &lowered.filter {
            Some(filter) => Some(value(Arc::clone(filter))?.as_boolean().clone()),
            None => None,
        };
        Ok((values, filter))
    }

    /// The keys' values of a batch.
    #[must_use]
    pub fn key_columns<'a>(&self, rows: &'a RecordBatch) -> &'a [ArrayRef] {
        &rows.columns()[..self.keys.fields().len()]
    }

    fn accumulators(&self) -> EngineResult<Vec<Box<dyn GroupsAccumulator>>> {
        self.aggregates.iter().map(|lowered| accumulator(&lowered.aggregate)).collect()
    }
}

fn accumulator(aggregate: &Arc<AggregateFunctionExpr>) -> EngineResult<Box<dyn GroupsAccumulator>> {
    if aggregate.groups_accumulator_supported() {
        return aggregate.create_groups_accumulator();
    }
    let aggregate = Arc::clone(aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// Groups that are being gathered.
pub struct Groups {
    /// None where there are no keys, and all rows are one group.
    values: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The group of each row of the batch at hand.
    of_row: Vec<usize>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("groups", &self.count()).finish_non_exhaustive()
    }
}

impl Groups {
    /// No groups yet.
    ///
    /// # Errors
    /// Where the engine has no accumulator for an aggregate.
    pub fn new(aggregation: &Aggregation) -> EngineResult<Self> {
        let keys = &aggregation.keys;
        let values = if keys.fields().is_empty() {
            None
        } else {
            Some(new_group_values(Arc::clone(keys), &GroupOrdering::None)?)
        };
        Ok(Self { values, accumulators: aggregation.accumulators()?, of_row: Vec::new() })
    }

    /// What some partial states hold together. They are in the order of coming, which counts for a
    /// first or a last value.
    ///
    /// # Errors
    /// Where one is not of these aggregates.
    pub fn of<'a>(
        aggregation: &Aggregation,
        states: impl IntoIterator<Item = &'a RecordBatch>,
    ) -> EngineResult<Self> {
        let mut groups = Self::new(aggregation)?;
        for state in states {
            groups.merge(aggregation, state)?;
        }
        Ok(groups)
    }

    /// Gathers rows.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn update(&mut self, aggregation: &Aggregation, rows: &RecordBatch) -> EngineResult<()> {
        self.intern(aggregation.key_columns(rows), rows.num_rows())?;
        let total = self.count();
        for (at, accumulator) in self.accumulators.iter_mut().enumerate() {
            let (values, filter) = aggregation.arguments(at, rows)?;
            accumulator.update_batch(&values, &self.of_row, filter.as_ref(), total)?;
        }
        Ok(())
    }

    fn merge(&mut self, aggregation: &Aggregation, state: &RecordBatch) -> EngineResult<()> {
        self.intern(aggregation.key_columns(state), state.num_rows())?;
        let total = self.count();
        let mut first = aggregation.keys.fields().len();
        for (lowered, accumulator) in aggregation.aggregates.iter().zip(&mut self.accumulators) {
            let next = first + lowered.aggregate.state_fields()?.len();
            let Some(columns) = state.columns().get(first..next) else {
                return exec_err!("the kept state has other aggregates");
            };
            accumulator.merge_batch(columns, &self.of_row, total)?;
            first = next;
        }
        Ok(())
    }

    /// Takes all groups out as partial state.
    ///
    /// # Errors
    /// Where an aggregate cannot tell its state.
    pub fn state(&mut self, aggregation: &Aggregation) -> EngineResult<RecordBatch> {
        let rows = self.count();
        let mut columns = self.keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        batch(&aggregation.keys, columns, rows)
    }

    /// Takes all groups out with the aggregates' values.
    ///
    /// # Errors
    /// Where an aggregate cannot be told.
    pub fn evaluate(&mut self, aggregation: &Aggregation) -> EngineResult<RecordBatch> {
        let rows = self.count();
        let mut columns = self.keys()?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(EmitTo::All)?);
        }
        batch(&aggregation.keys, columns, rows)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let values = self.values.as_ref().map_or(0, |values| values.size());
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.size());
        values + accumulators.sum::<usize>() + self.of_row.capacity() * size_of::<usize>()
    }

    fn count(&self) -> usize {
        self.values.as_ref().map_or(1, |values| values.len())
    }

    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> EngineResult<()> {
        self.of_row.clear();
        match &mut self.values {
            Some(values) => values.intern(keys, &mut self.of_row),
            None => {
                self.of_row.resize(rows, 0);
                Ok(())
            }
        }
    }

    fn keys(&mut self) -> EngineResult<Vec<ArrayRef>> {
        match &mut self.values {
            Some(values) => values.emit(EmitTo::All),
            None => Ok(Vec::new()),
        }
    }
}

/// Columns under the keys' names, and numbers for the rest.
fn batch(keys: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> EngineResult<RecordBatch> {
    let field = |(at, column): (usize, &ArrayRef)| match keys.fields().get(at) {
        Some(key) => Field::new(key.name(), column.data_type().clone(), true),
        None => Field::new(format!("_{at}"), column.data_type().clone(), true),
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
