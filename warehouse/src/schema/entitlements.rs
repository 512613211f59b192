//! Who is in which group on which days.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per recipient, group and run of days.
pub(super) const TABLE: Table = Table {
    name: "entitlements",
    about: "one row per recipient, group and run of days",
    by_date: false,
    key: &["recipient", "group_id", "valid_from"],
    columns: &[
        must("recipient", Kind::Text),
        must("group_id", Kind::Text),
        must("valid_from", Kind::Day),
        may("valid_until", Kind::Day),
        must("known_from", Kind::Instant),
        must("registry_version", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
