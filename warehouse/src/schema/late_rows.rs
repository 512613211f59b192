//! What came after its window had closed.

use super::{DATE, Kind, OCCURRED, Table, must};

/// One row per row that a pipeline could not count any more.
pub(super) const TABLE: Table = Table {
    name: "late_rows",
    about: "one row per row that came after its window had closed, as the pipeline would have counted it",
    by_date: true,
    key: &[],
    columns: &[must("pipeline", Kind::Text), OCCURRED, must("counted", Kind::Text), DATE],
};
