//! Keys of rows as bytes that can be compared and kept, and rows in the order of their keys.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::take_record_batch,
    datatypes::{SchemaRef, UInt32Type},
    row::{RowConverter, SortField},
};
use datafusion::{common::Result as EngineResult, physical_plan::PhysicalExpr};

/// A key's value, in a form that sorts and compares as bytes.
pub type Key = Arc<[u8]>;

/// Turns the columns of keys into bytes.
#[derive(Debug)]
pub struct Keys {
    /// None where there are no keys, and all rows have the same.
    converter: Option<RowConverter>,
}

impl Keys {
    /// For keys of these types.
    ///
    /// # Errors
    /// Where a type cannot be a key.
    pub fn new(columns: &SchemaRef) -> EngineResult<Self> {
        let fields = columns.fields().iter();
        let fields: Vec<_> =
            fields.map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { converter })
    }

    /// The keys of so many rows.
    ///
    /// # Errors
    /// Where a column is of another type.
    pub fn of(&self, columns: &[ArrayRef], rows: usize) -> EngineResult<Vec<Key>> {
        let Some(converter) = &self.converter else {
            return Ok(vec![Key::default(); rows]);
        };
        let converted = converter.convert_columns(columns)?;
        Ok(converted.iter().map(|row| row.data().into()).collect())
    }

    /// The keys that expressions give of a batch's rows.
    ///
    /// # Errors
    /// Where one cannot be evaluated.
    pub fn evaluated(
        &self,
        expressions: &[Arc<dyn PhysicalExpr>],
        rows: &RecordBatch,
    ) -> EngineResult<Vec<Key>> {
        let values = expressions.iter().map(|one| one.evaluate(rows)?.into_array(rows.num_rows()));
        self.of(&values.collect::<EngineResult<Vec<_>>>()?, rows.num_rows())
    }

    /// Columns of keys again.
    ///
    /// # Errors
    /// Where bytes are of other keys.
    pub fn columns<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> EngineResult<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
    }
}

/// A key and where its rows stand.
pub type Run = (Key, std::ops::Range<usize>);

/// Rows in the order of their keys and then of `times`, and where each key's rows stand among them.
///
/// # Errors
/// Never in practice: there are as many keys and times as rows.
pub fn sorted(
    rows: &RecordBatch,
    keys: Vec<Key>,
    times: &[i64],
) -> EngineResult<(RecordBatch, Vec<Run>)> {
    let mut places: Vec<u32> = (0_u32..).take(keys.len()).collect();
    let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
    places.sort_by(|left, right| {
        let (left, right) = (at(*left), at(*right));
        (&keys[left], times[left]).cmp(&(&keys[right], times[right]))
    });
    let mut runs: Vec<Run> = Vec::new();
    for (row, place) in places.iter().enumerate() {
        let key = &keys[at(*place)];
        match runs.last_mut() {
            Some((known, range)) if known == key => range.end = row + 1,
            _ => runs.push((key.clone(), row..row + 1)),
        }
    }
    let places = arrow::array::PrimitiveArray::<UInt32Type>::from(places);
    Ok((take_record_batch(rows, &places)?, runs))
}
