//! Recipients, without what identifies them.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per change of a recipient.
pub(super) const TABLE: Table = Table {
    name: "persons",
    about: "one row per change of a recipient",
    by_date: false,
    key: &["recipient"],
    columns: &[
        must("recipient", Kind::Text),
        may("age_band", Kind::Text),
        may("municipality", Kind::Text),
        must("alive", Kind::Flag),
        must("removed", Kind::Flag),
        must("valid_from", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
