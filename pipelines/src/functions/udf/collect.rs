//! A group's rows, kept until the group ends.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, new_empty_array},
    compute::concat,
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue, utils::SingleRowListArrayBuilder},
    logical_expr::Accumulator,
};

/// What is called over the columns of a group.
pub type Call = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;

/// The columns of a group's rows so far, in pieces.
pub struct Collected {
    columns: Vec<Vec<ArrayRef>>,
    types: Vec<DataType>,
    /// Bytes of all pieces.
    bytes: usize,
    call: Call,
}

impl fmt::Debug for Collected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Collected").field("types", &self.types).finish_non_exhaustive()
    }
}

impl Collected {
    pub fn new(types: &[DataType], call: Call) -> Self {
        Self { columns: vec![Vec::new(); types.len()], types: types.to_vec(), bytes: 0, call }
    }

    fn whole(&self) -> Result<Vec<ArrayRef>> {
        let whole = self.columns.iter().zip(&self.types).map(|(pieces, data_type)| {
            let pieces: Vec<_> = pieces.iter().map(AsRef::as_ref).collect();
            Ok(match pieces.as_slice() {
                [] => new_empty_array(data_type),
                pieces => concat(pieces)?,
            })
        });
        whole.collect()
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (pieces, values) in self.columns.iter_mut().zip(values) {
            self.bytes += own_bytes(values);
            pieces.push(Arc::clone(values));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (pieces, states) in self.columns.iter_mut().zip(states) {
            let lists = states.as_list::<i32>();
            for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
                let values = lists.value(row);
                self.bytes += own_bytes(&values);
                pieces.push(values);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let whole = self.whole()?.into_iter();
        Ok(whole.map(|column| SingleRowListArrayBuilder::new(column).build_list_scalar()).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let whole = self.whole()?;
        let result = (self.call)(&whole)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn size(&self) -> usize {
        let pieces: usize = self.columns.iter().map(Vec::capacity).sum();
        size_of_val(self) + pieces * size_of::<ArrayRef>() + self.bytes
    }
}

/// Bytes of a piece without those of the batch around it, whose other parts other groups count.
fn own_bytes(piece: &ArrayRef) -> usize {
    let own = piece.to_data().get_slice_memory_size();
    own.unwrap_or_else(|_| piece.get_array_memory_size())
}
