//! What each instruction adds to a statement.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per statement, instruction and rate of value added tax; it never changes.
pub(super) const TABLE: Table = Table {
    name: "settlement_lines",
    about: "one row per statement, instruction and rate of value added tax",
    by_date: false,
    key: &["statement", "instruction_id", "vat_bp"],
    columns: &[
        must("statement", Kind::Text),
        must("grantor_id", Kind::Text),
        must("merchant_id", Kind::Text),
        must("period", Kind::Text),
        must("instruction_id", Kind::Text),
        may("vat_bp", Kind::Integer),
        must("uses", Kind::Long),
        must("lines", Kind::Long),
        must("units", Kind::Long),
        must("benefit", Kind::Money),
        must("grantor_part", Kind::Money),
        must("grantor_excess", Kind::Money),
        must("vat", Kind::Money),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
