//! The engine's session: one configuration for pipelines and for conditions of groups.

use std::sync::Arc;

use datafusion::{
    logical_expr::ScalarUDF,
    prelude::{SessionConfig, SessionContext},
};

use crate::functions;

/// A session in which a query runs over one batch at a time.
#[must_use]
pub fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    // Declared TEXT columns are Utf8, and so are the warehouse's.
    options.sql_parser.map_string_types_to_utf8view = false;
    // A plan is made once and executed over every batch; a dynamic filter would keep what it learnt
    // from the first one.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    let mut context = SessionContext::new_with_config(config);
    functions::register(&mut context).expect("a session takes every function");
    context
}

/// A function of the session by its name.
#[must_use]
pub fn function(context: &SessionContext, name: &str) -> Option<Arc<ScalarUDF>> {
    context.state().scalar_functions().get(name).cloned()
}
