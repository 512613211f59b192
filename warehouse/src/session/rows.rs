//! The rows of an answer, and its columns as plain values.

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
    },
};
use chrono::{DateTime, Utc};

use crate::{
    error::WarehouseError,
    export::{Format, write},
};

/// The rows of an answer.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows in a format.
    ///
    /// # Errors
    /// Where a column has no such form.
    pub fn bytes(&self, format: Format) -> Result<Vec<u8>, WarehouseError> {
        let mut bytes = Vec::new();
        write(self, format, &mut bytes)?;
        Ok(bytes)
    }

    /// A column of texts.
    ///
    /// # Errors
    /// Where there is no such column, or it is of something else.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, WarehouseError> {
        let columns = self.columns(name, &DataType::Utf8)?;
        let texts = columns.iter().flat_map(|column| column.as_string::<i32>().iter());
        Ok(texts.map(|text| text.map(str::to_owned)).collect())
    }

    /// A column of whole numbers.
    ///
    /// # Errors
    /// Where there is no such column, or it is of something else.
    pub fn longs(&self, name: &str) -> Result<Vec<Option<i64>>, WarehouseError> {
        let columns = self.columns(name, &DataType::Int64)?;
        Ok(columns.iter().flat_map(|column| column.as_primitive::<Int64Type>().iter()).collect())
    }

    /// A column of amounts, in cents.
    ///
    /// # Errors
    /// Where there is no such column, it is of something else, or a sum does not fit.
    pub fn cents(&self, name: &str) -> Result<Vec<Option<i64>>, WarehouseError> {
        let columns = self.columns(name, &DataType::Decimal128(38, 2))?;
        let amounts = columns.iter().flat_map(|column| column.as_primitive::<Decimal128Type>());
        let cents = |cents: i128| {
            i64::try_from(cents).map_err(|_| wrong(name, &format!("{cents} cents do not fit")))
        };
        amounts.map(|amount| amount.map(cents).transpose()).collect()
    }

    /// A column of instants.
    ///
    /// # Errors
    /// Where there is no such column, or it is of something else.
    pub fn instants(&self, name: &str) -> Result<Vec<Option<DateTime<Utc>>>, WarehouseError> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = self.columns(name, &utc)?;
        let micros = columns.iter();
        let micros = micros.flat_map(|column| column.as_primitive::<TimestampMicrosecondType>());
        Ok(micros.map(|micros| micros.and_then(DateTime::from_timestamp_micros)).collect())
    }

    fn columns(&self, name: &str, to: &DataType) -> Result<Vec<ArrayRef>, WarehouseError> {
        let column = |batch: &RecordBatch| {
            let found = batch.column_by_name(name);
            let found = found.ok_or_else(|| wrong(name, &"there is no such column"))?;
            cast(found, to).map_err(|error| wrong(name, &error))
        };
        self.batches.iter().map(column).collect()
    }
}

fn wrong(column: &str, reason: &dyn std::fmt::Display) -> WarehouseError {
    WarehouseError::Answer { column: column.to_owned(), reason: reason.to_string() }
}
