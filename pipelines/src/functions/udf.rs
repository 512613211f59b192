//! Functions that a Rust developer adds to the dialect.
//!
//! A closure over values becomes a scalar function, a closure over vectors an aggregate one:
//!
//! ```
//! use pipelines::functions::udf;
//!
//! udf::add(udf::scalar("double_negative", |value: u64| -2 * value as i64));
//! udf::add(udf::aggregate("longest", |texts: Vec<String>| -> Option<String> {
//!     texts.into_iter().max_by_key(String::len)
//! }));
//! ```
//!
//! As on a cluster: where an argument is NULL the function is not called and gives NULL, unless it
//! takes an `Option`; an aggregate sees the values that are not NULL, unless it takes
//! `Vec<Option<_>>`; and a function that returns an `Option` may give NULL.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};

use arrow::{array::ArrayRef, datatypes::DataType};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{AggregateUDF, ColumnarValue, ScalarUDF, Volatility, create_udaf, create_udf},
};

mod body;
mod collect;
mod value;

pub use body::{AggregateBody, ScalarBody};
pub use value::{Argument, Value};

/// A function of a developer's.
#[derive(Clone, Debug)]
pub enum Function {
    /// Of one row.
    Scalar(Arc<ScalarUDF>),
    /// Of the rows of a group.
    Aggregate(Arc<AggregateUDF>),
}

static ADDED: RwLock<Vec<Function>> = RwLock::new(Vec::new());

impl Function {
    /// The name that SQL calls it by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Scalar(function) => function.name(),
            Self::Aggregate(function) => function.name(),
        }
    }
}

impl From<ScalarUDF> for Function {
    fn from(function: ScalarUDF) -> Self {
        Self::Scalar(Arc::new(function))
    }
}

impl From<AggregateUDF> for Function {
    fn from(function: AggregateUDF) -> Self {
        Self::Aggregate(Arc::new(function))
    }
}

/// Makes a function known to every session made from now on; it replaces one of its name. An
/// engine's own `ScalarUDF` or `AggregateUDF` will do as well.
pub fn add(function: impl Into<Function>) {
    let function = function.into();
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    added.retain(|known| known.name() != function.name());
    added.push(function);
}

/// What was added.
#[must_use]
pub fn added() -> Vec<Function> {
    ADDED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A function of one row; up to four arguments.
pub fn scalar<A>(name: &str, body: impl ScalarBody<A>) -> Function {
    let (arguments, returns) = (body.arguments(), body.returns());
    let called = name.to_owned();
    let invoke = move |given: &[ColumnarValue]| {
        let columns = ColumnarValue::values_to_arrays(given)?;
        caught(&called, || body.call(&columns)).map(ColumnarValue::Array)
    };
    create_udf(name, arguments, returns, Volatility::Volatile, Arc::new(invoke)).into()
}

/// A function of a group's rows, which it sees all at once; up to four arguments.
pub fn aggregate<A>(name: &str, body: impl AggregateBody<A>) -> Function {
    let arguments = body.arguments();
    let returns = Arc::new(body.returns());
    let states = arguments.iter().map(|argument| DataType::new_list(argument.clone(), true));
    let states = Arc::new(states.collect::<Vec<_>>());
    let (called, types) = (name.to_owned(), arguments.clone());
    let call = move |columns: &[ArrayRef]| caught(&called, || body.call(columns));
    let call: collect::Call = Arc::new(call);
    let accumulator =
        Arc::new(move |_: datafusion::logical_expr::function::AccumulatorArgs<'_>| {
            Ok(Box::new(collect::Collected::new(&types, Arc::clone(&call))) as _)
        });
    create_udaf(name, arguments, returns, Volatility::Volatile, accumulator, states).into()
}

/// A function that panics fails its query, not the process.
fn caught(name: &str, call: impl FnOnce() -> ArrayRef) -> Result<ArrayRef> {
    catch_unwind(AssertUnwindSafe(call)).or_else(|_| exec_err!("the function {name} panicked"))
}

#[cfg(test)]
mod tests;
