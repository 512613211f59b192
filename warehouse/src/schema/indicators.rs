//! The indicators RR1 to RR6 of the project's aims.

use super::{COMPUTED, Kind, Table, may, must};

/// One row per indicator and quarter; a newer row takes the place of an older one.
pub(super) const TABLE: Table = Table {
    name: "indicators",
    about: "the indicators RR1 to RR6 by quarter, with their targets",
    by_date: false,
    key: &["indicator", "quarter"],
    columns: &[
        must("indicator", Kind::Text),
        must("quarter", Kind::Day),
        must("definition_lv", Kind::Text),
        must("definition_en", Kind::Text),
        must("unit", Kind::Text),
        may("baseline", Kind::Money),
        may("measured", Kind::Money),
        may("to_date", Kind::Money),
        must("target_2_years", Kind::Money),
        must("target_3_years", Kind::Money),
        COMPUTED,
    ],
};
