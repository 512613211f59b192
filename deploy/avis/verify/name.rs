//! What a row is called when it drifts, without anything that tells of a person.

use warehouse::schema::{Kind, Table};

use super::row::{Cell, cells};

/// What rows are called by, beside the place of their record.
const NAMES: &[&str] = &[
    "authorisation_id",
    "line",
    "instruction_id",
    "kind",
    "transition",
    "benefit_id",
    "group_id",
    "record_id",
    "call_id",
    "entry_id",
    "per",
    "period",
    "measure",
    "statement",
    "state",
    "vat_bp",
    "window_start",
    "merchant_id",
    "place_id",
    "territory",
    "decision",
];
/// What a table's rows are not called by though they have it: it may be what drifts.
const NOT_OF: &[(&str, &[&str])] = &[
    ("authorisations", &["merchant_id", "place_id", "territory", "decision"]),
    ("authorisation_events", &["merchant_id", "place_id"]),
    ("benefit_lines", &["benefit_id", "merchant_id", "place_id", "territory"]),
    ("transaction_lines", &["merchant_id", "place_id"]),
    ("points_entries", &["merchant_id"]),
    ("means", &["kind"]),
    ("portal_usage", &["merchant_id"]),
    ("settlement_statements", &["period", "merchant_id"]),
    ("settlement_lines", &["period", "merchant_id"]),
];
/// What a row says of amounts, shown where a whole row drifts.
const SHOWN: &[&str] = &[
    "total",
    "amount",
    "benefit",
    "points",
    "grantor_amount",
    "excess_amount",
    "payable",
    "status",
    "blocked",
    "authorisations",
];
/// What may tell of somebody, or is somebody's words.
const HIDDEN: &[&str] = &[
    "recipient",
    "token",
    "user_pseudonym",
    "official_id",
    "receipt_number",
    "age_band",
    "municipality",
    "detail",
    "origin",
    "reason",
];

/// What a row is called: its names, and where its record stands.
#[must_use]
pub fn identity(table: &Table, bytes: &[u8]) -> String {
    let not = NOT_OF.iter().find(|(name, _)| *name == table.name).map_or(&[][..], |(_, not)| *not);
    let is_name = |column: &str| {
        let is_of_registry = table.name.starts_with("registry_");
        let names = NAMES.contains(&column) && !not.contains(&column);
        match is_of_registry {
            true => matches!(column, "entry_id" | "per" | "period" | "measure"),
            false => names,
        }
    };
    let (mut words, mut place) = (Vec::new(), [String::new(), String::new()]);
    for (column, cell) in table.columns.iter().zip(cells(bytes)) {
        match column.name {
            "source_partition" => place[0] = cell.told(column.kind),
            "source_offset" => place[1] = cell.told(column.kind),
            name if is_name(name) => {
                words.push(format!("{name} {}", cell.told(column.kind)));
            }
            _ => {}
        }
    }
    let [partition, offset] = place;
    if !offset.is_empty() {
        words.push(format!("record {partition}/{offset}"));
    }
    words.join(", ")
}

/// A whole row, in few words.
#[must_use]
pub fn whole(table: &Table, bytes: &[u8]) -> String {
    let shown = table.columns.iter().zip(cells(bytes));
    let shown = shown.filter(|(column, _)| SHOWN.contains(&column.name));
    let words: Vec<_> =
        shown.map(|(column, cell)| value(column.name, column.kind, &cell)).collect();
    if words.is_empty() { "a row".into() } else { format!("a row with {}", words.join(", ")) }
}

/// The values in which two rows differ, of each side.
#[must_use]
pub fn differ(table: &Table, expected: &[u8], found: &[u8]) -> (String, String) {
    let (mut of_expected, mut of_found) = (Vec::new(), Vec::new());
    let both = cells(expected).into_iter().zip(cells(found));
    for (column, (expected, found)) in table.columns.iter().zip(both) {
        if expected != found {
            of_expected.push(value(column.name, column.kind, &expected));
            of_found.push(value(column.name, column.kind, &found));
        }
    }
    (of_expected.join(", "), of_found.join(", "))
}

fn value(name: &str, kind: Kind, cell: &Cell) -> String {
    match HIDDEN.contains(&name) {
        true => format!("{name} (not shown)"),
        false => format!("{name} {}", cell.told(kind)),
    }
}
