//! `COPY … TO STDOUT`: binary for DuckDB and drivers, text and CSV for people and scripts.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_pg::{datatypes::arrow_schema_to_pg_fields, encoder::encode_value};
use bytes::Bytes;
use futures::StreamExt;
use pgwire::{
    api::{
        portal::Format,
        results::{CopyCsvOptions, CopyEncoder, CopyResponse, CopyTextOptions, FieldInfo},
    },
    error::PgWireResult,
    messages::copy::CopyData,
};

use super::failure;
use crate::endpoint::{running::Batches, statement::CopyForm};

/// What begins a binary copy: the signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// An answer as a copy.
pub(super) fn response(
    schema: &SchemaRef,
    batches: Batches,
    form: &CopyForm,
) -> PgWireResult<CopyResponse> {
    let binary = *form == CopyForm::Binary;
    let format = if binary { Format::UnifiedBinary } else { Format::UnifiedText };
    let fields = Arc::new(arrow_schema_to_pg_fields(schema, &format, None)?);
    let encoder = match form {
        CopyForm::Binary => CopyEncoder::new_binary(Arc::clone(&fields)),
        CopyForm::Text { delimiter, null } => {
            let (delimiter, null_string) = (delimiter.as_str().into(), null.as_str().into());
            let options = CopyTextOptions { delimiter, null_string };
            CopyEncoder::new_text(Arc::clone(&fields), options)
        }
        CopyForm::Csv { delimiter, null, .. } => {
            let (delimiter, null_string) = (delimiter.as_str().into(), null.as_str().into());
            let options = CopyCsvOptions { delimiter, null_string, ..CopyCsvOptions::default() };
            CopyEncoder::new_csv(Arc::clone(&fields), options)
        }
    };
    let columns = fields.len();
    let state = Copying { encoder, fields: Arc::clone(&fields), any: false };
    let rows = rows(batches, state, binary);
    let header = match form {
        CopyForm::Csv { header: true, delimiter, .. } => Some(header(&fields, delimiter)),
        _ => None,
    };
    let header = futures::stream::iter(header.map(|line| Ok(CopyData::new(line))));
    Ok(CopyResponse::new(i8::from(binary), columns, header.chain(rows)))
}

fn header(fields: &[FieldInfo], delimiter: &str) -> Bytes {
    let names = fields.iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")));
    format!("{}\n", names.collect::<Vec<_>>().join(delimiter)).into()
}

struct Copying {
    encoder: CopyEncoder,
    fields: Arc<Vec<FieldInfo>>,
    any: bool,
}

fn rows(
    batches: Batches,
    state: Copying,
    binary: bool,
) -> impl futures::Stream<Item = PgWireResult<CopyData>> + Send {
    let begun = Some((batches, state));
    let encoded = futures::stream::unfold(begun, move |state| async move {
        let (mut batches, mut state) = state?;
        match batches.next().await {
            Some(Ok(batch)) => {
                let rows = state.encode(&batch);
                Some((rows, Some((batches, state))))
            }
            Some(Err(stopped)) => Some((vec![Err(failure::stopped(&stopped))], None)),
            // The encoder begins a binary copy with its first row; without one nobody has.
            None if binary && !state.any => {
                let header = CopyData::new(Bytes::from_static(BINARY_HEADER));
                Some((vec![Ok(header)], None))
            }
            None => None,
        }
    });
    encoded.flat_map(futures::stream::iter)
}

impl Copying {
    fn encode(&mut self, batch: &RecordBatch) -> Vec<PgWireResult<CopyData>> {
        let schema = batch.schema();
        (0..batch.num_rows())
            .map(|row| {
                self.any = true;
                for (at, column) in batch.columns().iter().enumerate() {
                    let (field, told) = (schema.field(at), &self.fields[at]);
                    encode_value(&mut self.encoder, column, row, field, told)?;
                }
                Ok(self.encoder.take_copy())
            })
            .collect()
    }
}
