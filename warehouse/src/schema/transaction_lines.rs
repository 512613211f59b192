//! What was bought.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per line of a basket.
pub(super) const TABLE: Table = Table {
    name: "transaction_lines",
    about: "one row per line of a basket",
    by_date: true,
    key: &[],
    columns: &[
        must("authorisation_id", Kind::Text),
        must("line", Kind::Integer),
        must("merchant_id", Kind::Text),
        must("place_id", Kind::Text),
        must("terminal_id", Kind::Text),
        must("item", Kind::Text),
        may("category", Kind::Text),
        must("quantity", Kind::Quantity),
        must("unit_price", Kind::Money),
        must("total", Kind::Money),
        must("benefit", Kind::Money),
        must("payable", Kind::Money),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
