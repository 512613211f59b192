//! People's attributes as columns: one type each, by what is found.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Array, Date32Builder, Float64Builder, Int64Array,
        Int64Builder, NullArray, RecordBatch, StringBuilder,
    },
    datatypes::{DataType, Date32Type, Field, Schema},
    error::ArrowError,
};
use chrono::NaiveDate;
use serde_json::Value;

use super::{Row, attribute_names};

/// The column of the day that a row is evaluated for; no attribute can have this name.
pub(super) const DAY: &str = "evaluated day";

/// The rows as columns: every attribute that somebody has, every wanted one, and the family's.
pub(super) fn batch(rows: &[Row<'_>], wanted: &[String]) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<(String, ArrayRef)> = Vec::new();
    for (name, values) in attribute_names(rows) {
        if wanted.iter().any(|wanted| wanted == name) && !is_family(name) {
            fields.push((name.to_owned(), attribute(rows, name, kind(name, &values))));
        }
    }
    let days: Date32Array =
        rows.iter().map(|row| Some(Date32Type::from_naive_date(row.day))).collect();
    let size: Int64Array = rows.iter().map(|row| Some(row.family.size)).collect();
    let children: Int64Array = rows.iter().map(|row| Some(row.family.children)).collect();
    let youngest: Date32Array =
        rows.iter().map(|row| row.family.youngest.map(Date32Type::from_naive_date)).collect();
    fields.push((DAY.into(), Arc::new(days)));
    fields.push(("family_size".into(), Arc::new(size)));
    fields.push(("family_children".into(), Arc::new(children)));
    fields.push(("family_youngest_birth_date".into(), Arc::new(youngest)));
    for name in wanted {
        if fields.iter().all(|(known, _)| known != name) {
            fields.push((name.clone(), Arc::new(NullArray::new(rows.len()))));
        }
    }
    let schema =
        fields.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(schema.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, fields.into_iter().map(|(_, column)| column).collect())
}

fn is_family(name: &str) -> bool {
    matches!(name, "family_size" | "family_children" | "family_youngest_birth_date")
}

/// The type that all values have; text where they differ. A name that ends in `_date` is a date.
fn kind(name: &str, values: &[&Value]) -> DataType {
    let values = || values.iter().filter(|value| !value.is_null());
    if values().next().is_none() {
        // Whoever compares NULL with whatever gets NULL; a guessed type could refuse to compare.
        DataType::Null
    } else if values().all(|value| value.is_boolean()) {
        DataType::Boolean
    } else if values().all(|value| value.is_i64()) {
        DataType::Int64
    } else if values().all(|value| value.is_number()) {
        DataType::Float64
    } else if name.ends_with("_date") {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

fn attribute(rows: &[Row<'_>], name: &str, kind: DataType) -> ArrayRef {
    let value = |row: &Row<'_>| {
        let attributes = row.person.attributes.as_ref()?;
        attributes.expose().get(name).filter(|value| !value.is_null()).cloned()
    };
    match kind {
        DataType::Boolean => {
            let mut column = BooleanBuilder::with_capacity(rows.len());
            rows.iter()
                .for_each(|row| column.append_option(value(row).and_then(|of| of.as_bool())));
            Arc::new(column.finish())
        }
        DataType::Int64 => {
            let mut column = Int64Builder::with_capacity(rows.len());
            rows.iter().for_each(|row| column.append_option(value(row).and_then(|of| of.as_i64())));
            Arc::new(column.finish())
        }
        DataType::Float64 => {
            let mut column = Float64Builder::with_capacity(rows.len());
            rows.iter().for_each(|row| column.append_option(value(row).and_then(|of| of.as_f64())));
            Arc::new(column.finish())
        }
        DataType::Null => Arc::new(NullArray::new(rows.len())),
        DataType::Date32 => {
            let mut column = Date32Builder::with_capacity(rows.len());
            let date = |value: Value| value.as_str()?.parse::<NaiveDate>().ok();
            rows.iter().for_each(|row| {
                column.append_option(value(row).and_then(date).map(Date32Type::from_naive_date));
            });
            Arc::new(column.finish())
        }
        _ => {
            let mut column = StringBuilder::new();
            for row in rows {
                column.append_option(value(row).map(|of| match of {
                    Value::String(text) => text,
                    other => other.to_string(),
                }));
            }
            Arc::new(column.finish())
        }
    }
}
