//! `tumble`, `hop` and `session` as they stand in a query, and `row_time()`.
//!
//! The engine only sees that they are functions; the planner takes them out before it executes.

use arrow::{compute::kernels::cast_utils::parse_interval_month_day_nano, datatypes::DataType};
use datafusion::{
    common::{Result as EngineResult, ScalarValue, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::SessionContext,
};

use crate::dataflow::time::{instant, window_fields};

/// How rows are grouped by time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// `tumble(width)`, `hop(slide, width)`.
    Sliding {
        /// The distance of two windows' starts.
        slide: i64,
        /// The width.
        width: i64,
    },
    /// `session(gap)`.
    Session {
        /// The gap that ends a session.
        gap: i64,
    },
}

/// A function of time, which the planner reads and takes out of the query: none is ever called.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeFunction {
    name: &'static str,
    signature: Signature,
}

/// Makes the functions of time known to a session, so that queries with them can be read.
pub fn register(context: &SessionContext) {
    // Volatile, so that no rule of the optimizer moves or evaluates them.
    for (name, arguments) in [("tumble", 1), ("hop", 2), ("session", 1)] {
        let signature = Signature::any(arguments, Volatility::Volatile);
        context.register_udf(ScalarUDF::new_from_impl(TimeFunction { name, signature }));
    }
    let signature = Signature::nullary(Volatility::Volatile);
    let row_time = TimeFunction { name: "row_time", signature };
    context.register_udf(ScalarUDF::new_from_impl(row_time));
}

impl ScalarUDFImpl for TimeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> EngineResult<DataType> {
        Ok(if self.name == "row_time" { instant() } else { DataType::Struct(window_fields()) })
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        exec_err!("{}() can only stand in a GROUP BY", self.name)
    }
}

/// The window that an expression calls for, if it does.
///
/// # Errors
/// Where its arguments are not what a window needs.
pub fn find(expression: &Expr) -> EngineResult<Option<Window>> {
    let function = match expression {
        Expr::Alias(alias) => return find(&alias.expr),
        Expr::ScalarFunction(function) => function,
        _ => return Ok(None),
    };
    let width = |at: usize| width(function.name(), &function.args[at]);
    Ok(Some(match function.name() {
        "tumble" => Window::Sliding { slide: width(0)?, width: width(0)? },
        "hop" => {
            let (slide, width) = (width(0)?, width(1)?);
            if width % slide != 0 {
                return plan_err!(
                    "hop() width {}s currently must be a multiple of slide {}s",
                    width / 1_000_000_000,
                    slide / 1_000_000_000
                );
            }
            Window::Sliding { slide, width }
        }
        "session" => Window::Session { gap: width(0)? },
        _ => return Ok(None),
    }))
}

/// Whether a call of a window or of `row_time()` is in an expression.
///
/// # Errors
/// Never in practice: nothing in the visit fails.
pub fn calls(expression: &Expr, names: &[&str]) -> EngineResult<bool> {
    use datafusion::common::tree_node::TreeNode;
    expression.exists(|inner| {
        Ok(matches!(inner, Expr::ScalarFunction(function) if names.contains(&function.name())))
    })
}

fn width(function: &str, argument: &Expr) -> EngineResult<i64> {
    let literal = match argument {
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    let interval = match literal {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let interval = parse_interval_month_day_nano(text)?;
            (interval.months, interval.days, interval.nanoseconds)
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
            (interval.months, interval.days, interval.nanoseconds)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => {
            (0, interval.days, i64::from(interval.milliseconds) * 1_000_000)
        }
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => (*months, 0, 0),
        other => {
            return plan_err!(
                "{function}() needs a literal interval, such as INTERVAL '1 minute', \
                              but was given {other}"
            );
        }
    };
    let (months, days, nanoseconds) = interval;
    if months != 0 {
        return plan_err!("{function}() cannot have months, which differ in length: use days");
    }
    let width = i64::from(days)
        .checked_mul(86_400_000_000_000)
        .and_then(|days| days.checked_add(nanoseconds));
    match width {
        Some(width) if width > 0 => Ok(width),
        _ => plan_err!("{function}() needs an interval above zero"),
    }
}
