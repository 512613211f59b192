//! Spans of time in options and settings: `INTERVAL '5' SECOND`, `INTERVAL '30 days'`, `'5 seconds'`.

use std::time::Duration;

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use sqlparser::ast::{DataType, Expr, Value};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The span that an expression says.
///
/// # Errors
/// Why it says none: it is no literal, has months, or is negative.
pub fn duration(expression: &Expr) -> Result<Duration, String> {
    let wrong = || format!("expected an interval, but found `{expression}`");
    let text = text(expression).ok_or_else(wrong)?;
    let parsed = parse_interval_month_day_nano(&text).map_err(|_| wrong())?;
    if parsed.months != 0 {
        return Err("months are not supported in this interval".into());
    }
    let negative = |_| "interval must not be negative".to_owned();
    let days = u64::try_from(parsed.days).map_err(negative)?;
    let nanoseconds = u64::try_from(parsed.nanoseconds).map_err(negative)?;
    Ok(Duration::from_secs(days * DAY_SECONDS) + Duration::from_nanos(nanoseconds))
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Interval(interval) => {
            let number = text(&interval.value)?;
            Some(match &interval.leading_field {
                Some(unit) => format!("{number} {unit}"),
                None => number,
            })
        }
        Expr::TypedString(typed) if matches!(typed.data_type, DataType::Interval { .. }) => {
            typed.value.clone().into_string()
        }
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    }
}
