//! How values stand in the JSON of a file: as Arroyo writes them, where Arrow would otherwise.

use arrow::{
    array::{Array, AsArray, Int64Array, StringArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, FieldRef, Int64Type, TimeUnit},
    error::ArrowError,
    json::{Encoder, EncoderFactory, EncoderOptions, writer::NullableEncoder},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::dialect::{
    format::{DecimalEncoding, JsonFormat, TimestampFormat},
    table::holds_json,
};

/// Writes values as a table's format says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    times: TimestampFormat,
    decimals: DecimalEncoding,
}

impl Values {
    pub(super) const fn of(format: &JsonFormat) -> Self {
        Self { times: format.timestamp_format, decimals: format.decimal_encoding }
    }
}

impl EncoderFactory for Values {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        use DecimalEncoding::{Bytes, Number, String};
        let encoder: Box<dyn Encoder + 'a> = match (array.data_type(), self.times, self.decimals) {
            (DataType::Timestamp(..) | DataType::Date32, TimestampFormat::UnixMillis, _) => {
                let millis = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
                let millis = cast(&millis, &DataType::Int64)?;
                Box::new(Integers(millis.as_primitive::<Int64Type>().clone()))
            }
            (DataType::Decimal128(..), _, encoding) => {
                let decimals = array.as_primitive::<Decimal128Type>();
                match encoding {
                    Number => return Ok(None),
                    String => Box::new(Texts(|row| decimals.value_as_string(row))),
                    Bytes => Box::new(Texts(|row| base64(decimals.value(row).to_be_bytes()))),
                }
            }
            (DataType::Utf8, ..) if holds_json(field) => {
                Box::new(Embedded(array.as_string::<i32>()))
            }
            (DataType::Binary, ..) => {
                let bytes = array.as_binary::<i32>();
                Box::new(Texts(|row| base64(bytes.value(row))))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Integers, as they are.
struct Integers(Int64Array);

impl Encoder for Integers {
    fn encode(&mut self, row: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(self.0.value(row).to_string().as_bytes());
    }
}

/// Texts of digits and letters, which JSON has as they are.
struct Texts<F>(F);

impl<F: Fn(usize) -> String> Encoder for Texts<F> {
    fn encode(&mut self, row: usize, to: &mut Vec<u8>) {
        to.push(b'"');
        to.extend_from_slice(self.0(row).as_bytes());
        to.push(b'"');
    }
}

/// Texts that are JSON, as the JSON that they are; what is none stays a text.
struct Embedded<'a>(&'a StringArray);

impl Encoder for Embedded<'_> {
    fn encode(&mut self, row: usize, to: &mut Vec<u8>) {
        let text = self.0.value(row);
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            // A record of a stream may have any text there.
            to.extend_from_slice(Value::from(text).to_string().as_bytes());
            return;
        }
        // Within a text of JSON a line's end is escaped; between its parts it would end the row.
        let is_end = |byte: u8| matches!(byte, b'\n' | b'\r');
        to.extend(text.bytes().map(|byte| if is_end(byte) { b' ' } else { byte }));
    }
}
