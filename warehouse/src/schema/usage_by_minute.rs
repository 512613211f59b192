//! Use by the minute.

use super::{DATE, Kind, Table, must};

/// One row per minute, place and decision.
pub(super) const TABLE: Table = Table {
    name: "usage_by_minute",
    about: "one row per minute, place and decision",
    by_date: true,
    key: &[],
    columns: &[
        must("window_start", Kind::Instant),
        must("window_end", Kind::Instant),
        must("merchant_id", Kind::Text),
        must("place_id", Kind::Text),
        must("territory", Kind::Text),
        must("decision", Kind::Text),
        must("authorisations", Kind::Long),
        must("total", Kind::Money),
        must("benefit", Kind::Money),
        must("payable", Kind::Money),
        DATE,
    ],
};
