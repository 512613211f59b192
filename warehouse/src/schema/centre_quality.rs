//! How well centres serve, and what the state pays for it.

use super::{COMPUTED, Kind, Table, may, must};

/// One row per month, centre and service, and one of the whole centre, without a service; a newer
/// row takes the place of an older one.
pub(super) const TABLE: Table = Table {
    name: "centre_quality",
    about: "quality and subsidy of a centre's services by month",
    by_date: false,
    key: &["month", "centre_id", "service_id"],
    columns: &[
        must("month", Kind::Day),
        must("centre_id", Kind::Text),
        may("service_id", Kind::Text),
        must("completed", Kind::Long),
        must("requested", Kind::Long),
        must("answered", Kind::Long),
        must("abandoned", Kind::Long),
        may("mean_wait_seconds", Kind::Long),
        may("mean_talk_seconds", Kind::Long),
        may("answered_bp", Kind::Long),
        may("resolved_bp", Kind::Long),
        may("mean_rating", Kind::Quantity),
        may("criteria_asked", Kind::Long),
        may("criteria_met", Kind::Long),
        may("quality_bp", Kind::Long),
        may("subsidy", Kind::Money),
        may("ratings", Kind::Long),
        COMPUTED,
    ],
};
