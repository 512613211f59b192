//! Rows as lines of JSON, as a table's format says.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{FieldRef, Schema},
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
};

use super::values::Values;
use crate::{
    dataflow::time::RETRACT,
    dialect::{
        format::JsonFormat,
        table::{holds_json, told_as_json},
    },
};

/// Writes rows as lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    debezium: bool,
    values: Values,
    /// The places of the columns whose texts are JSON.
    json: Vec<usize>,
}

impl Lines {
    /// Lines of rows that have these columns.
    pub(crate) fn of(format: &JsonFormat, columns: &Schema) -> Self {
        let fields = columns.fields().iter().enumerate();
        let json = fields.filter(|(_, field)| holds_json(field)).map(|(at, _)| at).collect();
        Self { debezium: format.debezium, values: Values::of(format), json }
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
        let rows = self.told(batch.project(&columns)?)?;
        // As on a cluster, what is NULL is written, too.
        let writer = WriterBuilder::new().with_explicit_nulls(true);
        let writer = writer.with_encoder_factory(Arc::new(self.values));
        let mut writer = writer.build::<_, LineDelimited>(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        String::from_utf8(writer.into_inner())
            .map_err(|error| ArrowError::from_external_error(Box::new(error)))
    }

    /// The rows with fields that say which of them hold JSON. What executes a query need not hand on
    /// what its fields say.
    fn told(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.json.is_empty() {
            return Ok(rows);
        }
        let schema = rows.schema();
        let fields = schema.fields().iter().enumerate();
        let fields = fields.map(|(at, field)| match self.json.contains(&at) {
            true => Arc::new(told_as_json(field)),
            false => Arc::clone(field),
        });
        let schema = Schema::new(fields.collect::<Vec<FieldRef>>());
        RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, StringArray},
        datatypes::{DataType, Field},
    };

    use super::*;
    use crate::dialect::format::{DecimalEncoding, JsonCompression, TimestampFormat};

    #[test]
    fn a_row_is_one_line_whatever_stands_in_a_column_of_json() {
        let format = JsonFormat {
            debezium: false,
            unstructured: false,
            include_schema: false,
            confluent_schema_registry: false,
            timestamp_format: TimestampFormat::Rfc3339,
            decimal_encoding: DecimalEncoding::Number,
            compression: JsonCompression::Uncompressed,
        };
        let texts = vec![Some("{\"a\":\r\n[1]}"), Some("at\nnoon"), Some(""), Some("7.50"), None];
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let rows = [("json", Arc::clone(&texts)), ("text", texts)];
        let rows = RecordBatch::try_from_iter(rows).expect("rows");
        let field = |name| Field::new(name, DataType::Utf8, true);
        let columns = Schema::new(vec![told_as_json(&field("json")), field("text")]);
        let mut written = Vec::new();
        let bytes = Lines::of(&format, &columns).write(&rows, &mut written).expect("written");
        let wanted = [
            r#"{"json":{"a":  [1]},"text":"{\"a\":\r\n[1]}"}"#,
            r#"{"json":"at\nnoon","text":"at\nnoon"}"#,
            r#"{"json":"","text":""}"#,
            r#"{"json":7.50,"text":"7.50"}"#,
            r#"{"json":null,"text":null}"#,
        ];
        let written = String::from_utf8(written).expect("text");
        assert_eq!(written.lines().collect::<Vec<_>>(), wanted);
        assert_eq!(bytes, written.len() as u64);
    }
}
