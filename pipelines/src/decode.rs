//! Records into columns: each record's flat JSON form, decoded into the columns that pipelines need.
//!
//! Nothing is written as text: the record's fields, of those that are needed, go straight into the
//! decoder's tape.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
    error::ArrowError,
    json::{ReaderBuilder, reader::Decoder as Tape},
};
use ingest::{record::Stored, topic::Topic, wire::Flat};

use crate::{error::PipelineError, pipeline::Pipeline};
use wanted::Wanted;

mod wanted;

/// Decodes the records of one stream.
#[derive(Debug)]
pub struct Decoder {
    topic: Topic,
    schema: SchemaRef,
    fields: HashSet<String>,
    tape: Tape,
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

impl Decoder {
    /// A decoder into the columns of `schema`.
    ///
    /// # Errors
    /// Where a type cannot be read from JSON.
    pub fn new(topic: Topic, schema: SchemaRef) -> Result<Self, PipelineError> {
        let tape = ReaderBuilder::new(Arc::clone(&schema)).build_decoder();
        let tape = tape.map_err(|source| failed(topic, 0, 0, source))?;
        let fields = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { topic, schema, fields, tape })
    }

    /// The records as one batch; a field that is missing is NULL.
    ///
    /// # Errors
    /// Where a record's field is not of the declared type, or a column that is never NULL misses.
    pub fn decode(&mut self, records: &[Stored]) -> Result<RecordBatch, PipelineError> {
        let Some(first) = records.first() else {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        };
        let flat: Vec<_> = records.iter().map(Flat::new).collect();
        let rows = flat.iter().map(|object| Wanted { object, fields: &self.fields });
        let rows: Vec<_> = rows.collect();
        let decoded = self.tape.serialize(&rows).and_then(|()| self.tape.flush());
        let position = first.position;
        match decoded {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
            Err(source) => Err(failed(self.topic, position.partition, position.offset, source)),
        }
    }
}

const fn failed(topic: Topic, partition: u32, offset: u64, source: ArrowError) -> PipelineError {
    PipelineError::Decode { topic, partition, offset, source }
}
