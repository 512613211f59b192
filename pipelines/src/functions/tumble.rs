//! `tumble(width)`: the window of fixed width that an instant falls into.
//!
//! In a file it has one argument; the planner adds the source's event time as the second.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, StructArray},
    datatypes::{
        ArrowTimestampType, DataType, Field, Fields, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Tumble {
    signature: Signature,
}

impl Default for Tumble {
    fn default() -> Self {
        Self { signature: Signature::new(TypeSignature::Any(2), Volatility::Immutable) }
    }
}

/// The first instant of the window of `width` that holds `instant`; windows align to 1970.
#[must_use]
pub const fn window_start(instant: i64, width: i64) -> i64 {
    instant.saturating_sub(instant.rem_euclid(width))
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &'static str {
        "tumble"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, instant @ DataType::Timestamp(_, None)] => Ok(DataType::Struct(fields(instant))),
            _ => plan_err!("tumble(width) needs an event time of type TIMESTAMP"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [ColumnarValue::Scalar(ScalarValue::Int64(Some(width))), instant] =
            arguments.args.as_slice()
        else {
            return exec_err!("tumble(width) needs a literal width");
        };
        let instant = instant.to_array(rows)?;
        let windows = match instant.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                windows::<TimestampNanosecondType>(&instant, width.saturating_mul(1_000))
            }
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                windows::<TimestampMicrosecondType>(&instant, *width)
            }
            DataType::Timestamp(TimeUnit::Millisecond, None) => {
                windows::<TimestampMillisecondType>(&instant, *width / 1_000)
            }
            other => return exec_err!("tumble(width) cannot bin {other}"),
        };
        Ok(ColumnarValue::Array(Arc::new(windows)))
    }
}

fn fields(instant: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("start", instant.clone(), true),
        Field::new("end", instant.clone(), true),
    ])
}

fn windows<T: ArrowTimestampType>(instants: &ArrayRef, width: i64) -> StructArray {
    let instants = instants.as_primitive::<T>();
    let starts: PrimitiveArray<T> = instants.unary(|instant| window_start(instant, width));
    let ends: PrimitiveArray<T> = starts.unary(|start| start.saturating_add(width));
    let columns: Vec<ArrayRef> = vec![Arc::new(starts), Arc::new(ends)];
    StructArray::new(fields(instants.data_type()), columns, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_align_to_the_epoch_before_it_too() {
        assert_eq!(window_start(119, 60), 60);
        assert_eq!(window_start(120, 60), 120);
        assert_eq!(window_start(-1, 60), -60);
    }
}
