//! Summaries: tables that say of other tables what nobody can say record by record. A summary is one
//! query over the whole warehouse; it is asked again now and then, and a row that is new or changed
//! is appended, so that `<name>_current` has the newest of each key and the table its history.
//!
//! **Invariant:** asking again without a change appends nothing, so a crash before, in or after a
//! commit leaves what an undisturbed run leaves.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Schema, TimeUnit},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use chrono::{DateTime, Utc};
use warehouse::{
    error::WarehouseError,
    schema,
    session::{Rows, Session},
    table::{Positions, Table, fit},
};

use crate::error::PipelineError;

/// A query and the table that keeps its answers.
#[derive(Debug)]
pub struct Summary {
    name: &'static str,
    query: &'static str,
    table: Arc<dyn Table>,
}

impl Summary {
    /// A shipped summary over its table.
    #[must_use]
    pub fn new(name: &'static str, query: &'static str, table: Arc<dyn Table>) -> Self {
        Self { name, query, table }
    }

    /// Asks again, and appends what is new or changed since; how many rows that are. `session`
    /// gives the warehouse as it is when it is called.
    ///
    /// # Errors
    /// Where the query fails or the table cannot be written.
    pub async fn refresh<E: From<PipelineError>>(
        &self,
        session: impl FnOnce() -> Result<Session, E>,
        now: DateTime<Utc>,
    ) -> Result<usize, E> {
        // The writer learns what is there, so that a second one loses; and the session is of no
        // earlier state, or what landed unseen would be appended again.
        let application = format!("{}/0", self.name);
        let learned = self.table.positions(std::slice::from_ref(&application)).await;
        learned.map_err(|source| self.failed("open", source))?;
        Ok(self.append(&session()?, application, now).await?)
    }

    fn failed(&self, attempted: &'static str, source: WarehouseError) -> PipelineError {
        PipelineError::Table { pipeline: self.name.to_owned(), attempted, source }
    }

    async fn append(
        &self,
        session: &Session,
        application: String,
        now: DateTime<Utc>,
    ) -> Result<usize, PipelineError> {
        let failed = |attempted| move |source| self.failed(attempted, source);
        let made = session.rows(self.query).await.map_err(failed("ask for"))?;
        let kept = session.whole(&format!("{}_current", self.name)).await;
        let kept = kept.map_err(failed("read"))?;
        let changed = self.changed(&made, &kept, now).map_err(failed("compare"))?;
        let count = changed.iter().map(RecordBatch::num_rows).sum();
        if count > 0 {
            let positions = Positions::from([(application, now.timestamp_micros())]);
            self.table.commit(changed, &positions).await.map_err(failed("commit to"))?;
        }
        Ok(count)
    }

    /// The rows that are not among those that are kept, with the instant at which they were computed.
    fn changed(
        &self,
        made: &Rows,
        kept: &Rows,
        now: DateTime<Utc>,
    ) -> Result<Vec<RecordBatch>, WarehouseError> {
        let table = self.table.schema();
        let stamped = |rows: &Rows| -> Result<Vec<RecordBatch>, WarehouseError> {
            rows.batches.iter().map(|batch| fit(&stamp(batch, table, now)?, table)).collect()
        };
        let (made, kept) = (stamped(made)?, stamped(kept)?);
        let fields = table.arrow();
        let fields = fields.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let comparable =
            RowConverter::new(fields.collect()).map_err(|error| wrong(table, error))?;
        let rows = |batch: &RecordBatch| {
            comparable.convert_columns(batch.columns()).map_err(|error| wrong(table, error))
        };
        let mut known = HashSet::new();
        for batch in &kept {
            known.extend(rows(batch)?.iter().map(|row| row.owned()));
        }
        let mut changed = Vec::new();
        for batch in &made {
            let is_new = rows(batch)?.iter().map(|row| !known.contains(&row.owned())).collect();
            let batch = filter_record_batch(batch, &BooleanArray::from_iter::<Vec<bool>>(is_new));
            changed.push(batch.map_err(|error| wrong(table, error))?);
        }
        changed.retain(|batch| batch.num_rows() > 0);
        Ok(changed)
    }
}

/// A batch with the same instant of computation in every row.
fn stamp(
    batch: &RecordBatch,
    table: &'static schema::Table,
    now: DateTime<Utc>,
) -> Result<RecordBatch, WarehouseError> {
    let column = table.newer_by();
    let old = batch.schema();
    let (mut fields, mut columns): (Vec<_>, Vec<ArrayRef>) = old
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != column)
        .map(|(field, column)| (Arc::clone(field), Arc::clone(column)))
        .unzip();
    let instants = TimestampMicrosecondArray::from_value(now.timestamp_micros(), batch.num_rows());
    let instants = instants.with_timezone("UTC");
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    fields.push(Arc::new(Field::new(column, instant, false)));
    columns.push(Arc::new(instants));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| wrong(table, error))
}

fn wrong(table: &'static schema::Table, error: ArrowError) -> WarehouseError {
    WarehouseError::Rows { table: table.name, reason: error.to_string() }
}
