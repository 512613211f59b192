//! What somebody should look at.

use super::{DATE, Kind, Table, must};

/// One row per finding.
pub(super) const TABLE: Table = Table {
    name: "anomalies",
    about: "one row per finding that somebody should look at",
    by_date: true,
    key: &[],
    columns: &[
        must("kind", Kind::Text),
        must("subject", Kind::Text),
        must("window_start", Kind::Instant),
        must("window_end", Kind::Instant),
        must("observed", Kind::Long),
        must("compared", Kind::Long),
        DATE,
    ],
};
