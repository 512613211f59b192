//! Decisions.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per decision.
pub(super) const TABLE: Table = Table {
    name: "authorisations",
    about: "one row per decision",
    by_date: true,
    key: &[],
    columns: &[
        must("authorisation_id", Kind::Text),
        must("decision", Kind::Text),
        may("decline_reason", Kind::Text),
        must("means_status", Kind::Text),
        must("status", Kind::Text),
        must("mode", Kind::Text),
        must("merchant_id", Kind::Text),
        must("place_id", Kind::Text),
        must("territory", Kind::Text),
        must("terminal_id", Kind::Text),
        may("recipient", Kind::Text),
        may("receipt_number", Kind::Text),
        must("total", Kind::Money),
        must("benefit", Kind::Money),
        must("payable", Kind::Money),
        must("excess", Kind::Money),
        must("points_earned", Kind::Long),
        must("points_spent", Kind::Long),
        must("registry_version", Kind::Long),
        OCCURRED,
        may("expires_at", Kind::Instant),
        RECORDED,
        PARTITION,
        OFFSET,
        // Of a decision that gave nothing: why the instruction that came nearest did not. Rows that
        // landed before the column was there have none.
        may("no_benefit_reason", Kind::Text),
        DATE,
    ],
};
