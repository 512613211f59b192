//! What was given, by line and instruction.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per authorisation, line and instruction; refunds are negative, so a statement is their
/// sum.
pub(super) const TABLE: Table = Table {
    name: "benefit_lines",
    about: "one row per authorisation, line and instruction; refunds are negative, so a statement is their sum",
    by_date: true,
    key: &[],
    columns: &[
        must("grantor_id", Kind::Text),
        must("merchant_id", Kind::Text),
        must("instruction_id", Kind::Text),
        must("instruction_version", Kind::Integer),
        must("benefit_id", Kind::Text),
        must("place_id", Kind::Text),
        must("territory", Kind::Text),
        must("terminal_id", Kind::Text),
        must("authorisation_id", Kind::Text),
        must("line", Kind::Integer),
        may("recipient", Kind::Text),
        must("item", Kind::Text),
        may("category", Kind::Text),
        must("quantity", Kind::Quantity),
        must("unit_price", Kind::Money),
        must("units", Kind::Long),
        must("amount", Kind::Money),
        must("grantor_amount", Kind::Money),
        must("merchant_amount", Kind::Money),
        must("excess_amount", Kind::Money),
        // Who bears the excess; none without.
        may("excess_borne_by", Kind::Text),
        must("kind", Kind::Text),
        must("mode", Kind::Text),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
