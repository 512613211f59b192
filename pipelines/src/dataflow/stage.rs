//! A query without state: planned once by the engine, executed over the batches that it is given.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::{
    array::{Array, RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use datafusion::{
    common::Result as EngineResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{
        ExecutionPlan, collect, execution_plan::reset_plan_states, memory::MemoryStream,
        streaming::PartitionStream,
    },
};

/// A planned query and the places where it finds its inputs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The query as the engine executes it.
    pub plan: Arc<dyn ExecutionPlan>,
    slots: Vec<Arc<Slot>>,
    context: Arc<TaskContext>,
}

impl Stage {
    /// A query over some inputs.
    #[must_use]
    pub const fn new(
        plan: Arc<dyn ExecutionPlan>,
        slots: Vec<Arc<Slot>>,
        context: Arc<TaskContext>,
    ) -> Self {
        Self { plan, slots, context }
    }

    /// The columns that it makes.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// The query's rows for so many batches of each input. Whoever runs it has it alone.
    ///
    /// # Errors
    /// Where the query fails, such as a sum that overflows.
    pub async fn run(&self, inputs: Vec<Vec<RecordBatch>>) -> EngineResult<Vec<RecordBatch>> {
        for (slot, batches) in self.slots.iter().zip(inputs) {
            slot.put(batches);
        }
        // Metrics of earlier batches would otherwise pile up in the plan for ever, and a join would
        // keep the table that it built of them.
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let rows = collect(plan, Arc::clone(&self.context)).await;
        for slot in &self.slots {
            slot.put(Vec::new());
        }
        rows?.into_iter().filter(|rows| rows.num_rows() > 0).map(shrunk).collect()
    }
}

/// Rows in no more memory than they take: room is made for thousands, and a few may lie in a table's
/// tail or wait for their window for long.
///
/// # Errors
/// Never in practice: the columns stay what they are.
fn shrunk(rows: RecordBatch) -> EngineResult<RecordBatch> {
    let (schema, mut columns, count) = rows.into_parts();
    columns.iter_mut().for_each(Array::shrink_to_fit);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The place where a plan finds an input.
#[derive(Debug)]
pub struct Slot {
    schema: SchemaRef,
    batches: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    /// A place for batches of some columns.
    #[must_use]
    pub const fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Mutex::new(Vec::new()) }
    }

    fn put(&self, batches: Vec<RecordBatch>) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = batches;
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = MemoryStream::try_new(batches, Arc::clone(&self.schema), None);
        Box::pin(stream.expect("a stream without a projection is always made"))
    }
}
