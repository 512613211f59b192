//! Uses of merchants' e-services on the state portal.

use super::{DATE, Kind, OCCURRED, OFFSET, PARTITION, RECORDED, Table, may, must};

/// One row per use or login.
pub(super) const TABLE: Table = Table {
    name: "portal_usage",
    about: "one row per use of a merchant's e-service on the portal, and per login",
    by_date: true,
    key: &[],
    columns: &[
        may("merchant_id", Kind::Text),
        may("e_service_id", Kind::Text),
        must("event_type", Kind::Text),
        may("login_basket", Kind::Text),
        may("identity_means", Kind::Text),
        may("user_pseudonym", Kind::Text),
        must("record_id", Kind::Text),
        OCCURRED,
        RECORDED,
        PARTITION,
        OFFSET,
        DATE,
    ],
};
