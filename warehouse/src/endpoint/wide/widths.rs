//! How wide rows are.

use arrow::{
    array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch},
    datatypes::DataType,
};

/// What a text or a list takes beside its bytes.
const VALUE: usize = 16;

/// How many bytes a value of a type has; none where that is not the same for all.
pub(super) fn fixed(of: &DataType) -> Option<usize> {
    match of {
        DataType::Null | DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).ok(),
        other => other.primitive_width(),
    }
}

/// How many bytes an item of a list has at least, of lists in it an item of theirs.
pub(super) fn least(of: &DataType) -> usize {
    match of {
        DataType::List(item) | DataType::LargeList(item) => least(item.data_type()),
        nested if nested.is_nested() => 1,
        other => fixed(other).unwrap_or(VALUE).max(1),
    }
}

/// How many bytes each row of some columns has.
pub(super) fn widths(batch: &RecordBatch, is_meant: impl Fn(usize) -> bool) -> Vec<usize> {
    let (mut widths, mut each) = (vec![0; batch.num_rows()], 0);
    for (at, column) in batch.columns().iter().enumerate() {
        if !is_meant(at) {
            continue;
        }
        match fixed(column.data_type()) {
            Some(bytes) => each += bytes,
            None => widen(&mut widths, column),
        }
    }
    add(&mut widths, each);
    widths
}

/// How many bytes the widest value of a column has.
pub(super) fn widest(column: &ArrayRef) -> usize {
    let mut widths = vec![0; column.len()];
    widen(&mut widths, column);
    widths.into_iter().max().unwrap_or(0)
}

/// Adds to each width how many bytes a column has there. Values are not looked at, only where they lie.
pub(super) fn widen(widths: &mut [usize], column: &ArrayRef) {
    match column.data_type() {
        DataType::Utf8 => by_offsets(widths, column.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => by_offsets(widths, column.as_string::<i64>().value_offsets()),
        DataType::Binary => by_offsets(widths, column.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => by_offsets(widths, column.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => by_views(widths, column.as_string_view().views()),
        DataType::BinaryView => by_views(widths, column.as_binary_view().views()),
        DataType::List(_) => by_items(widths, column.as_list::<i32>()),
        DataType::LargeList(_) => by_items(widths, column.as_list::<i64>()),
        DataType::Struct(_) => {
            column.as_struct().columns().iter().for_each(|part| widen(widths, part));
        }
        DataType::Dictionary(..) => {
            add(widths, VALUE + widest(column.as_any_dictionary().values()));
        }
        // What is rare is taken for one value.
        other => add(widths, fixed(other).unwrap_or_else(|| column.get_array_memory_size())),
    }
}

fn add(widths: &mut [usize], bytes: usize) {
    widths.iter_mut().for_each(|width| *width += bytes);
}

fn by_offsets<O: OffsetSizeTrait>(widths: &mut [usize], offsets: &[O]) {
    for (width, ends) in widths.iter_mut().zip(offsets.windows(2)) {
        *width += VALUE + ends[1].as_usize() - ends[0].as_usize();
    }
}

/// A view begins with its length.
fn by_views(widths: &mut [usize], views: &[u128]) {
    for (width, view) in widths.iter_mut().zip(views) {
        *width += VALUE + *view as u32 as usize;
    }
}

fn by_items<O: OffsetSizeTrait>(widths: &mut [usize], lists: &GenericListArray<O>) {
    let (offsets, all) = (lists.value_offsets(), lists.values());
    if let Some(bytes) = fixed(all.data_type()) {
        for (width, ends) in widths.iter_mut().zip(offsets.windows(2)) {
            *width += VALUE + (ends[1].as_usize() - ends[0].as_usize()) * bytes;
        }
        return;
    }
    let (from, to) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    let mut items = vec![0; to - from];
    widen(&mut items, &all.slice(from, to - from));
    for (width, ends) in widths.iter_mut().zip(offsets.windows(2)) {
        let own = &items[ends[0].as_usize() - from..ends[1].as_usize() - from];
        *width += VALUE + own.iter().sum::<usize>();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BooleanArray, Int64Array, ListArray, StringArray, StringViewArray},
        datatypes::Int64Type,
    };

    use super::*;

    pub(in super::super) fn lists(of: &[usize]) -> ArrayRef {
        let items = |items: usize| Some((0..items).map(|_| Some(7_i64)));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(of.iter().copied().map(items)))
    }

    pub(in super::super) fn texts(of: &[usize]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(of.iter().map(|bytes| "x".repeat(*bytes))))
    }

    #[test]
    fn a_column_knows_its_widest_value_also_of_a_slice() {
        let views = ["x".repeat(3), "x".repeat(1_000), "x".repeat(5)];
        let columns: [(ArrayRef, usize); 5] = [
            (texts(&[3, 1_000, 5]), 1_000 + VALUE),
            (Arc::new(StringViewArray::from_iter_values(views)), 1_000 + VALUE),
            (lists(&[3, 125, 5]), 1_000 + VALUE),
            (Arc::new(Int64Array::from(vec![1, 2, 3])), 8),
            (Arc::new(BooleanArray::from(vec![true, false, true])), 1),
        ];
        for (column, bytes) in columns {
            assert_eq!(widest(&column), bytes, "{column:?}");
            let end = column.slice(2, 1);
            assert!(widest(&end) < 100, "{end:?}");
        }
    }
}
