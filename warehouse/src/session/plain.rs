//! Answers in plain types.
//!
//! Queries work on text as views, of which short ones are compared and hashed like numbers; answers have
//! text as every client knows it.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    error::ArrowError,
};
use datafusion::physical_plan::{SendableRecordBatchStream, stream::RecordBatchStreamAdapter};
use futures::StreamExt;

/// The columns of an answer.
pub(crate) fn schema(of: &Schema) -> SchemaRef {
    let fields = of.fields().iter().map(|of| field(of)).collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, of.metadata().clone()))
}

fn field(of: &Field) -> Field {
    of.clone().with_data_type(kind(of.data_type()))
}

fn kind(of: &DataType) -> DataType {
    match of {
        DataType::Utf8View => DataType::Utf8,
        DataType::List(item) => DataType::List(field(item).into()),
        DataType::LargeList(item) => DataType::LargeList(field(item).into()),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|of| field(of)).collect::<Fields>())
        }
        other => other.clone(),
    }
}

/// Rows of an answer, with the columns that [`schema`] says.
pub(crate) fn batch(rows: &RecordBatch, plain: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().zip(plain.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(plain), columns, &options)
}

/// An answer as it comes, with the columns that [`schema`] says.
pub(crate) fn stream(answer: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let plain = schema(&answer.schema());
    let columns = Arc::clone(&plain);
    let batches = answer.map(move |rows| Ok(batch(&rows?, &columns)?));
    Box::pin(RecordBatchStreamAdapter::new(plain, batches))
}
