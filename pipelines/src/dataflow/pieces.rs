//! Rows in the order in which they came, in few pieces, each row at a place that stays.

use arrow::{array::RecordBatch, compute::concat_batches};
use datafusion::common::Result as EngineResult;

/// Rows as they came.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Each with the place of its first row.
    pieces: Vec<(usize, RecordBatch)>,
}

impl Pieces {
    /// Adds rows; the place of the first of them.
    ///
    /// A piece that has less than twice as many rows as come after it becomes one with them. So there
    /// are few, whatever comes at once, and a row is copied again only as its piece grows by half.
    ///
    /// # Errors
    /// Where they have other columns.
    pub fn push(&mut self, rows: RecordBatch) -> EngineResult<usize> {
        let place = self.pieces.last().map_or(0, |(first, rows)| first + rows.num_rows());
        let mut after = rows.num_rows();
        let small = self.pieces.iter().rev().take_while(|(_, piece)| {
            let small = piece.num_rows() < 2 * after;
            after += piece.num_rows();
            small
        });
        let kept = self.pieces.len() - small.count();
        let first = self.pieces.get(kept).map_or(place, |(first, _)| *first);
        let parts = self.pieces[kept..].iter().map(|(_, piece)| piece).chain([&rows]);
        let piece = concat_batches(&rows.schema(), parts)?;
        self.pieces.truncate(kept);
        self.pieces.push((first, piece));
        Ok(place)
    }

    /// So many rows from a place on, of those that were added together.
    #[must_use]
    pub fn get(&self, place: usize, rows: usize) -> Option<RecordBatch> {
        let after = self.pieces.partition_point(|(first, _)| *first <= place);
        let (first, piece) = self.pieces.get(after.checked_sub(1)?)?;
        Some(piece.slice(place - first, rows))
    }

    /// All rows.
    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.pieces.iter().map(|(_, piece)| piece)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, UInt64Array};

    use super::*;

    fn numbers(numbers: std::ops::Range<u64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", column)]).expect("rows")
    }

    #[test]
    fn rows_stay_in_their_places_and_lie_in_few_pieces() {
        let (mut pieces, mut next, mut places) = (Pieces::default(), 0_u64, Vec::new());
        for at in 0..1_000 {
            let rows = numbers(next..next + at % 5 + 1);
            next += at % 5 + 1;
            places.push((pieces.push(rows.clone()).expect("added"), rows));
            // Each has at least twice as many rows as the next: 2^11 - 1 of at most 3,000.
            assert!(pieces.batches().count() <= 11, "{}", pieces.batches().count());
        }
        for (place, rows) in places {
            assert_eq!(pieces.get(place, rows.num_rows()), Some(rows));
        }
        let all: usize = pieces.batches().map(RecordBatch::num_rows).sum();
        assert_eq!(all, 3_000);
    }
}
