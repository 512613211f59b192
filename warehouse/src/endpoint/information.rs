//! `information_schema` as PostgreSQL has it: columns with the types that clients know, told without
//! opening a table, and keys, of which there are none. What the engine tells as clients expect it, is
//! told by the engine.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    catalog::SchemaProvider,
    common::Result,
    datasource::{MemTable, TableProvider},
};

use super::{DATABASE, SCHEMA};
use crate::{access::View, schema::Kind, session::restricted};

/// What is empty here, by the columns that PostgreSQL has: our tables have no constraints.
const EMPTY: [(&str, &[&str]); 4] = [
    (
        "table_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
        ],
    ),
    (
        "key_column_usage",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "position_in_unique_constraint",
        ],
    ),
    (
        "constraint_column_usage",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    ),
    (
        "referential_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ],
    ),
];
/// Numbers among those.
const NUMBERS: [&str; 2] = ["ordinal_position", "position_in_unique_constraint"];
/// What PostgreSQL tells here and the engine does not, or not so.
const COLUMNS: &str = "columns";
const CHARACTER_SETS: &str = "character_sets";

/// The schema, for one view.
#[derive(Debug)]
pub(super) struct Information {
    engine: Arc<dyn SchemaProvider>,
    view: View,
}

impl Information {
    pub(super) fn new(engine: Arc<dyn SchemaProvider>, view: &View) -> Self {
        Self { engine, view: view.clone() }
    }

    fn own(&self, name: &str) -> Result<Option<RecordBatch>> {
        match name {
            COLUMNS => self.columns().map(Some),
            CHARACTER_SETS => {
                let value = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
                let columns = [
                    ("character_set_name", value("UTF8")),
                    ("character_repertoire", value("UCS")),
                    ("form_of_use", value("UTF8")),
                    ("default_collate_catalog", value(DATABASE)),
                    ("default_collate_schema", value("pg_catalog")),
                    ("default_collate_name", value("C")),
                ];
                Ok(Some(RecordBatch::try_from_iter(columns)?))
            }
            _ => Ok(EMPTY.iter().find(|(known, _)| *known == name).map(|(_, columns)| {
                let fields = columns.iter().map(|column| {
                    let is_number = NUMBERS.contains(column);
                    let kind = if is_number { DataType::Int32 } else { DataType::Utf8 };
                    Field::new(*column, kind, true)
                });
                RecordBatch::new_empty(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
            })),
        }
    }

    /// Every column that the view shows, with what clients ask of it.
    fn columns(&self) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for (name, table) in restricted::names(&self.view) {
            for (at, column) in table.columns.iter().enumerate() {
                let is_nullable = column.optional || !self.view.shows(table, column.name);
                rows.push(Row {
                    table: name.clone(),
                    column: column.name,
                    position: i32::try_from(at + 1).ok(),
                    is_nullable: if is_nullable { "YES" } else { "NO" },
                    kind: told(column.kind),
                });
            }
        }
        let texts = |of: &dyn Fn(&Row) -> Option<&str>| {
            Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef
        };
        let numbers = |of: &dyn Fn(&Row) -> Option<i32>| {
            Arc::new(rows.iter().map(of).collect::<Int32Array>()) as ArrayRef
        };
        let all = |text: &'static str| texts(&move |_| Some(text));
        let no_text = || texts(&|_| None);
        let no_number = || numbers(&|_| None);
        let columns = [
            ("table_catalog", all(DATABASE)),
            ("table_schema", all(SCHEMA)),
            ("table_name", texts(&|row| Some(row.table.as_str()))),
            ("column_name", texts(&|row| Some(row.column))),
            ("ordinal_position", numbers(&|row| row.position)),
            ("column_default", no_text()),
            ("is_nullable", texts(&|row| Some(row.is_nullable))),
            ("data_type", texts(&|row| Some(row.kind.data_type))),
            ("character_maximum_length", no_number()),
            ("character_octet_length", no_number()),
            ("numeric_precision", numbers(&|row| row.kind.precision)),
            ("numeric_precision_radix", numbers(&|row| row.kind.radix)),
            ("numeric_scale", numbers(&|row| row.kind.scale)),
            ("datetime_precision", numbers(&|row| row.kind.instant)),
            ("interval_type", no_text()),
            ("character_set_name", no_text()),
            ("collation_name", no_text()),
            ("domain_catalog", no_text()),
            ("domain_schema", no_text()),
            ("domain_name", no_text()),
            ("udt_catalog", all(DATABASE)),
            ("udt_schema", all("pg_catalog")),
            ("udt_name", texts(&|row| Some(row.kind.udt_name))),
            ("is_identity", all("NO")),
            ("identity_generation", no_text()),
            ("is_generated", all("NEVER")),
            ("generation_expression", no_text()),
            ("is_updatable", all("NO")),
        ];
        // Where a reader sees nothing there are columns all the same.
        let columns = columns.map(|(name, values)| (name, values, true));
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }
}

/// A row of `columns`.
struct Row {
    table: String,
    column: &'static str,
    position: Option<i32>,
    is_nullable: &'static str,
    kind: Told,
}

/// What PostgreSQL says of a type.
#[derive(Default)]
struct Told {
    data_type: &'static str,
    udt_name: &'static str,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    /// Digits of a second.
    instant: Option<i32>,
}

fn told(kind: Kind) -> Told {
    let named = |data_type, udt_name| Told { data_type, udt_name, ..Told::default() };
    let number = |data_type, udt_name, precision, radix, scale| Told {
        precision: Some(precision),
        radix: Some(radix),
        scale,
        ..named(data_type, udt_name)
    };
    match kind {
        Kind::Text => named("text", "text"),
        Kind::Integer => number("integer", "int4", 32, 2, Some(0)),
        Kind::Long => number("bigint", "int8", 64, 2, Some(0)),
        Kind::Flag => named("boolean", "bool"),
        Kind::Money => number("numeric", "numeric", 18, 10, Some(2)),
        Kind::Quantity => number("numeric", "numeric", 18, 10, Some(3)),
        Kind::Float => number("double precision", "float8", 53, 2, None),
        Kind::Instant => {
            Told { instant: Some(6), ..named("timestamp with time zone", "timestamptz") }
        }
        Kind::Day => Told { instant: Some(0), ..named("date", "date") },
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        let own = EMPTY.iter().map(|(name, _)| (*name).to_owned());
        let own = own.chain([CHARACTER_SETS.to_owned()]);
        self.engine.table_names().into_iter().chain(own).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(rows) = self.own(name)? else { return self.engine.table(name).await };
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use datafusion::catalog::MemorySchemaProvider;

    use super::*;

    fn information(view: &View) -> Information {
        Information::new(Arc::new(MemorySchemaProvider::new()), view)
    }

    #[test]
    fn columns_are_told_with_the_types_of_postgresql() {
        let rows = information(&View::Analyst).own(COLUMNS).expect("rows").expect("there");
        let texts = |name: &str| {
            let column = rows.column_by_name(name).expect("a column").as_string::<i32>();
            column.iter().map(|text| text.unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let (tables, columns) = (texts("table_name"), texts("column_name"));
        let (kinds, nullable) = (texts("udt_name"), texts("is_nullable"));
        let at = |table: &str, column: &str| {
            let mut all = tables.iter().zip(&columns);
            all.position(|(of, name)| of == table && name == column).expect("it is told")
        };
        assert_eq!(kinds[at("benefit_lines", "amount")], "numeric");
        assert_eq!(kinds[at("benefit_lines", "occurred_at")], "timestamptz");
        assert_eq!(nullable[at("benefit_lines", "grantor_id")], "NO");
        // What is hidden may be missing.
        assert_eq!(nullable[at("means", "token")], "YES");
        assert_eq!(nullable[at("means_current", "token")], "YES");
        assert!(!tables.iter().any(|name| name == "settlement_lines"));
    }

    #[test]
    fn there_are_no_keys() {
        let information = information(&View::Everything);
        for (name, columns) in EMPTY {
            let rows = information.own(name).expect("rows").expect("there");
            assert_eq!((rows.num_rows(), rows.num_columns()), (0, columns.len()), "{name}");
            assert!(information.table_exist(name), "{name}");
        }
        assert!(information.own("tables").expect("the engine's").is_none());
    }
}
