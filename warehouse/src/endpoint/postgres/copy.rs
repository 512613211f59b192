//! `COPY … TO STDOUT`: binary for DuckDB and drivers, text and CSV for people and scripts.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_pg::{datatypes::arrow_schema_to_pg_fields, encoder::encode_value};
use bytes::Bytes;
use futures::StreamExt;
use pgwire::{
    api::{
        portal::Format,
        results::{CopyEncoder, CopyResponse, CopyTextOptions, FieldInfo},
    },
    error::PgWireResult,
    messages::copy::CopyData,
};

use super::failure;
use crate::endpoint::{running::Batches, statement::CopyForm};

/// What begins a binary copy: the signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What parts values in text, and what stands there for a missing one.
const TAB: &str = "\t";
const MISSING: &str = "\\N";

/// An answer as a copy.
pub(super) fn response(
    schema: &SchemaRef,
    batches: Batches,
    form: &CopyForm,
) -> PgWireResult<CopyResponse> {
    let binary = *form == CopyForm::Binary;
    let format = if binary { Format::UnifiedBinary } else { Format::UnifiedText };
    let fields = Arc::new(arrow_schema_to_pg_fields(schema, &format, None)?);
    let text = |delimiter: &str, null: &str| {
        let options = CopyTextOptions { delimiter: delimiter.into(), null_string: null.into() };
        CopyEncoder::new_text(Arc::clone(&fields), options)
    };
    let (encoder, csv) = match form {
        CopyForm::Binary => (CopyEncoder::new_binary(Arc::clone(&fields)), None),
        CopyForm::Text { delimiter, null } => (text(delimiter, null), None),
        CopyForm::Csv { delimiter, null, .. } => {
            (text(TAB, MISSING), Some(Csv { delimiter: delimiter.clone(), null: null.clone() }))
        }
    };
    let columns = fields.len();
    let state = Copying { encoder, csv, fields: Arc::clone(&fields), any: false };
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
    /// What its text is made of.
    csv: Option<Csv>,
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
                let row = self.encoder.take_copy();
                Ok(match &self.csv {
                    Some(csv) => CopyData::new(csv.line(&row.data)),
                    None => row,
                })
            })
            .collect()
    }
}

/// How CSV is written: the encoder's own does not tell empty from missing, so it is made of its text, which
/// escapes whatever could be taken for something else.
struct Csv {
    delimiter: String,
    null: String,
}

impl Csv {
    /// A row of text as a line.
    fn line(&self, row: &[u8]) -> Bytes {
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        let mut line = Vec::with_capacity(row.len() + 1);
        for (at, value) in row.split(|byte| TAB.as_bytes().contains(byte)).enumerate() {
            if at > 0 {
                line.extend_from_slice(self.delimiter.as_bytes());
            }
            if value == MISSING.as_bytes() {
                line.extend_from_slice(self.null.as_bytes());
            } else {
                self.value(&unescaped(value), &mut line);
            }
        }
        line.push(b'\n');
        line.into()
    }

    /// Adds a value; in quotes where it would be taken for a missing one, or for more than one.
    fn value(&self, value: &[u8], line: &mut Vec<u8>) {
        let parts = |byte: &u8| {
            matches!(byte, b'"' | b'\n' | b'\r') || self.delimiter.as_bytes().contains(byte)
        };
        if value != self.null.as_bytes() && !value.iter().any(parts) {
            line.extend_from_slice(value);
            return;
        }
        line.push(b'"');
        for byte in value {
            if *byte == b'"' {
                line.push(b'"');
            }
            line.push(*byte);
        }
        line.push(b'"');
    }
}

/// A value of text as it was before it was escaped.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let (mut plain, mut bytes) = (Vec::with_capacity(value.len()), value.iter());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                other => other.copied().unwrap_or(b'\\'),
            },
            other => *other,
        });
    }
    plain
}
