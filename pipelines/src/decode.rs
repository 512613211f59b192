//! Records into columns: each record's flat JSON form, decoded into the columns that pipelines need.
//!
//! Nothing is written as text: the record's fields, of those that are needed, go straight into columns.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use ingest::{record::Stored, topic::Topic, wire::Flat};
use serde::Serialize;

use crate::{error::PipelineError, pipeline::Pipeline};
use object::Object;
use value::Value;

mod column;
mod fault;
mod object;
mod value;

/// Decodes the records of one stream.
pub struct Decoder {
    topic: Topic,
    schema: SchemaRef,
    rows: Object,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// The columns that any of `pipelines` needs of a stream, each once.
///
/// # Errors
/// Where two of them hold one column for different things.
pub fn union(pipelines: &[&Pipeline], topic: Topic) -> Result<SchemaRef, PipelineError> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for pipeline in pipelines {
        let inputs = pipeline.inputs.iter().filter(|input| input.topic() == Some(topic));
        for field in inputs.flat_map(|input| input.columns.fields()) {
            match fields.iter().find(|known| known.name() == field.name()) {
                Some(known) if known == field => {}
                Some(_) => {
                    return Err(PipelineError::Definition {
                        file: pipeline.name.clone(),
                        reason: format!("column {} is declared in two ways", field.name()),
                    });
                }
                None => fields.push(Arc::clone(field)),
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether records have values of a type.
#[must_use]
pub fn takes(of: &DataType) -> bool {
    column::column(of).is_ok()
}

impl Decoder {
    /// A decoder into the columns of `schema`.
    ///
    /// # Errors
    /// Where no record has values of a type.
    pub fn new(topic: Topic, schema: SchemaRef) -> Result<Self, PipelineError> {
        let rows = Object::new(schema.fields().clone());
        let rows = rows.map_err(|fault| failed(topic, None, fault.into()))?;
        Ok(Self { topic, schema, rows })
    }

    /// The records as one batch; a field that is missing is NULL. After an error it is of no more use.
    ///
    /// # Errors
    /// Where a record's field is not of the declared type, or a column that is never NULL misses.
    pub fn decode(&mut self, records: &[Stored]) -> Result<RecordBatch, PipelineError> {
        for stored in records {
            let taken = Flat::new(stored).serialize(Value::of(&mut self.rows));
            taken.map_err(|fault| failed(self.topic, Some(stored), fault.into()))?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let batch = self.rows.columns().map_err(ArrowError::from);
        let batch = batch.and_then(|mut columns| {
            // Room was made for more, and a few rows may lie in memory for long.
            columns.iter_mut().for_each(Array::shrink_to_fit);
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
        });
        batch.map_err(|source| failed(self.topic, records.first(), source))
    }
}

fn failed(topic: Topic, at: Option<&Stored>, source: ArrowError) -> PipelineError {
    let (partition, offset) =
        at.map_or((0, 0), |stored| (stored.position.partition, stored.position.offset));
    PipelineError::Decode { topic, partition, offset, source }
}

#[cfg(test)]
mod tests;
