//! A table and its tail under one name.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::SchemaRef,
    error::ArrowError,
};
use datafusion::{
    catalog::Session,
    common::Result,
    datasource::{MemTable, TableProvider, TableType},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, union::UnionExec},
};

/// The union of what has landed and what has not.
#[derive(Debug)]
pub(crate) struct TailProvider {
    landed: Arc<dyn TableProvider>,
    rows: Vec<RecordBatch>,
}

impl TailProvider {
    /// A landed table and the rows after it, which fit its schema by name.
    pub(crate) fn new(landed: Arc<dyn TableProvider>, rows: &[RecordBatch]) -> Self {
        Self { landed, rows: rows.to_vec() }
    }
}

/// Rows with the columns of a schema, of its types.
fn alike(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let column = batch.column_by_name(field.name());
        let column = column.ok_or_else(|| {
            ArrowError::SchemaError(format!("rows in memory lack the column {}", field.name()))
        })?;
        cast(column, field.data_type())
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

#[async_trait::async_trait]
impl TableProvider for TailProvider {
    fn schema(&self) -> SchemaRef {
        self.landed.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let landed = self.landed.scan(session, projection, filters, limit).await?;
        let schema = match projection {
            Some(projection) => Arc::new(self.schema().project(projection)?),
            None => self.schema(),
        };
        // Only what is asked for is made alike.
        let rows = self.rows.iter().map(|batch| alike(batch, &schema));
        let rows = rows.collect::<Result<_, _>>()?;
        let tail = MemTable::try_new(schema, vec![rows])?.scan(session, None, &[], limit).await?;
        UnionExec::try_new(vec![landed, tail])
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        use TableProviderFilterPushDown::{Exact, Inexact};
        let landed = self.landed.supports_filters_pushdown(filters)?;
        // What is in memory is not filtered here, so the filter stays above the union.
        let inexact = |support| if support == Exact { Inexact } else { support };
        Ok(landed.into_iter().map(inexact).collect())
    }
}
