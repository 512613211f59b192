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
        may("lat", Kind::Float),
        may("lon", Kind::Float),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// What merchants sell, and what kind of thing it is.
pub(super) const CATALOGUE: Table = Table {
    name: "registry_catalogue",
    about: "what merchants sell, and what kind of thing it is",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("merchant_id", Kind::Text),
        may("item", Kind::Text),
        may("category", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Who may be meant by an instruction; members are not told.
pub(super) const GROUPS: Table = Table {
    name: "registry_groups",
    about: "who may be meant by an instruction; members are not told",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("condition", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Institutions whose officials consult remotely.
pub(super) const INSTITUTIONS: Table = Table {
    name: "registry_institutions",
    about: "institutions whose officials consult remotely",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Remote officials, by the identifiers of their institutions.
pub(super) const OFFICIALS: Table = Table {
    name: "registry_officials",
    about: "remote officials, by the identifiers of their institutions",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("institution_id", Kind::Text),
        may("services", Kind::Text),
        may("languages", Kind::Text),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// Services of the centres with their quality criteria.
pub(super) const SERVICES: Table = Table {
    name: "registry_services",
    about: "services of the centres with their quality criteria",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("name_lv", Kind::Text),
        may("name_en", Kind::Text),
        may("max_wait_seconds", Kind::Long),
        may("min_answered_bp", Kind::Integer),
        may("min_resolved_bp", Kind::Integer),
        may("min_rating", Kind::Quantity),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};

/// What the state pays to centres: a base by kind, a rate by service, and the least quality.
pub(super) const SUBSIDIES: Table = Table {
    name: "registry_subsidies",
    about: "what the state pays to centres: a base by kind, a rate by service, and the least quality",
    by_date: false,
    key: &["entry_id"],
    columns: &[
        must("entry_id", Kind::Text),
        may("valid_from", Kind::Day),
        may("valid_to", Kind::Day),
        may("base_centre", Kind::Money),
        may("base_library", Kind::Money),
        may("base_mobile", Kind::Money),
        may("pak_01", Kind::Money),
        may("pak_02", Kind::Money),
        may("pak_03", Kind::Money),
        may("pak_04", Kind::Money),
        may("pak_05", Kind::Money),
        may("pak_06", Kind::Money),
        may("pak_07", Kind::Money),
        may("pak_08", Kind::Money),
        may("pak_09", Kind::Money),
        may("pak_10", Kind::Money),
        may("floor_bp", Kind::Integer),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
