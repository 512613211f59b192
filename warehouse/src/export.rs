//! Rows written out: for people, as CSV, as JSON, as Parquet.
//!
//! Decimals keep every digit: CSV writes them as they are, JSON as text, because a JSON number is a
//! float to most readers. Instants are RFC 3339 in UTC.

use std::io::Write;

use crate::{error::WarehouseError, session::Rows};

mod comma;
mod json;
mod parquet;
mod xlsx;

pub use comma::Csv;
pub(crate) use comma::guarded;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A drawn table, for people.
    Table,
    /// RFC 4180 with a header.
    Csv(Csv),
    /// An array of objects, one a line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// A workbook of one sheet.
    Xlsx,
}

/// Writes rows in a format.
///
/// # Errors
/// Where a column has no such form, or `out` takes no more.
pub fn write(
    rows: &Rows,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<(), WarehouseError> {
    match format {
        Format::Table => table(rows, out),
        Format::Csv(csv) => csv.write(rows, out),
        Format::Json => json::write(rows, out),
        Format::Parquet => parquet::write(rows, out),
        Format::Xlsx => xlsx::write(rows, out),
    }
}

fn table(rows: &Rows, out: &mut dyn Write) -> Result<(), WarehouseError> {
    let drawn =
        arrow::util::pretty::pretty_format_batches_with_schema(rows.schema.clone(), &rows.batches);
    let drawn = drawn.map_err(|error| unwritten("a table", &error))?;
    writeln!(out, "{drawn}").map_err(|error| unwritten("a table", &error))
}

pub(crate) fn unwritten(format: &'static str, error: &dyn std::fmt::Display) -> WarehouseError {
    WarehouseError::Export { format, reason: error.to_string() }
}
