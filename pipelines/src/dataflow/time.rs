//! Time in a dataflow: instants in nanoseconds, hidden columns, and the windows that they fall into.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StructArray,
        TimestampNanosecondArray,
    },
    compute::{filter_record_batch, take_record_batch},
    datatypes::{DataType, Field, Fields, TimeUnit, TimestampNanosecondType, UInt32Type},
};
use datafusion::common::{Result as EngineResult, exec_datafusion_err};

/// The hidden column that holds a row's event time; of a window's row, the window's first instant.
pub const TIMESTAMP: &str = "_timestamp";
/// The hidden column that holds how far a row's own partition had told time before the row came.
pub const WATERMARK: &str = "_watermark";
/// The hidden column that says of an updating query's row whether it takes back an earlier one.
pub const RETRACT: &str = "_retract";

/// The type of instants in a dataflow.
#[must_use]
pub const fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// The columns of a window.
#[must_use]
pub fn window_fields() -> Fields {
    Fields::from(vec![Field::new("start", instant(), false), Field::new("end", instant(), false)])
}

/// The start of the window of `width` that holds `instant`; windows align to 1970.
#[must_use]
pub const fn bin(instant: i64, width: i64) -> i64 {
    instant.saturating_sub(instant.rem_euclid(width))
}

/// A hidden column of instants.
///
/// # Errors
/// Where a batch has none of that name.
pub fn instants<'a>(
    rows: &'a RecordBatch,
    name: &str,
) -> EngineResult<&'a TimestampNanosecondArray> {
    rows.column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or_else(|| exec_datafusion_err!("rows without {name}"))
}

/// The watermark that each row's own partition had told; the earliest instant where none is known.
#[must_use]
pub fn told(rows: &RecordBatch) -> Option<&TimestampNanosecondArray> {
    rows.column_by_name(WATERMARK)?.as_primitive_opt::<TimestampNanosecondType>()
}

/// One window's struct for so many rows.
#[must_use]
pub fn windows(starts: Vec<i64>, ends: Vec<i64>) -> ArrayRef {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(starts)),
        Arc::new(TimestampNanosecondArray::from(ends)),
    ];
    Arc::new(StructArray::new(window_fields(), columns, None))
}

/// The rows whose place in `wanted` is true.
///
/// # Errors
/// Never in practice: the lengths are the same.
pub fn chosen(rows: &RecordBatch, wanted: Vec<bool>) -> EngineResult<RecordBatch> {
    if wanted.iter().all(|wanted| *wanted) {
        return Ok(rows.clone());
    }
    Ok(filter_record_batch(rows, &BooleanArray::from(wanted))?)
}

/// The rows whose place in `wanted` is false, if there are any.
///
/// # Errors
/// Never in practice: the lengths are the same.
pub fn refused(rows: &RecordBatch, wanted: &[bool]) -> EngineResult<Option<RecordBatch>> {
    if wanted.iter().all(|wanted| *wanted) {
        return Ok(None);
    }
    let refused = wanted.iter().map(|wanted| !wanted).collect();
    chosen(rows, refused).map(Some)
}

/// Rows by a number of each, in the order of the numbers; rows of one number keep their order.
///
/// # Errors
/// Never in practice: there are as many numbers as rows.
pub fn split(rows: &RecordBatch, numbers: &[i64]) -> EngineResult<BTreeMap<i64, RecordBatch>> {
    let mut parts = BTreeMap::new();
    let Some(first) = numbers.first() else { return Ok(parts) };
    if numbers.iter().all(|number| number == first) {
        parts.insert(*first, rows.clone());
        return Ok(parts);
    }
    let mut places: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (place, number) in (0_u32..).zip(numbers) {
        places.entry(*number).or_default().push(place);
    }
    for (number, places) in places {
        let places = PrimitiveArray::<UInt32Type>::from(places);
        parts.insert(number, take_record_batch(rows, &places)?);
    }
    Ok(parts)
}

/// The largest of a column's instants.
#[must_use]
pub fn largest(column: &TimestampNanosecondArray) -> Option<i64> {
    column.iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_align_to_the_epoch_before_it_too() {
        assert_eq!(bin(119, 60), 60);
        assert_eq!(bin(120, 60), 120);
        assert_eq!(bin(-1, 60), -60);
    }
}
