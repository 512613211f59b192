//! A table: rows and stream positions enter it together, or not at all.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, TimeUnit},
};
use chrono::{DateTime, Utc};

use crate::{error::WarehouseError, schema, tail::Landing};
use upkeep::Maintained;

pub mod delta;
pub mod model;
pub mod upkeep;

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, WarehouseError>> + Send + 'a>>;

/// Positions of streams by application id: `<pipeline>/<partition>` has the next offset to read.
pub type Positions = BTreeMap<String, i64>;

/// A table that grows by commits; one writer each.
pub trait Table: Send + Sync + std::fmt::Debug + 'static {
    /// What it holds.
    fn schema(&self) -> &'static schema::Table;

    /// Whether it is on storage that is reached over a network, and may be away for a while.
    fn is_remote(&self) -> bool {
        false
    }

    /// The positions that the newest commit has of some applications; one that never committed has
    /// none.
    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions>;

    /// Appends rows and notes positions in one commit. Rows are fitted to the schema by name.
    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()>;

    /// As [`commit`](Self::commit), of rows that a tail serves meanwhile: `landing` is told in the
    /// same step in which readers get the new version. [`Tail::land`](crate::tail::Tail::land)
    /// calls it.
    fn land<'a>(
        &'a self,
        rows: Vec<RecordBatch>,
        positions: &'a Positions,
        landing: Landing<'a>,
    ) -> Pending<'a, ()> {
        Box::pin(async move {
            self.commit(rows, positions).await?;
            landing.done(None);
            Ok(())
        })
    }

    /// Waits until all that was committed is on the disk, so that no power cut takes it. A table that
    /// is landed again from its streams does without; storage that others run has it already.
    fn sync(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Keeps the table small and quick, where that is due; `now` is by the machine's clock, which
    /// dates files. The writer's task calls it between commits. An error costs no rows and stops
    /// no commit: it is logged, and the next turn tries again.
    fn maintain(&self, now: DateTime<Utc>) -> Pending<'_, Maintained> {
        let _ = now;
        Box::pin(std::future::ready(Ok(Maintained::default())))
    }
}

/// A batch as the table's schema has it: columns by name, cast; an instant without zone is UTC.
///
/// # Errors
/// Where a column is missing, unknown, of a type that does not fit, or lacks a value it must have.
pub fn fit(
    batch: &RecordBatch,
    table: &'static schema::Table,
) -> Result<RecordBatch, WarehouseError> {
    let wrong = |reason: String| WarehouseError::Rows { table: table.name, reason };
    let wanted = table.arrow();
    let unknown = batch.schema().fields().iter().find_map(|field| {
        wanted.field_with_name(field.name()).is_err().then(|| field.name().clone())
    });
    if let Some(name) = unknown {
        return Err(wrong(format!("there is no column {name}")));
    }
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, WarehouseError> {
        let column = batch.column_by_name(field.name());
        let column =
            column.ok_or_else(|| wrong(format!("the column {} is missing", field.name())))?;
        let fitted = cast(column, field.data_type());
        let fitted = fitted.map_err(|error| wrong(format!("{}: {error}", field.name())))?;
        if !field.is_nullable() && fitted.null_count() > 0 {
            return Err(wrong(format!("{} is missing a value", field.name())));
        }
        Ok(fitted)
    };
    let columns = wanted.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(wanted, columns).map_err(|error| wrong(error.to_string()))
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    // A value that does not fit is an error, never a silent null.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if let (DataType::Timestamp(_, None), DataType::Timestamp(TimeUnit::Microsecond, Some(_))) =
        (column.data_type(), to)
    {
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        let plain = cast_with_options(column, &plain, &strict)?;
        return cast_with_options(&plain, to, &strict);
    }
    cast_with_options(column, to, &strict)
}
