//! What grantors owe merchants, closed period by closed period, and what became of it.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per statement and state; the amounts are those of its closing in every one of them.
pub(super) const TABLE: Table = Table {
    name: "settlement_statements",
    about: "one row per statement and state: closed, sent, paid; amounts never change",
    by_date: false,
    key: &["grantor_id", "merchant_id", "period", "correction"],
    columns: &[
        must("statement", Kind::Text),
        must("grantor_id", Kind::Text),
        must("merchant_id", Kind::Text),
        must("period", Kind::Text),
        must("correction", Kind::Integer),
        must("state", Kind::Text),
        may("reason", Kind::Text),
        // How often a bank has refused or returned the payment.
        must("refusals", Kind::Integer),
        must("lines", Kind::Long),
        must("benefit", Kind::Money),
        must("grantor_part", Kind::Money),
        must("grantor_excess", Kind::Money),
        must("vat", Kind::Money),
        must("carried_in", Kind::Money),
        must("payable", Kind::Money),
        must("carried_out", Kind::Money),
        // The id of the payment order that it is in; none where there is nothing to pay.
        may("payment_order", Kind::Text),
        // Which record of the stream closed it, and when.
        must("closing_offset", Kind::Long),
        must("closed_at", Kind::Instant),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
