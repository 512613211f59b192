//! A table of a file: its columns, its event time, and what it stands for.

use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use sqlparser::ast::{BinaryOperator, Expr, Ident, Interval, Value};

use super::{
    connector::{self, Connector},
    fault::Fault,
    format::{BadData, Format, Framing, JsonCompression, JsonFormat},
    options::Options,
};

/// A table that stands for a stream, for files, for a table elsewhere, or for rows in memory.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// Its name in queries.
    pub name: String,
    /// Whether it is looked up row by row, `CREATE TEMPORARY TABLE`.
    pub temporary: bool,
    /// Its columns; empty where they follow from what is inserted.
    pub columns: Vec<Column>,
    /// The columns that are `PRIMARY KEY`, in order.
    pub primary_key: Vec<String>,
    /// How event time is told, if it says.
    pub watermark: Option<Watermark>,
    /// `PARTITIONED BY (…)`.
    pub partitioned_by: Vec<Expr>,
    /// Whether it is read, written, looked up, or lies in memory.
    pub table_type: TableType,
    /// What it stands for.
    pub connector: Connector,
    /// How its records are written; none for memory and for what makes its own rows.
    pub format: Option<Format>,
    /// What happens to records that do not decode.
    pub bad_data: BadData,
    /// How a message holds several records, if it may.
    pub framing: Option<Framing>,
    /// How long it may be quiet before it no longer holds back others, where that is said.
    pub idle: Option<Duration>,
}

/// Whether a table is read, written, looked up, or lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum TableType {
    Source,
    Sink,
    Lookup,
    Memory,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether it is `JSON`: a text that holds whatever JSON the record has there.
    pub json: bool,
    /// Where its values come from.
    pub origin: Origin,
}

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a file has a few of them, read once")]
pub enum Origin {
    /// The record.
    Declared,
    /// `GENERATED ALWAYS AS (expression)` over the other columns.
    Generated {
        /// The expression.
        expression: Expr,
    },
    /// `METADATA FROM 'key'`: what the connector knows beside the record.
    Metadata {
        /// The connector's name of it.
        key: String,
    },
}

/// `WATERMARK FOR column [AS expression]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// The column that holds event time.
    pub column: String,
    /// The instant before which nothing more is waited for; the column itself where none is said.
    pub expression: Option<Expr>,
}

/// What stands between a table's name and its options.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub columns: Vec<Column>,
    pub primary_key: Vec<String>,
    pub watermark: Option<Watermark>,
}

/// What a field says of itself whose texts are JSON.
const JSON: &str = "json";

/// A field that says that its texts are JSON.
pub(crate) fn told_as_json(field: &Field) -> Field {
    let mut told = field.metadata().clone();
    told.insert(JSON.to_owned(), String::new());
    field.clone().with_metadata(told)
}

/// Whether a field says that its texts are JSON.
pub(crate) fn holds_json(field: &Field) -> bool {
    field.metadata().contains_key(JSON)
}

impl Column {
    /// The column as a field.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }

    /// Whether an expression computes it.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        matches!(self.origin, Origin::Generated { .. })
    }
}

impl TableDefinition {
    /// All columns as a schema, as queries see them.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>())
    }

    /// The columns that records hold, with what is known beside them and without what is generated.
    #[must_use]
    pub fn record_schema(&self) -> Schema {
        let held = self.columns.iter().filter(|column| !column.is_generated());
        Schema::new(held.map(Column::field).collect::<Vec<_>>())
    }

    /// Whether its records are changes of rows rather than rows.
    #[must_use]
    pub fn is_updating(&self) -> bool {
        self.format.as_ref().is_some_and(Format::is_updating)
    }

    pub(super) fn of(
        name: &str,
        temporary: bool,
        body: Body,
        mut options: Options,
    ) -> Result<Self, Fault> {
        let Some(connector) = options.text("connector")?.filter(|name| name != "memory") else {
            return memory(name, temporary, body, options);
        };
        connector::known(name, &connector)?;
        let format = Format::of(&mut options)?;
        if let Some(Format::Json(JsonFormat { compression: JsonCompression::Gzip, .. })) = format
            && connector != "filesystem"
        {
            let reason = "'json.compression' is only supported for the filesystem connector";
            return Err(Fault::Wrong(reason.into()));
        }
        let framing = Framing::of(&mut options)?;
        if temporary {
            let given = options.text("type")?.unwrap_or_else(|| "lookup".into());
            if given != "lookup" {
                return Err(Fault::Wrong(format!(
                    "Cannot have a temporary table with type '{given}'; temporary tables must be \
                     type 'lookup'"
                )));
            }
            options.insert("type", given);
        }
        check_columns(&body, format.as_ref())?;
        let bad_data = BadData::of(&mut options)?;
        let Body { mut columns, primary_key, watermark } = body;
        connector::check_metadata(name, &connector, &columns)?;
        let (connector, table_type) =
            Connector::of(&connector, &mut options, &mut columns, &primary_key)?;
        connector.check_format(format.as_ref())?;
        let updating = format.as_ref().is_some_and(Format::is_updating);
        let watermark = match (event_time(&mut options, updating)?, watermark) {
            (_, Some(watermark)) | (Some(watermark), None) => Some(watermark),
            (None, None) => None,
        };
        let idle = options.number::<i64>("idle_micros", "an integer")?;
        let idle = idle.and_then(|micros| u64::try_from(micros).ok()).filter(|micros| *micros > 0);
        options.finish()?;
        if table_type == TableType::Lookup && (!temporary || watermark.is_some()) {
            let reason = "a lookup table is declared by CREATE TEMPORARY TABLE, without WATERMARK";
            return Err(Fault::Wrong(reason.into()));
        }
        if table_type == TableType::Source && updating && primary_key.is_empty() {
            let reason = "Debezium source must have at least one PRIMARY KEY field";
            return Err(Fault::Wrong(reason.into()));
        }
        Ok(Self {
            name: name.to_owned(),
            temporary,
            columns,
            primary_key,
            watermark,
            partitioned_by: Vec::new(),
            table_type,
            connector,
            format,
            bad_data,
            framing,
            idle: idle.map(Duration::from_micros),
        })
    }
}

/// A table without a connector: rows that one INSERT of the file makes and its other queries read.
fn memory(
    name: &str,
    temporary: bool,
    body: Body,
    options: Options,
) -> Result<TableDefinition, Fault> {
    if body.columns.iter().any(Column::is_generated) {
        return Err(Fault::Wrong(
            "Virtual fields are not supported in memory tables; instead write a query".into(),
        ));
    }
    if !options.is_empty() {
        return Err(Fault::Wrong(
            "Memory tables do not allow with options; to create a connection table set the \
             'connector' option"
                .into(),
        ));
    }
    if temporary || body.columns.is_empty() || body.watermark.is_some() {
        let construct = "a memory table that is TEMPORARY, has no columns or has a WATERMARK";
        return Err(Fault::Unsupported(construct.into()));
    }
    Ok(TableDefinition {
        name: name.to_owned(),
        temporary,
        columns: body.columns,
        primary_key: body.primary_key,
        watermark: None,
        partitioned_by: Vec::new(),
        table_type: TableType::Memory,
        connector: Connector::Memory,
        format: None,
        bad_data: BadData::default(),
        framing: None,
        idle: None,
    })
}

fn check_columns(body: &Body, format: Option<&Format>) -> Result<(), Fault> {
    let wrong = |reason: &str| Err(Fault::Wrong(reason.to_owned()));
    for (index, column) in body.columns.iter().enumerate() {
        if body.columns[..index].iter().any(|earlier| earlier.name == column.name) {
            return Err(Fault::Wrong(format!("has the column {} twice", column.name)));
        }
    }
    let mut held = body.columns.iter().filter(|column| column.origin == Origin::Declared);
    let only = match (held.next(), held.next()) {
        (Some(only), None) => Some(only).filter(|only| only.name == "value"),
        _ => None,
    };
    match format {
        Some(Format::Json(JsonFormat { debezium: true, .. }))
            if body.columns.iter().any(Column::is_generated) =>
        {
            wrong("can't use virtual fields with debezium format")
        }
        Some(Format::Json(JsonFormat { unstructured: true, .. }))
            if !only.is_some_and(|only| only.json) =>
        {
            wrong(
                "json format with unstructured flag enabled requires a schema with a single field \
                 called `value` of type JSON",
            )
        }
        Some(Format::RawString)
            if !only.is_some_and(|only| only.data_type == DataType::Utf8 && !only.json) =>
        {
            wrong(
                "raw_string format requires a schema with a single field called `value` of type \
                 TEXT",
            )
        }
        _ => Ok(()),
    }
}

/// The deprecated options `event_time_field` and `watermark_field`, as the watermark they mean: a
/// second behind event time where only that is said.
fn event_time(options: &mut Options, updating: bool) -> Result<Option<Watermark>, Fault> {
    let column = options.field("event_time_field")?;
    let watermark = options.field("watermark_field")?;
    match (column, watermark) {
        (Some(_), _) if updating => {
            Err(Fault::Wrong("can't use event_time_field with update mode.".into()))
        }
        (Some(column), Some(watermark)) if column == watermark => {
            Ok(Some(Watermark { column, expression: None }))
        }
        (Some(column), Some(watermark)) => {
            let expression = Expr::Identifier(Ident::with_quote('"', watermark));
            Ok(Some(Watermark { column, expression: Some(expression) }))
        }
        (Some(column), None) => {
            let expression = second_before(&column);
            Ok(Some(Watermark { column, expression: Some(expression) }))
        }
        (None, Some(_)) => {
            let construct = "watermark_field without event_time_field (use WATERMARK FOR)";
            Err(Fault::Unsupported(construct.into()))
        }
        (None, None) => Ok(None),
    }
}

fn second_before(column: &str) -> Expr {
    let text = Value::SingleQuotedString("1 second".into());
    let second = Expr::Interval(Interval {
        value: Box::new(Expr::Value(text.into())),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
    Expr::BinaryOp {
        left: Box::new(Expr::Identifier(Ident::with_quote('"', column))),
        op: BinaryOperator::Minus,
        right: Box::new(second),
    }
}

/// Delta holds instants in microseconds, whatever precision a column says.
pub(super) fn in_microseconds(columns: &mut [Column]) {
    for column in columns {
        if let DataType::Timestamp(_, None) = column.data_type {
            column.data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        }
    }
}
