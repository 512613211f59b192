//! JSON in texts: `->`, `->>`, `?`, `json_get` and its kin, and JSONPath by `extract_json`.
//!
//! `json_get`, and hence `->`, gives a value of any of JSON's kinds, a union. A cast of it reads
//! the kind that is asked for, and [`serialise`] turns what is left of them into text at a sink.

use std::sync::Arc;

use datafusion::{
    common::Result,
    execution::FunctionRegistry,
    logical_expr::{ScalarUDF, expr_rewriter::FunctionRewrite},
};

mod find;
mod get;
mod operators;
mod path;
mod value;

pub use path::parse as parse_path;
pub use value::{is_value, serialise};

/// Makes the functions and operators known.
///
/// # Errors
/// Where the registry takes none.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for kind in get::Kind::ALL {
        registry.register_udf(get::function(kind))?;
    }
    for kind in path::Kind::ALL {
        registry
            .register_udf(Arc::new(ScalarUDF::new_from_impl(path::JsonPathFunction::of(kind))))?;
    }
    registry.register_udf(value::function())?;
    let rewrite: Arc<dyn FunctionRewrite + Send + Sync> = Arc::new(operators::ReadAsCast);
    registry.register_function_rewrite(rewrite)?;
    registry.register_expr_planner(Arc::new(operators::Operators))
}
