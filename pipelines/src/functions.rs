//! Functions that the dialect has and the engine has not, and those that a Rust developer adds.

use datafusion::{common::Result, execution::FunctionRegistry, logical_expr::ScalarUDF};

pub mod age;
pub mod json;
pub mod multi_hash;
pub mod udf;

/// Makes all of them known: the dialect's, then the developer's, which may replace any.
///
/// # Errors
/// Where the registry takes none.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in [
        ScalarUDF::new_from_impl(age::Age::default()),
        ScalarUDF::new_from_impl(multi_hash::MultiHash::default()),
    ] {
        registry.register_udf(function.into())?;
    }
    json::register(registry)?;
    for function in udf::added() {
        match function {
            udf::Function::Scalar(function) => {
                registry.register_udf(function)?;
            }
            udf::Function::Aggregate(function) => {
                registry.register_udaf(function)?;
            }
        }
    }
    Ok(())
}
