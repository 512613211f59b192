//! Which remote officials are free.

use super::{Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per change.
pub(super) const TABLE: Table = Table {
    name: "official_availability",
    about: "one row per change of an official's availability",
    by_date: false,
    key: &["official_id"],
    columns: &[
        must("official_id", Kind::Text),
        may("institution_id", Kind::Text),
        must("availability", Kind::Text),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
