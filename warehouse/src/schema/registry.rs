//! The registry, one table per kind; one row per change of an entry.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// Who funds benefits.
pub(super) const GRANTORS: Table = Table {
    name: "registry_grantors",
    about: "who funds benefits",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("kind", Kind::Text),
        may("reg_no", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Who gives benefits at the till.
pub(super) const MERCHANTS: Table = Table {
    name: "registry_merchants",
    about: "who gives benefits at the till",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("reg_no", Kind::Text),
        may("vat_no", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Where terminals stand.
pub(super) const PLACES: Table = Table {
    name: "registry_places",
    about: "where terminals stand",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("merchant_id", Kind::Text),
        may("territory", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// The devices that ask.
pub(super) const TERMINALS: Table = Table {
    name: "registry_terminals",
    about: "the devices that ask",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("place_id", Kind::Text),
        may("kind", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// What grantors and merchants agreed.
pub(super) const CONTRACTS: Table = Table {
    name: "registry_contracts",
    about: "what grantors and merchants agreed",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("grantor_id", Kind::Text),
        may("merchant_id", Kind::Text),
        may("valid_from", Kind::Day),
        may("valid_to", Kind::Day),
        may("vat_bp", Kind::Integer),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Who issues identification means.
pub(super) const ISSUERS: Table = Table {
    name: "registry_issuers",
    about: "who issues identification means",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("means", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// What grantors fund.
pub(super) const BENEFITS: Table = Table {
    name: "registry_benefits",
    about: "what grantors fund",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("grantor_id", Kind::Text),
        may("legal_basis", Kind::Text),
        may("kind", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// The rules of benefits, by version.
pub(super) const INSTRUCTIONS: Table = Table {
    name: "registry_instructions",
    about: "the rules of benefits, by version",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("instruction_id", Kind::Text),
        may("version", Kind::Integer),
        may("benefit_id", Kind::Text),
        may("label_lv", Kind::Text),
        may("label_en", Kind::Text),
        may("priority", Kind::Integer),
        may("valid_from", Kind::Day),
        may("valid_to", Kind::Day),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Services of merchants on the portal.
pub(super) const E_SERVICES: Table = Table {
    name: "registry_e_services",
    about: "services of merchants on the portal",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("merchant_id", Kind::Text),
        may("url", Kind::Text),
        may("login_basket", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Contact points of the centres network.
pub(super) const CENTRES: Table = Table {
    name: "registry_centres",
    about: "contact points of the centres network",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("kind", Kind::Text),
        may("territory", Kind::Text),
        may("lat", Kind::Degrees),
        may("lon", Kind::Degrees),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
