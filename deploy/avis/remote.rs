//! What commands ask of a node that runs, where its HTTP API does their work; each prints what it
//! prints of a stopped node's data, as far as the node tells it.

pub mod audit;
pub mod dead_letters;
mod held;
pub mod landing;
pub mod load;
pub mod means;
pub mod members;
pub mod person;
pub mod registry;
pub mod report;
pub mod settle;
pub mod simulate;
pub mod stream;
pub mod verify;

use std::{io::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use serde_json::{Map, Value};
use warehouse::session::Rows;

use crate::{cli::Format, commands::print, failure::Failure};

/// Prints objects, as rows of texts where they are no JSON.
fn print_objects(objects: &[Map<String, Value>], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let text = serde_json::to_string_pretty(objects).map_err(std::io::Error::from)?;
        return Ok(writeln!(std::io::stdout().lock(), "{text}")?);
    }
    let Some(first) = objects.first() else { return Ok(()) };
    let fields = first.keys().map(|name| Field::new(name, DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cell = |of: &Map<String, Value>, name: &str| match of.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let columns = first.keys().map(|name| {
        let cells = objects.iter().map(|of| cell(of, name));
        Arc::new(cells.collect::<StringArray>()) as ArrayRef
    });
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect());
    let batch = batch.map_err(|error| Failure::Server(error.to_string()))?;
    print(&Rows { schema, batches: vec![batch] }, format)
}
