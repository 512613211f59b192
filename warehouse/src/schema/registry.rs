//! The registry, one table per kind; one row per change of an entry.

use super::{Kind, OFFSET, PARTITION, RECORDED, Table, may, must};

/// A kind's table: what its entries have, between what every entry and every change has.
macro_rules! registry {
    ($($constant:ident $name:literal, $about:literal: $($column:literal $kind:ident),*;)*) => {$(
        #[doc = $about]
        pub(super) const $constant: Table = Table {
            name: concat!("registry_", $name),
            about: $about,
            by_date: false,
            key: &["entry_id"],
            columns: &[
                must("entry_id", Kind::Text),
                $(may($column, Kind::$kind),)*
                must("removed", Kind::Flag),
                must("changed_at", Kind::Instant),
                must("sequence", Kind::Long),
                RECORDED,
                PARTITION,
                OFFSET,
            ],
        };
    )*};
}

registry! {
    GRANTORS "grantors",
        "who funds benefits":
        "name_lv" Text, "name_en" Text, "kind" Text, "reg_no" Text, "iban" Text;
    MERCHANTS "merchants",
        "who gives benefits at the till":
        "name_lv" Text, "name_en" Text, "reg_no" Text, "vat_no" Text, "iban" Text;
    PLACES "places",
        "where terminals stand":
        "name_lv" Text, "name_en" Text, "merchant_id" Text, "territory" Text;
    TERMINALS "terminals",
        "the devices that ask":
        "place_id" Text, "kind" Text;
    CONTRACTS "contracts",
        "what grantors and merchants agreed":
        "grantor_id" Text, "merchant_id" Text, "valid_from" Day, "valid_to" Day, "vat_bp" Integer;
    ISSUERS "issuers",
        "who issues identification means":
        "name_lv" Text, "name_en" Text, "means" Text;
    BENEFITS "benefits",
        "what grantors fund":
        "name_lv" Text, "name_en" Text, "grantor_id" Text, "legal_basis" Text, "kind" Text;
    INSTRUCTIONS "instructions",
        "the rules of benefits, by version":
        "instruction_id" Text, "version" Integer, "benefit_id" Text, "label_lv" Text,
        "label_en" Text, "priority" Integer, "valid_from" Day, "valid_to" Day;
    E_SERVICES "e_services",
        "services of merchants on the portal":
        "name_lv" Text, "name_en" Text, "merchant_id" Text, "url" Text, "login_basket" Text;
    CENTRES "centres",
        "contact points of the centres network":
        "name_lv" Text, "name_en" Text, "kind" Text, "territory" Text, "lat" Float, "lon" Float;
    CATALOGUE "catalogue",
        "what merchants sell, and what kind of thing it is":
        "merchant_id" Text, "item" Text, "category" Text, "name_lv" Text, "name_en" Text;
    GROUPS "groups",
        "who may be meant by an instruction; members are not told":
        "name_lv" Text, "name_en" Text, "condition" Text;
    INSTITUTIONS "institutions",
        "institutions whose officials consult remotely":
        "name_lv" Text, "name_en" Text;
    OFFICIALS "officials",
        "remote officials, by the identifiers of their institutions":
        "institution_id" Text, "services" Text, "languages" Text;
    SERVICES "services",
        "services of the centres with their quality criteria":
        "name_lv" Text, "name_en" Text, "max_wait_seconds" Long, "min_answered_bp" Integer,
        "min_resolved_bp" Integer, "min_rating" Quantity;
    SUBSIDIES "subsidies",
        "what the state pays to centres: a base by kind, a rate by service, and the least quality":
        "valid_from" Day, "valid_to" Day, "base_centre" Money, "base_library" Money,
        "base_mobile" Money, "pak_01" Money, "pak_02" Money, "pak_03" Money, "pak_04" Money,
        "pak_05" Money, "pak_06" Money, "pak_07" Money, "pak_08" Money, "pak_09" Money,
        "pak_10" Money, "floor_bp" Integer;
}

/// One row per limit of an instruction's version; those of a version have its `source_offset`.
pub(super) const LIMITS: Table = Table {
    name: "registry_limits",
    about: "the limits of instructions, by version",
    by_date: false,
    key: &["entry_id", "per", "period", "measure"],
    columns: &[
        must("entry_id", Kind::Text),
        may("instruction_id", Kind::Text),
        may("per", Kind::Text),
        may("period", Kind::Text),
        may("measure", Kind::Text),
        may("most", Kind::Long),
        must("removed", Kind::Flag),
        must("changed_at", Kind::Instant),
        must("sequence", Kind::Long),
        RECORDED,
        PARTITION,
        OFFSET,
    ],
};
