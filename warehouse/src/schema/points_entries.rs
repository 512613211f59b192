//! Points earned and spent.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per movement of points.
pub(super) const TABLE: Table = Table {
    name: "points_entries",
    about: "one row per movement of points",
    by_date: true,
    key: &[],
    columns: &[
        must("benefit_id", Kind::Text),
        must("merchant_id", Kind::Text),
        must("authorisation_id", Kind::Text),
        may("recipient", Kind::Text),
        must("points", Kind::Long),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
