//! What became of authorisations.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per transition after the decision.
pub(super) const TABLE: Table = Table {
    name: "authorisation_events",
    about: "one row per transition after the decision",
    by_date: true,
    key: &[],
    columns: &[
        must("authorisation_id", Kind::Text),
        must("transition", Kind::Text),
        must("status", Kind::Text),
        must("merchant_id", Kind::Text),
        must("place_id", Kind::Text),
        must("terminal_id", Kind::Text),
        may("receipt_number", Kind::Text),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
