//! Functions whose answer is as long as they are told, within bounds: what a function allocates
//! counts against no statement's memory, and where it cannot be had the process ends, tills included.

use arrow::{
    array::AsArray,
    compute::{cast, kernels::length::length, max, min},
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::Result,
    error::DataFusionError,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
    prelude::SessionContext,
};

/// How many bytes or items one call may answer with: so many, and for every row so many more.
const ONCE: i64 = 1 << 20;
const PER_ROW: i64 = 1 << 10;

/// What tells how long an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Length {
    /// The second argument, times the first one's length.
    Times,
    /// The second argument.
    Second,
    /// What lies between the first argument and the second.
    Between,
}

const BOUNDED: [(&str, Length); 7] = [
    ("repeat", Length::Times),
    ("lpad", Length::Second),
    ("rpad", Length::Second),
    ("array_repeat", Length::Second),
    ("array_resize", Length::Second),
    ("range", Length::Between),
    ("generate_series", Length::Between),
];

/// Bounds the functions of a context that need it.
pub(super) fn register(context: &SessionContext) {
    let state = context.state();
    for (name, length) in BOUNDED {
        if let Some(inner) = state.scalar_functions().get(name) {
            let inner = inner.as_ref().clone();
            context.register_udf(ScalarUDF::from(Bounded { inner, length }));
        }
    }
}

/// A function within bounds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: ScalarUDF,
    length: Length,
}

impl Length {
    /// The most that a call may answer with for one row.
    fn of(self, args: &[ColumnarValue]) -> Result<i64> {
        let second = || args.get(1).map_or(Ok(0), largest);
        match (self, args) {
            (Self::Times, [text, ..]) => {
                let bytes = length(text.to_array(1)?.as_ref())?;
                let bytes = largest(&ColumnarValue::Array(bytes))?;
                Ok(second()?.saturating_mul(bytes.max(1)))
            }
            (Self::Between, [start, ..])
                if matches!(start.data_type(), DataType::Timestamp(..)) =>
            {
                let text = "a series of instants is a table: SELECT … FROM generate_series(…)";
                Err(DataFusionError::Plan(text.to_owned()))
            }
            (Self::Between, [stop]) => Ok(largest(stop)?.saturating_abs()),
            (Self::Between, [start, stop, ..]) => {
                let up = largest(stop)?.saturating_sub(smallest(start)?);
                let down = largest(start)?.saturating_sub(smallest(stop)?);
                Ok(up.max(down))
            }
            _ => second(),
        }
    }
}

fn largest(numbers: &ColumnarValue) -> Result<i64> {
    let numbers = cast(&numbers.to_array(1)?, &DataType::Int64)?;
    Ok(max(numbers.as_primitive::<Int64Type>()).unwrap_or(0))
}

fn smallest(numbers: &ColumnarValue) -> Result<i64> {
    let numbers = cast(&numbers.to_array(1)?, &DataType::Int64)?;
    Ok(min(numbers.as_primitive::<Int64Type>()).unwrap_or(0))
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // One answer for all rows stands in each of them; what is constant is asked for one row, and is made for none.
        let rows = i64::try_from(args.number_rows.max(1)).unwrap_or(i64::MAX);
        let most = rows.saturating_mul(PER_ROW).saturating_add(ONCE);
        if self.length.of(&args.args)?.saturating_mul(rows) > most {
            let text = format!("{} would answer with too much at once", self.name());
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        self.inner.invoke_with_args(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_long_is_refused_before_it_is_made() {
        let context = SessionContext::new();
        register(&context);
        let context = &context;
        let answered = |sql: &'static str| async move {
            match context.sql(sql).await {
                Ok(frame) => frame.collect().await.map(drop),
                Err(error) => Err(error),
            }
        };
        for sql in [
            "SELECT repeat('ab', 1000), lpad('7', 3, '0'), rpad('7', 3)",
            "SELECT array_repeat(1, 3), array_resize([1, 2], 3, 0)",
            "SELECT range(5), generate_series(1, 5), range(10, 1, -1)",
            "SELECT generate_series(DATE '2025-01-01', DATE '2025-12-31', INTERVAL '1 day')",
        ] {
            answered(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        for sql in [
            "SELECT repeat('ab', 2000000000)",
            "SELECT repeat(arrow_cast('ab', 'LargeUtf8'), 1000000000000)",
            "SELECT lpad('7', 2000000000, '0')",
            "SELECT list_repeat(1, 2000000000)",
            "SELECT array_resize([1, 2], 2000000000, 0)",
            "SELECT range(2000000000)",
            "SELECT range(-2000000000, 0)",
            "SELECT generate_series(2000000000, 1, -1)",
            "SELECT repeat((SELECT t FROM (VALUES ('x')) AS v(t)), 100000) \
             FROM generate_series(1, 30000)",
        ] {
            assert!(answered(sql).await.is_err(), "{sql}");
        }
    }
}
