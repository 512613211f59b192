//! One planned pipeline, and its query over one batch.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{cast, max},
    datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::Result as EngineResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{
        ExecutionPlan, PhysicalExpr, collect, execution_plan::reset_plan_states,
        memory::MemoryStream, streaming::PartitionStream,
    },
};
use ingest::topic::Topic;
use tokio::sync::Mutex;

use crate::error::PipelineError;

/// A pipeline: a query over one stream, planned once.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name, which is its table's.
    pub name: String,
    /// The stream it reads.
    pub topic: Topic,
    /// The columns of the source that it needs.
    pub input: SchemaRef,
    /// The columns it makes.
    pub output: SchemaRef,
    /// How it groups by time, if it does.
    pub window: Option<WindowPlan>,
    /// The statement's query as the engine executes it.
    pub plan: Arc<dyn ExecutionPlan>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) context: Arc<TaskContext>,
    /// One batch at a time: the slot holds one.
    pub(crate) turn: Mutex<()>,
}

/// How a pipeline groups by time.
#[derive(Debug)]
pub struct WindowPlan {
    /// The width of its windows in microseconds.
    pub width: i64,
    /// The column of the input that holds event time.
    pub event_time: usize,
    /// Up to which instant a batch tells that everything has come.
    pub watermark: Arc<dyn PhysicalExpr>,
}

impl Pipeline {
    /// The pipeline's rows for a batch of its input.
    ///
    /// # Errors
    /// Where the query fails, such as a sum that overflows.
    pub async fn execute(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>, PipelineError> {
        let _turn = self.turn.lock().await;
        let run = async {
            let batch = RecordBatch::try_new(Arc::clone(&self.input), batch.columns().to_vec())?;
            self.slot.put(Some(batch));
            // Metrics of earlier batches would otherwise pile up in the plan for ever.
            let plan = reset_plan_states(Arc::clone(&self.plan))?;
            let rows = collect(plan, Arc::clone(&self.context)).await;
            self.slot.put(None);
            rows
        };
        let rows = run.await.map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().filter(|rows| rows.num_rows() > 0).collect())
    }

    pub(crate) fn failed(&self, source: datafusion::error::DataFusionError) -> PipelineError {
        PipelineError::Execute { pipeline: self.name.clone(), source: Box::new(source) }
    }

    /// Checks that the pipeline makes what a table holds, column by column in whatever order.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, table: &Schema) -> Result<(), PipelineError> {
        let difference =
            |difference| PipelineError::Schema { pipeline: self.name.clone(), difference };
        for held in table.fields() {
            let Ok(made) = self.output.field_with_name(held.name()) else {
                return Err(difference(format!("its table holds {} as well", held.name())));
            };
            if !same_type(made.data_type(), held.data_type()) {
                let (made, name, held) = (made.data_type(), held.name(), held.data_type());
                let text = format!("makes {name} as {made}, but its table holds it as {held}");
                return Err(difference(text));
            }
        }
        let more =
            self.output.fields().iter().find(|made| table.field_with_name(made.name()).is_err());
        match more {
            Some(more) => Err(difference(format!("makes {} beyond its table", more.name()))),
            None => Ok(()),
        }
    }
}

/// The dialect has instants without a zone, which are UTC; tables say so.
fn same_type(made: &DataType, held: &DataType) -> bool {
    match (made, held) {
        (DataType::Timestamp(made, None), DataType::Timestamp(held, zone)) => {
            made == held && zone.as_deref().is_none_or(|zone| zone == "UTC")
        }
        _ => made == held,
    }
}

impl WindowPlan {
    /// The largest watermark that a batch tells, in microseconds.
    ///
    /// # Errors
    /// Where the expression fails.
    pub fn watermark(&self, batch: &RecordBatch) -> EngineResult<Option<i64>> {
        let value = self.watermark.evaluate(batch)?.into_array(batch.num_rows())?;
        let value = cast(&value, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        Ok(max(value.as_primitive::<TimestampMicrosecondType>()))
    }

    /// The event times of a batch, in microseconds.
    ///
    /// # Errors
    /// Where the column is none of instants.
    pub fn event_times(&self, batch: &RecordBatch) -> EngineResult<Vec<i64>> {
        let column = batch.column(self.event_time);
        let column = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        Ok(column.as_primitive::<TimestampMicrosecondType>().values().to_vec())
    }
}

/// The place where a plan finds its input.
#[derive(Debug)]
pub(crate) struct Slot {
    schema: SchemaRef,
    batch: std::sync::Mutex<Option<RecordBatch>>,
}

impl Slot {
    pub(crate) const fn new(schema: SchemaRef) -> Self {
        Self { schema, batch: std::sync::Mutex::new(None) }
    }

    fn put(&self, batch: Option<RecordBatch>) {
        *self.batch.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = batch;
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let schema = Arc::clone(&self.schema);
        let batches = batch.into_iter().collect();
        let stream = MemoryStream::try_new(batches, schema, None);
        Box::pin(stream.expect("a stream without a projection is always made"))
    }
}
