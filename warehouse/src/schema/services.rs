//! Services of the centres.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per completed service of a centre.
pub(super) const TABLE: Table = Table {
    name: "services",
    about: "one row per completed service of a centre",
    by_date: true,
    key: &[],
    columns: &[
        must("record_id", Kind::Text),
        must("event_type", Kind::Text),
        may("centre_id", Kind::Text),
        may("service_id", Kind::Text),
        may("channel", Kind::Text),
        may("outcome", Kind::Text),
        may("official_id", Kind::Text),
        may("institution_id", Kind::Text),
        may("started_at", Kind::Instant),
        may("completed_at", Kind::Instant),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
