//! What was refused.

use super::{DATE, Kind, OFFSET, PARTITION, RECORDED, Table, must};

/// One row per refused input, without what it held.
pub(super) const TABLE: Table = Table {
    name: "dead_letters",
    about: "one row per refused input, without what it held",
    by_date: true,
    key: &[],
    columns: &[
        must("record_id", Kind::Text),
        must("connector", Kind::Text),
        must("reason", Kind::Text),
        must("detail", Kind::Text),
        must("origin", Kind::Text),
        must("origin_line", Kind::Long),
        must("payload_bytes", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
