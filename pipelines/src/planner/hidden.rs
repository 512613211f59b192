//! Columns that queries do not see: event time, what was told of it, and whether a row is taken back.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{Column, DFSchema, DataFusionError, Result as EngineResult},
    logical_expr::Expr,
};

use crate::dataflow::time::{RETRACT, TIMESTAMP, WATERMARK, instant};

/// The field of a hidden column.
pub fn hidden_field(name: &str) -> Arc<Field> {
    let (data_type, nullable) = match name {
        RETRACT => (DataType::Boolean, false),
        WATERMARK => (instant(), true),
        _ => (instant(), false),
    };
    Arc::new(Field::new(name, data_type, nullable))
}

/// The hidden columns of a schema.
pub fn hidden(schema: &DFSchema) -> Vec<Column> {
    let columns = schema.columns().into_iter();
    columns.filter(|column| is_hidden(column.name())).collect()
}

/// Whether a column is one that queries do not see.
pub fn is_hidden(name: &str) -> bool {
    [TIMESTAMP, WATERMARK, RETRACT].contains(&name)
}

/// The event time's column of a schema.
///
/// # Errors
/// Where there is none.
pub fn timestamp(schema: &DFSchema) -> EngineResult<Expr> {
    let column = hidden(schema).into_iter().find(|column| column.name() == TIMESTAMP);
    let missing = || DataFusionError::Plan("rows without an event time".into());
    column.map(Expr::Column).ok_or_else(missing)
}
