//! What rows a change of the registry has to be.

use ingest::{record::Stored, wire::v1::RegistryChanged};
use serde_json::Value;

use super::row::Row;

/// The tables of the registry: one of each kind, and one of limits.
pub const TABLES: &[&str] = &tables();

/// The limits of instructions, which stand in those.
const LIMITS: &str = "registry_limits";

const fn tables() -> [&'static str; SHAPES.len() + 1] {
    let mut tables = [LIMITS; SHAPES.len() + 1];
    let mut at = 0;
    while at < SHAPES.len() {
        tables[at] = SHAPES[at].1;
        at += 1;
    }
    tables
}

/// How a value of an entry becomes one of its row.
#[derive(Clone, Copy)]
enum As {
    Text,
    Number,
    Day,
    Real,
    Thousandths,
    /// A list as one text, with this between its parts.
    Joined(&'static str),
}

use As::{Day, Joined, Number, Real, Text, Thousandths};

/// Of each kind its table, and where its columns stand in an entry, in their order.
type Shape = (&'static str, &'static str, &'static [(&'static str, As)]);

const SHAPES: &[Shape] = &[
    ("grantors", "registry_grantors", &[NAME_LV, NAME_EN, KIND, ("/reg_no", Text), IBAN]),
    (
        "merchants",
        "registry_merchants",
        &[NAME_LV, NAME_EN, ("/reg_no", Text), ("/vat_no", Text), IBAN],
    ),
    ("places", "registry_places", &[NAME_LV, NAME_EN, MERCHANT, ("/territory", Text)]),
    ("terminals", "registry_terminals", &[("/place", Text), KIND]),
    (
        "contracts",
        "registry_contracts",
        &[("/grantor", Text), MERCHANT, ("/from", Day), ("/to", Day), ("/vat_bp", Number)],
    ),
    ("issuers", "registry_issuers", &[NAME_LV, NAME_EN, ("/means", Joined(","))]),
    (
        "benefits",
        "registry_benefits",
        &[NAME_LV, NAME_EN, ("/grantor", Text), ("/legal_basis", Text), KIND],
    ),
    (
        "instructions",
        "registry_instructions",
        &[
            ("/id", Text),
            ("/version", Number),
            ("/benefit", Text),
            ("/label/lv", Text),
            ("/label/en", Text),
            ("/priority", Number),
            ("/valid/from", Day),
            ("/valid/to", Day),
        ],
    ),
    (
        "e_services",
        "registry_e_services",
        &[NAME_LV, NAME_EN, MERCHANT, ("/url", Text), ("/login_basket", Text)],
    ),
    (
        "centres",
        "registry_centres",
        &[NAME_LV, NAME_EN, KIND, ("/territory", Text), ("/lat", Real), ("/lon", Real)],
    ),
    (
        "catalogue",
        "registry_catalogue",
        &[MERCHANT, ("/item", Text), ("/category", Text), NAME_LV, NAME_EN],
    ),
    ("groups", "registry_groups", &[NAME_LV, NAME_EN, ("/where", Text)]),
    ("institutions", "registry_institutions", &[NAME_LV, NAME_EN]),
    (
        "officials",
        "registry_officials",
        &[("/institution", Text), ("/services", Joined(" ")), ("/languages", Joined(" "))],
    ),
    (
        "services",
        "registry_services",
        &[
            NAME_LV,
            NAME_EN,
            ("/criteria/max_wait_seconds", Number),
            ("/criteria/min_answered_bp", Number),
            ("/criteria/min_resolved_bp", Number),
            ("/criteria/min_rating", Thousandths),
        ],
    ),
    (
        "subsidies",
        "registry_subsidies",
        &[
            ("/from", Day),
            ("/to", Day),
            ("/base_cents/centre", Number),
            ("/base_cents/library", Number),
            ("/base_cents/mobile", Number),
            ("/per_service_cents/PAK_01", Number),
            ("/per_service_cents/PAK_02", Number),
            ("/per_service_cents/PAK_03", Number),
            ("/per_service_cents/PAK_04", Number),
            ("/per_service_cents/PAK_05", Number),
            ("/per_service_cents/PAK_06", Number),
            ("/per_service_cents/PAK_07", Number),
            ("/per_service_cents/PAK_08", Number),
            ("/per_service_cents/PAK_09", Number),
            ("/per_service_cents/PAK_10", Number),
            ("/quality/floor_bp", Number),
        ],
    ),
];

const NAME_LV: (&str, As) = ("/name/lv", Text);
const NAME_EN: (&str, As) = ("/name/en", Text);
const KIND: (&str, As) = ("/kind", Text);
const IBAN: (&str, As) = ("/iban", Text);
const MERCHANT: (&str, As) = ("/merchant", Text);

/// Tells the rows that a change has to be.
pub fn rows(
    stored: &Stored,
    event: &RegistryChanged,
    row: &mut Row,
    tell: &mut dyn FnMut(&'static str, &[u8]),
) {
    let Some((_, table, columns)) = SHAPES.iter().find(|(kind, ..)| *kind == event.kind) else {
        // A draft, or a kind of a later version.
        return;
    };
    let document: Value = serde_json::from_str(&event.document).unwrap_or_default();
    row.begin().text(&event.id);
    for (path, form) in *columns {
        put(document.pointer(path), *form, row);
    }
    row.number(event.document.is_empty());
    row.instant(stored.record.event_time).number(stored.record.sequence).placed(stored);
    tell(table, row.bytes());
    if event.kind != "instructions" {
        return;
    }
    for limit in document["limits"].as_array().into_iter().flatten() {
        row.begin().text(&event.id).may(document["id"].as_str());
        row.may(limit["per"].as_str()).may(limit["period"].as_str());
        row.may(limit["measure"].as_str()).maybe(limit["max"].as_i64()).number(false);
        row.instant(stored.record.event_time).number(stored.record.sequence).placed(stored);
        tell(LIMITS, row.bytes());
    }
}

fn put(value: Option<&Value>, form: As, row: &mut Row) {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        row.none();
        return;
    };
    match form {
        Text => row.may(value.as_str()),
        Day => row.day(value.as_str().unwrap_or_default()),
        Number => row.maybe(value.as_i64()),
        Real => match value.as_f64() {
            Some(real) => row.real(real),
            None => row.none(),
        },
        Thousandths => row.maybe(value.as_f64().map(|rating| (rating * 1_000.0).round() as i64)),
        Joined(between) => {
            let parts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            row.text(&parts.collect::<Vec<_>>().join(between))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_table_with_as_many_columns() {
        for (_, name, columns) in SHAPES {
            let table = warehouse::schema::table(name).expect("a table");
            // Its id before them; and whether it is gone, when, which change and where after them.
            assert_eq!(table.columns.len(), columns.len() + 7, "{name}");
        }
        let known = warehouse::schema::TABLES.iter();
        let known = known.map(|of| of.name).filter(|name| name.starts_with("registry_"));
        let unseen: Vec<_> = known.filter(|name| !TABLES.contains(name)).collect();
        assert!(unseen.is_empty(), "{unseen:?} have no witness");
    }
}
