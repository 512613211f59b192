//! People's attributes as columns: one type each, by what is found.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, NullArray, RecordBatch,
        RecordBatchOptions, StringBuilder,
    },
    datatypes::{Date32Type, Field, Schema},
    error::ArrowError,
};
use chrono::NaiveDate;
use domain::period::age;
use ingest::register::people::{Attribute, Person};
use serde_json::Value;

use super::{Row, Rows};

/// The column of the day that a row is evaluated for; no attribute has this name.
pub(super) const DAY: &str = "evaluated day";
/// What the columns of ages begin with; the name of a date follows. No attribute begins so.
pub(super) const AGE_OF: &str = "evaluated age of ";

const SIZE: &str = "family_size";
const CHILDREN: &str = "family_children";
const YOUNGEST: &str = "family_youngest_birth_date";

/// The rows as columns: those wanted, be they attributes, the family's, ages or the day. What nobody
/// has is NULL.
pub(super) fn batch(rows: Rows<'_>, wanted: &[String]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = wanted.iter().map(|name| column(rows, name)).collect();
    let fields = wanted.iter().zip(&columns);
    let fields = fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.rows.len()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

fn column(rows: Rows<'_>, name: &str) -> ArrayRef {
    match name {
        DAY => dates(rows.rows.iter().map(|row| Some(row.day))),
        SIZE => whole(rows.rows.iter().map(|row| Some(row.family.size))),
        CHILDREN => whole(rows.rows.iter().map(|row| Some(row.family.children))),
        YOUNGEST => dates(rows.rows.iter().map(|row| row.family.youngest)),
        _ => match name.strip_prefix(AGE_OF) {
            Some(date) => ages(rows, date),
            None => attribute(rows, name),
        },
    }
}

fn dates(values: impl Iterator<Item = Option<NaiveDate>>) -> ArrayRef {
    let days = values.map(|date| date.map(Date32Type::from_naive_date));
    Arc::new(days.collect::<Date32Array>())
}

fn whole(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

/// Full years from a date to the day of each row: what `age` is, once for all conditions.
fn ages(rows: Rows<'_>, date: &str) -> ArrayRef {
    let years = |born: Option<NaiveDate>, row: &Row| Some(i64::from(age(born?, row.day)));
    if date == YOUNGEST {
        return whole(rows.rows.iter().map(|row| years(row.family.youngest, row)));
    }
    let born = Values::of(rows, date, |value| value.date());
    whole(rows.rows.iter().map(|row| years(born.at(row), row)))
}

/// An attribute as a column of the type that all values have; text where they differ. A name that
/// ends in `_date` is a date.
fn attribute(rows: Rows<'_>, name: &str) -> ArrayRef {
    let values = Values::of(rows, name, |value| (!value.is_null()).then_some(value));
    let of_rows = || rows.rows.iter().map(|row| values.at(row));
    let all = |is: fn(&Attribute<'_>) -> bool| values.values.iter().flatten().all(is);
    if values.values.iter().all(Option::is_none) {
        // Whoever compares NULL with whatever gets NULL; a guessed type could refuse to compare.
        Arc::new(NullArray::new(rows.rows.len()))
    } else if all(|value| matches!(value, Attribute::Flag(_))) {
        let flags = of_rows().map(|value| match value {
            Some(Attribute::Flag(flag)) => Some(flag),
            _ => None,
        });
        Arc::new(flags.collect::<BooleanArray>())
    } else if all(|value| matches!(value, Attribute::Whole(_))) {
        whole(of_rows().map(|value| match value {
            Some(Attribute::Whole(number)) => Some(number),
            _ => None,
        }))
    } else if all(|value| matches!(value, Attribute::Whole(_) | Attribute::Real(_))) {
        let numbers = of_rows().map(|value| match value {
            Some(Attribute::Whole(number)) => Some(number as f64),
            Some(Attribute::Real(number)) => Some(number),
            _ => None,
        });
        Arc::new(numbers.collect::<Float64Array>())
    } else if name.ends_with("_date") {
        dates(of_rows().map(|value| value.and_then(|value| value.date())))
    } else {
        texts(of_rows())
    }
}

fn texts<'a>(values: impl Iterator<Item = Option<Attribute<'a>>>) -> ArrayRef {
    let mut column = StringBuilder::new();
    for value in values {
        match value {
            Some(Attribute::Text(text) | Attribute::Other(text)) => column.append_value(text),
            Some(other) => column.append_value(match other.value() {
                Value::String(text) => text,
                other => other.to_string(),
            }),
            None => column.append_null(),
        }
    }
    Arc::new(column.finish())
}

/// What is made of an attribute of each person, once for all days.
struct Values<T> {
    /// The place of the first person.
    first: usize,
    values: Vec<Option<T>>,
}

impl<'a, T: Copy> Values<T> {
    fn of(rows: Rows<'a>, name: &str, value: impl Fn(Attribute<'a>) -> Option<T>) -> Self {
        let first = rows.rows.first().map_or(0, |row| row.person);
        let end = rows.rows.last().map_or(0, |row| row.person + 1);
        let people = &rows.people[first..end];
        let name = people.first().and_then(|person| person.attribute_name(name));
        let of = |person: &Person<'a>| value(person.attribute_named(name?)?);
        Self { first, values: people.iter().map(of).collect() }
    }

    fn at(&self, row: &Row) -> Option<T> {
        self.values[row.person - self.first]
    }
}
