//! An array of objects, one a line.

use std::io::Write;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
    json::writer::{JsonFormat, Writer, WriterBuilder},
};

use super::unwritten;
use crate::{error::WarehouseError, session::Rows};

/// An array with a row a line, so that what differs between two files is a line.
#[derive(Debug, Default)]
struct RowPerLine;

impl JsonFormat for RowPerLine {
    fn start_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"[")?)
    }

    fn start_row<W: Write>(&self, out: &mut W, first: bool) -> Result<(), ArrowError> {
        Ok(out.write_all(if first { b"\n" } else { b",\n" })?)
    }

    fn end_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"\n]\n")?)
    }
}

pub(super) fn write(rows: &Rows, out: &mut dyn Write) -> Result<(), WarehouseError> {
    written(rows, out).map_err(|error| unwritten("JSON", &error))
}

fn written(rows: &Rows, out: &mut dyn Write) -> Result<(), ArrowError> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer: Writer<_, RowPerLine> = builder.build(out);
    for batch in &rows.batches {
        writer.write(&with_exact_decimals(batch)?)?;
    }
    writer.finish()
}

/// Decimals as text.
fn with_exact_decimals(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let exact = |column: &ArrayRef| match column.data_type() {
        DataType::Decimal128(..) | DataType::Decimal256(..) => cast(column, &DataType::Utf8),
        _ => Ok(ArrayRef::clone(column)),
    };
    let columns = batch.columns().iter().map(exact).collect::<Result<Vec<_>, _>>()?;
    let schema = batch.schema();
    let fields = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    RecordBatch::try_new(Schema::new(fields.collect::<Vec<_>>()).into(), columns)
}
