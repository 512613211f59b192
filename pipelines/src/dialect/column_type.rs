//! SQL types of the dialect, as Arrow has them.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL_DEFAULT_SCALE, DECIMAL128_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit,
};
use sqlparser::ast::{
    ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, StructField, TimezoneInfo,
};

/// The Arrow type of a declared column.
///
/// # Errors
/// Why the dialect has no such type.
pub fn arrow(sql: &Sql) -> Result<DataType, String> {
    match sql {
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, _))
        | Sql::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            if matches!(**element, Sql::JSON) {
                let instead = "declare the column JSON and take it apart by extract_json";
                return Err(format!("Unsupported SQL type '{sql}'; {instead}"));
            }
            Ok(DataType::List(Arc::new(Field::new_list_field(simple(element)?, true))))
        }
        Sql::Array(ArrayElemTypeDef::None) => {
            Err("Arrays with unspecified type is not supported".into())
        }
        other => simple(other),
    }
}

/// A type other than a list; the dialect has no lists of lists.
fn simple(sql: &Sql) -> Result<DataType, String> {
    Ok(match sql {
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) => DataType::Int64,
        Sql::TinyIntUnsigned(_) => DataType::UInt8,
        Sql::SmallIntUnsigned(_) | Sql::Int2Unsigned(_) => DataType::UInt16,
        Sql::IntUnsigned(_)
        | Sql::IntegerUnsigned(_)
        | Sql::UnsignedInteger
        | Sql::Int4Unsigned(_) => DataType::UInt32,
        Sql::BigIntUnsigned(_) | Sql::Int8Unsigned(_) => DataType::UInt64,
        Sql::Float(_) | Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 => DataType::Float64,
        Sql::Decimal(info) | Sql::Numeric(info) => decimal(info)?,
        Sql::Char(_) | Sql::Varchar(_) | Sql::Text | Sql::String(_) | Sql::JSON => DataType::Utf8,
        Sql::Bytea => DataType::Binary,
        Sql::Timestamp(precision, TimezoneInfo::None) => {
            DataType::Timestamp(unit(*precision)?, None)
        }
        Sql::Datetime(_) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Sql::Date => DataType::Date32,
        Sql::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Nanosecond)
        }
        Sql::Interval { fields: None, precision: None } => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        Sql::Struct(fields, _) => {
            DataType::Struct(fields.iter().map(member).collect::<Result<_, String>>()?)
        }
        other => return Err(format!("Unsupported SQL type '{other}'")),
    })
}

/// A field of a STRUCT. A cluster takes the quotes of a quoted name into the name, so that no record
/// has such a field; words that are keywords elsewhere need none here.
fn member(field: &StructField) -> Result<Field, String> {
    let Some(name) = &field.field_name else {
        return Err("anonymous struct fields are not allowed".into());
    };
    if name.quote_style.is_some() {
        return Err(format!("the quoted field name {name} in a STRUCT; write it without quotes"));
    }
    Ok(Field::new(&name.value, arrow(&field.field_type)?, true))
}

fn unit(precision: Option<u64>) -> Result<TimeUnit, String> {
    Ok(match precision {
        Some(0) => TimeUnit::Second,
        Some(3) => TimeUnit::Millisecond,
        Some(6) => TimeUnit::Microsecond,
        None | Some(9) => TimeUnit::Nanosecond,
        Some(other) => {
            return Err(format!(
                "unsupported precision {other} -- supported precisions are 0 (seconds), \
                 3 (milliseconds), 6 (microseconds), and 9 (nanoseconds)"
            ));
        }
    })
}

/// A bare DECIMAL has 38 digits, 10 of them after the point.
fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (DECIMAL128_MAX_PRECISION.into(), DECIMAL_DEFAULT_SCALE.into()),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let digits = u8::try_from(precision).ok();
    let digits = digits.filter(|digits| (1..=DECIMAL128_MAX_PRECISION).contains(digits));
    let places = i8::try_from(scale).ok();
    match (digits, places) {
        (Some(digits), Some(places)) if places.unsigned_abs() <= digits => {
            Ok(DataType::Decimal128(digits, places))
        }
        _ => Err(format!(
            "Decimal(precision = {precision}, scale = {scale}) should satisfy \
             `0 < precision <= 38`, and `scale <= precision`."
        )),
    }
}
