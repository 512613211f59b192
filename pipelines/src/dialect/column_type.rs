//! SQL types of the dialect, as Arrow has them.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit};
use sqlparser::ast::{ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, TimezoneInfo};

/// The Arrow type of a declared column.
///
/// # Errors
/// The construct that the dialect has and this runtime has not.
pub fn arrow(sql: &Sql) -> Result<DataType, String> {
    Ok(match sql {
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::TinyInt(None) => DataType::Int8,
        Sql::SmallInt(None) => DataType::Int16,
        Sql::Int(None) | Sql::Integer(None) => DataType::Int32,
        Sql::BigInt(None) => DataType::Int64,
        Sql::TinyIntUnsigned(None) => DataType::UInt8,
        Sql::SmallIntUnsigned(None) => DataType::UInt16,
        Sql::IntUnsigned(None) | Sql::IntegerUnsigned(None) => DataType::UInt32,
        Sql::BigIntUnsigned(None) => DataType::UInt64,
        Sql::Float(ExactNumberInfo::None) | Sql::Real => DataType::Float32,
        Sql::Double(ExactNumberInfo::None) | Sql::DoublePrecision => DataType::Float64,
        Sql::Decimal(info) | Sql::Numeric(info) => decimal(info)?,
        Sql::Text => DataType::Utf8,
        Sql::Bytea => DataType::Binary,
        Sql::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(unit(*precision)?, None)
        }
        Sql::Date => DataType::Date32,
        Sql::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Nanosecond)
        }
        Sql::Interval { fields: None, precision: None } => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, None)) => {
            DataType::List(Arc::new(Field::new_list_field(arrow(element)?, true)))
        }
        Sql::Struct(fields, _) => {
            let fields = fields.iter().map(|field| {
                let name = field.field_name.as_ref();
                let name = name.ok_or_else(|| format!("a field without a name in {sql}"))?;
                let name = match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                };
                Ok(Field::new(name, arrow(&field.field_type)?, true))
            });
            DataType::Struct(fields.collect::<Result<_, String>>()?)
        }
        other => return Err(format!("the type {other}")),
    })
}

fn unit(precision: Option<u64>) -> Result<TimeUnit, String> {
    Ok(match precision {
        Some(0) => TimeUnit::Second,
        Some(3) => TimeUnit::Millisecond,
        Some(6) => TimeUnit::Microsecond,
        None | Some(9) => TimeUnit::Nanosecond,
        Some(other) => return Err(format!("TIMESTAMP({other})")),
    })
}

/// A bare decimal has another scale from engine to engine, so it is refused.
fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Err("DECIMAL without precision and scale".into()),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let refused = || format!("DECIMAL({precision}, {scale})");
    let digits = u8::try_from(precision).map_err(|_| refused())?;
    let scale = i8::try_from(scale).map_err(|_| refused())?;
    let fits = digits > 0
        && digits <= DECIMAL128_MAX_PRECISION
        && scale >= 0
        && scale.unsigned_abs() <= digits;
    if fits { Ok(DataType::Decimal128(digits, scale)) } else { Err(refused()) }
}
