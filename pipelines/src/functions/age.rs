//! `age(date)`: full years from a date to the day that a condition is evaluated for.
//!
//! In a condition it has one argument; the evaluation adds the day as the second. Who is born on 29
//! February has the birthday on 1 March in years without one.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Int64Array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Date32Type},
};
use chrono::NaiveDate;
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Age {
    signature: Signature,
}

impl Default for Age {
    fn default() -> Self {
        Self { signature: Signature::new(TypeSignature::Any(2), Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &'static str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Date32 | DataType::Utf8 | DataType::Null, _] => Ok(DataType::Int64),
            [other, ..] => plan_err!("age(date) cannot count from {other}"),
            [] => plan_err!("age(date) needs a date"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [from, day] = arguments.args.as_slice() else {
            return plan_err!("age(date) needs a date");
        };
        // A text that is no date is unknown, hence NULL.
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let dates = |value: &ColumnarValue| {
            let array = value.to_array(arguments.number_rows)?;
            Ok::<_, datafusion::error::DataFusionError>(cast_with_options(
                &array,
                &DataType::Date32,
                &options,
            )?)
        };
        let (from, day) = (dates(from)?, dates(day)?);
        let (from, day) = (from.as_primitive::<Date32Type>(), day.as_primitive::<Date32Type>());
        let ages = (0..arguments.number_rows).map(|row| {
            if from.is_null(row) || day.is_null(row) {
                return None;
            }
            years(from.value(row), day.value(row))
        });
        Ok(ColumnarValue::Array(Arc::new(ages.collect::<Int64Array>())))
    }
}

fn years(from: i32, day: i32) -> Option<i64> {
    let from: NaiveDate = Date32Type::to_naive_date_opt(from)?;
    let day = Date32Type::to_naive_date_opt(day)?;
    Some(i64::from(domain::period::age(from, day)))
}
