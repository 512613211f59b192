//! A row as bytes, in the order of its table's columns: the same from a record and from a table.

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
        Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::amount::Amount;
use ingest::record::{Position, Stored};
use warehouse::schema::{Kind, Table};

/// Columns that came later than their tables: rows that landed before have no value where the same
/// record has one by now, and both are right, so they are not compared.
const ADDED: &[(&str, &str)] = &[("authorisations", "no_benefit_reason")];

const NONE: u8 = 0;
const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const REAL: u8 = 3;

/// A row that is being written, column by column.
#[derive(Debug, Default)]
pub struct Row(Vec<u8>);

impl Row {
    /// Begins anew.
    pub fn begin(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.push(TEXT);
        self.0.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A text, or that there is none.
    pub fn may(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.none(),
        }
    }

    /// A text, of which an empty one says that there is none.
    pub fn filled(&mut self, text: &str) -> &mut Self {
        self.may((!text.is_empty()).then_some(text))
    }

    /// A whole number: of cents, thousandths, days, microseconds, or of things.
    pub fn number(&mut self, number: impl TryInto<i64>) -> &mut Self {
        self.0.push(NUMBER);
        self.0.extend_from_slice(&number.try_into().unwrap_or(i64::MAX).to_le_bytes());
        self
    }

    /// A number, or that there is none.
    pub fn maybe(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.none(),
        }
    }

    /// A number of double precision.
    pub fn real(&mut self, real: f64) -> &mut Self {
        self.0.push(REAL);
        self.0.extend_from_slice(&real.to_bits().to_le_bytes());
        self
    }

    /// No value.
    pub fn none(&mut self) -> &mut Self {
        self.0.push(NONE);
        self
    }

    /// A local day; one that is none stands as no value.
    pub fn day(&mut self, day: &str) -> &mut Self {
        self.maybe(day.parse::<NaiveDate>().ok().map(days))
    }

    /// An instant.
    pub fn instant(&mut self, instant: DateTime<Utc>) -> &mut Self {
        self.number(instant.timestamp_micros())
    }

    /// When a record was recorded and where it stands, as most rows end.
    pub fn placed(&mut self, stored: &Stored) -> &mut Self {
        let Position { partition, offset } = stored.position;
        self.instant(stored.record.recorded_at).number(partition).number(offset)
    }
}

fn days(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days()
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// There is none.
    None,
    /// A text.
    Text(String),
    /// A whole number, in what its column counts.
    Number(i64),
    /// A number of double precision.
    Real(f64),
}

impl Cell {
    /// The value as its column has it, for people.
    #[must_use]
    pub fn told(&self, kind: Kind) -> String {
        match (self, kind) {
            (Self::None, _) => "none".into(),
            (Self::Text(text), _) => text.clone(),
            (Self::Real(real), _) => real.to_string(),
            (Self::Number(cents), Kind::Money) => Amount::from_cents(*cents).to_string(),
            (Self::Number(number), Kind::Flag) => (*number != 0).to_string(),
            (Self::Number(micros), Kind::Instant) => {
                DateTime::from_timestamp_micros(*micros).unwrap_or_default().to_rfc3339()
            }
            (Self::Number(days), Kind::Day) => {
                let day = chrono::TimeDelta::try_days(*days);
                let day = day.and_then(|days| NaiveDate::default().checked_add_signed(days));
                day.unwrap_or_default().to_string()
            }
            (Self::Number(thousandths), Kind::Quantity) => {
                let sign = if *thousandths < 0 { "-" } else { "" };
                let size = thousandths.unsigned_abs();
                format!("{sign}{}.{:03}", size / 1_000, size % 1_000)
            }
            (Self::Number(number), _) => number.to_string(),
        }
    }
}

/// The values in a row's bytes.
#[must_use]
pub fn cells(mut bytes: &[u8]) -> Vec<Cell> {
    let mut cells = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        let cell = match *tag {
            TEXT => {
                let Some((length, rest)) = rest.split_first_chunk() else { break };
                let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
                let Some((text, rest)) = rest.split_at_checked(length) else { break };
                bytes = rest;
                Cell::Text(String::from_utf8_lossy(text).into_owned())
            }
            NUMBER | REAL => {
                let Some((value, rest)) = rest.split_first_chunk() else { break };
                bytes = rest;
                match *tag {
                    NUMBER => Cell::Number(i64::from_le_bytes(*value)),
                    _ => Cell::Real(f64::from_bits(u64::from_le_bytes(*value))),
                }
            }
            _ => Cell::None,
        };
        cells.push(cell);
    }
    cells
}

/// The columns of some rows of a table.
#[derive(Debug)]
pub struct Columns(Vec<Values>);

#[derive(Debug)]
enum Values {
    Text(StringArray),
    Integer(Int32Array),
    Long(Int64Array),
    Flag(BooleanArray),
    Decimal(Decimal128Array),
    Real(Float64Array),
    Instant(TimestampMicrosecondArray),
    Day(Date32Array),
}

impl Columns {
    /// Those of a batch, in the order of the table's schema; a column that the batch lacks has no
    /// values.
    ///
    /// # Errors
    /// Where a column is of a type that does not fit.
    pub fn of(batch: &RecordBatch, table: &Table) -> Result<Self, ArrowError> {
        let column = |column: &warehouse::schema::Column| {
            let wanted = column.kind.arrow();
            let found = batch.column_by_name(column.name);
            let found = match found.filter(|_| !ADDED.contains(&(table.name, column.name))) {
                Some(found) => cast(found, &wanted)?,
                None => arrow::array::new_null_array(&wanted, batch.num_rows()),
            };
            Ok(values(&found))
        };
        table.columns.iter().map(column).collect::<Result<_, _>>().map(Self)
    }

    /// A whole number of a row, by its column's place.
    #[must_use]
    pub fn number(&self, place: Option<usize>, at: usize) -> Option<i64> {
        let values = self.0.get(place?).filter(|values| !values.array().is_null(at))?;
        match values {
            Values::Integer(column) => Some(column.value(at).into()),
            Values::Long(column) => Some(column.value(at)),
            _ => None,
        }
    }

    /// One row, after what `row` holds.
    pub fn write(&self, at: usize, row: &mut Row) {
        for values in &self.0 {
            values.write(at, row);
        }
    }
}

fn values(column: &ArrayRef) -> Values {
    match column.data_type() {
        DataType::Int32 => Values::Integer(column.as_primitive().clone()),
        DataType::Int64 => Values::Long(column.as_primitive().clone()),
        DataType::Boolean => Values::Flag(column.as_boolean().clone()),
        DataType::Decimal128(..) => Values::Decimal(column.as_primitive().clone()),
        DataType::Float64 => Values::Real(column.as_primitive().clone()),
        DataType::Timestamp(..) => Values::Instant(column.as_primitive().clone()),
        DataType::Date32 => Values::Day(column.as_primitive().clone()),
        _ => Values::Text(column.as_string().clone()),
    }
}

impl Values {
    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(column) => column,
            Self::Integer(column) => column,
            Self::Long(column) => column,
            Self::Flag(column) => column,
            Self::Decimal(column) => column,
            Self::Real(column) => column,
            Self::Instant(column) => column,
            Self::Day(column) => column,
        }
    }

    fn write(&self, at: usize, row: &mut Row) {
        if self.array().is_null(at) {
            row.none();
            return;
        }
        match self {
            Self::Text(column) => row.text(column.value(at)),
            Self::Integer(column) => row.number(column.value(at)),
            Self::Long(column) => row.number(column.value(at)),
            Self::Flag(column) => row.number(column.value(at)),
            Self::Decimal(column) => row.number(column.value(at)),
            Self::Real(column) => row.real(column.value(at)),
            Self::Instant(column) => row.number(column.value(at)),
            Self::Day(column) => row.number(column.value(at)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_back() {
        let mut row = Row::default();
        row.begin().text("a").none().number(-5_i64).filled("").real(1.5).day("1970-01-02");
        let expected = [
            Cell::Text("a".into()),
            Cell::None,
            Cell::Number(-5),
            Cell::None,
            Cell::Real(1.5),
            Cell::Number(1),
        ];
        assert_eq!(cells(row.bytes()), expected);
    }

    #[test]
    fn values_are_told_as_people_read_them() {
        assert_eq!(Cell::Number(-1_234).told(Kind::Money), "-12.34");
        assert_eq!(Cell::Number(-1_250).told(Kind::Quantity), "-1.250");
        assert_eq!(Cell::Number(31).told(Kind::Day), "1970-02-01");
        assert_eq!(Cell::Number(1).told(Kind::Flag), "true");
    }
}
