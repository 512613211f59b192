//! Rows as lines of JSON, as a table's format says.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
};

use super::values::Values;
use crate::{dataflow::time::RETRACT, dialect::format::JsonFormat};

/// Writes rows as lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    debezium: bool,
    values: Values,
}

impl Lines {
    pub(crate) const fn of(format: &JsonFormat) -> Self {
        Self { debezium: format.debezium, values: Values::of(format) }
    }

    /// Writes each row; how many bytes they took.
    ///
    /// # Errors
    /// Where a value cannot be one of JSON, or nothing be written.
    pub(crate) fn write(&self, rows: &RecordBatch, to: &mut impl Write) -> io::Result<u64> {
        let back = rows.column_by_name(RETRACT).map(|back| back.as_boolean().clone());
        let text = self.text(rows).map_err(io::Error::other)?;
        let mut bytes = 0;
        for (row, line) in text.lines().enumerate() {
            let retract = back.as_ref().is_some_and(|back| back.value(row));
            let line = match (self.debezium, retract) {
                (false, _) => format!("{line}\n"),
                (true, false) => format!("{{\"before\":null,\"after\":{line},\"op\":\"c\"}}\n"),
                (true, true) => format!("{{\"before\":{line},\"after\":null,\"op\":\"d\"}}\n"),
            };
            to.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
        }
        Ok(bytes)
    }

    fn text(&self, batch: &RecordBatch) -> Result<String, ArrowError> {
        let visible = batch.schema().fields().iter().position(|field| field.name() == RETRACT);
        let columns: Vec<usize> = (0..visible.unwrap_or(batch.num_columns())).collect();
        let rows = batch.project(&columns)?;
        // As on a cluster, what is NULL is written, too.
        let writer = WriterBuilder::new().with_explicit_nulls(true);
        let writer = writer.with_encoder_factory(Arc::new(self.values));
        let mut writer = writer.build::<_, LineDelimited>(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        String::from_utf8(writer.into_inner())
            .map_err(|error| ArrowError::from_external_error(Box::new(error)))
    }
}
