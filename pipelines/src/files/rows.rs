//! Rows from texts, as a table's format says: each a line of a file, a record of a topic, or a value
//! under a key.

use std::{borrow::Cow, collections::BTreeMap, error::Error, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    json::{ReaderBuilder, reader::Decoder},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use crate::{
    dataflow::time::RETRACT,
    dialect::{
        TableDefinition,
        format::{Format, JsonFormat},
    },
};

/// Reads rows.
pub(crate) struct Rows {
    decoder: Decoder,
    columns: SchemaRef,
    /// The columns that hold the text of whatever JSON a row has there.
    json: Vec<String>,
    holds: Holds,
    /// Of each row that was taken, whether it takes back an earlier one.
    back: Vec<bool>,
}

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Row,
    Change,
    /// One value of JSON.
    Value,
    /// A text, which may be empty.
    Text,
}

impl Holds {
    const fn of(format: Option<&Format>) -> Self {
        match format {
            Some(Format::Json(JsonFormat { unstructured: true, .. })) => Self::Value,
            Some(Format::Json(JsonFormat { debezium: true, .. })) => Self::Change,
            Some(Format::RawString) => Self::Text,
            _ => Self::Row,
        }
    }
}

impl Rows {
    /// Some columns of a table, of at most so many texts at once.
    ///
    /// # Errors
    /// Where a column's type is none of JSON.
    pub(crate) fn new(
        table: &TableDefinition,
        columns: SchemaRef,
        most: usize,
    ) -> Result<Self, ArrowError> {
        let json = table.columns.iter().filter(|column| column.json);
        let json = json.map(|column| column.name.clone());
        let json = json.filter(|name| columns.index_of(name).is_ok()).collect();
        // A text of changes is two rows at most; the decoder takes no more than it was told.
        let decoder = ReaderBuilder::new(Arc::clone(&columns)).with_batch_size(2 * most);
        let holds = Holds::of(table.format.as_ref());
        Ok(Self { decoder: decoder.build_decoder()?, columns, json, holds, back: Vec::new() })
    }

    /// Whether a line is none: only a text may be empty.
    pub(crate) fn passes_over(&self, line: &str) -> bool {
        self.holds != Holds::Text && line.trim().is_empty()
    }

    /// Takes a text.
    ///
    /// # Errors
    /// Where it is not what the table declares.
    pub(crate) fn take(&mut self, text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        for (row, retract) in self.rows(text)? {
            let Some(row) = row else { continue };
            self.decoder.decode(row.as_bytes())?;
            self.back.push(retract);
        }
        Ok(())
    }

    /// The rows of what was taken since this was asked last.
    ///
    /// # Errors
    /// Where a value is not of its column's type.
    pub(crate) fn flush(&mut self) -> Result<RecordBatch, ArrowError> {
        let back = std::mem::take(&mut self.back);
        let batch = self.decoder.flush()?;
        let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.columns)));
        if self.holds != Holds::Change {
            return Ok(batch);
        }
        // Rows of changes say which of them take back an earlier one.
        let field = Field::new(RETRACT, DataType::Boolean, false);
        let fields =
            batch.schema().fields().iter().cloned().chain([Arc::new(field)]).collect::<Vec<_>>();
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(BooleanArray::from(back)));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// A text's rows, and whether each takes back an earlier one. They stay text, as a decimal has
    /// more digits than a float.
    fn rows<'a>(&self, text: &'a str) -> serde_json::Result<[(Option<Cow<'a, str>>, bool); 2]> {
        if matches!(self.holds, Holds::Value | Holds::Text) {
            let row = json!({"value": text}).to_string();
            return Ok([(None, true), (Some(row.into()), false)]);
        }
        if self.holds == Holds::Change {
            // What was there is taken back, what is there now comes.
            let change: Change<'a> = serde_json::from_str(text)?;
            let text =
                |row: Option<&'a RawValue>| row.map(|row| self.with_texts(row.get())).transpose();
            return Ok([(text(change.before)?, true), (text(change.after)?, false)]);
        }
        // The decoder would take several objects of a text, and what is no number if unread.
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok([(None, true), (Some(self.with_texts(text)?), false)])
    }

    /// A row in which columns of JSON hold the text of what stands there, which the decoder takes.
    fn with_texts<'a>(&self, row: &'a str) -> serde_json::Result<Cow<'a, str>> {
        if self.json.is_empty() {
            return Ok(row.into());
        }
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(row)?;
        for name in &self.json {
            let Some(value) = fields.get_mut(name).filter(|value| value.get() != "null") else {
                continue;
            };
            *value = to_raw_value(value.get())?;
        }
        Ok(serde_json::to_string(&fields)?.into())
    }
}

/// A debezium text.
#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}
