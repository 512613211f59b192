//! Comma-separated values as RFC 4180 has them, with a header.

use std::io::Write;

use arrow::{
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};

use super::unwritten;
use crate::{error::WarehouseError, session::Rows};

/// How comma-separated values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Csv {
    /// Lines end in CR LF, as RFC 4180 has it for files; a shell's tools expect LF alone.
    pub file: bool,
    /// Text that a spreadsheet would take for a formula is written with an apostrophe before it.
    pub guarded: bool,
}

impl Csv {
    /// For a file that anybody's tools read.
    pub const FILE: Self = Self { file: true, guarded: false };
    /// For a file that people open in a spreadsheet.
    pub const SPREADSHEET: Self = Self { file: true, guarded: true };

    pub(super) fn write(self, rows: &Rows, out: &mut dyn Write) -> Result<(), WarehouseError> {
        let failed = |error: &dyn std::fmt::Display| unwritten("CSV", error);
        let end = if self.file { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().terminator(end).from_writer(out);
        let header = rows.schema.fields().iter().map(|field| field.name());
        writer.write_record(header).map_err(|error| failed(&error))?;
        let options = FormatOptions::default();
        for batch in &rows.batches {
            let columns = batch.columns().iter().map(|column| {
                let text = matches!(
                    column.data_type(),
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                );
                Ok((ArrayFormatter::try_new(column, &options)?, text))
            });
            let columns: Result<Vec<_>, arrow::error::ArrowError> = columns.collect();
            let columns = columns.map_err(|error| failed(&error))?;
            for row in 0..batch.num_rows() {
                for (cells, text) in &columns {
                    let cell = cells.value(row).try_to_string().map_err(|error| failed(&error))?;
                    let cell = if self.guarded && *text { guarded(cell) } else { cell };
                    writer.write_field(cell).map_err(|error| failed(&error))?;
                }
                writer.write_record(None::<&[u8]>).map_err(|error| failed(&error))?;
            }
        }
        writer.flush().map_err(|error| failed(&error))
    }
}

/// A text that no spreadsheet takes for a formula.
pub(crate) fn guarded(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
