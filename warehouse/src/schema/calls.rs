//! Calls between centres and remote officials.

use super::{DATE, Kind, Table, may, must};

/// One row per call.
pub(super) const TABLE: Table = Table {
    name: "calls",
    about: "one row per call of a centre to a remote official",
    by_date: true,
    key: &[],
    columns: &[
        may("centre_id", Kind::Text),
        may("service_id", Kind::Text),
        may("institution_id", Kind::Text),
        may("official_id", Kind::Text),
        must("call_id", Kind::Text),
        may("language", Kind::Text),
        may("requested_at", Kind::Instant),
        may("offered_at", Kind::Instant),
        may("accepted_at", Kind::Instant),
        may("connected_at", Kind::Instant),
        may("ended_at", Kind::Instant),
        must("abandoned", Kind::Flag),
        may("waiting_seconds", Kind::Long),
        may("talking_seconds", Kind::Long),
        may("rating", Kind::Integer),
        may("resolved", Kind::Flag),
        DATE,
    ],
};
