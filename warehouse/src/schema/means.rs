//! Identification means, by their keyed hashes.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per change of a means.
pub(super) const TABLE: Table = Table {
    name: "means",
    about: "one row per change of a means",
    by_date: false,
    key: &["token"],
    columns: &[
        must("token", Kind::Text),
        must("issuer_id", Kind::Text),
        must("kind", Kind::Text),
        may("recipient", Kind::Text),
        must("valid_from", Kind::Day),
        may("valid_to", Kind::Day),
        must("blocked", Kind::Flag),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
