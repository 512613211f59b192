//! What is computed of a table's rows before a query sees them: generated columns and event time.

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::{
        Column as Named, DFSchema, DataFusionError, Result as EngineResult, TableReference,
        plan_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::Expr,
    prelude::{ident, lit},
};
use sqlparser::ast::ExprWithAlias;

use super::{finish, unknown_function, wrong};
use crate::{
    dialect::{Column, Connector, Origin, TableDefinition, Watermark},
    error::PipelineError,
    session::session,
};

/// Refuses what a table computes and cannot, whether a query reads it or not.
pub fn check_computed(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    let wrong = |reason: String| wrong(file, format!("table {}: {reason}", table.name));
    table.event_time().map_err(wrong)?;
    if table.watermark.is_none() && !table.columns.iter().any(Column::is_generated) {
        return Ok(());
    }
    let state = session().state();
    for column in table.columns.iter().filter(|column| column.is_generated()) {
        let name = &column.name;
        let made = table.made(&state, ident(name));
        made.map_err(|error| wrong(format!("column {name}: {}", said(&error))))?;
    }
    let Some(Watermark { column, expression: Some(_) }) = &table.watermark else { return Ok(()) };
    let failed = format!("WATERMARK FOR {column}");
    match table.watermark_kind(&state) {
        Ok((DataType::Timestamp(_, None), false)) => Ok(()),
        Ok((DataType::Timestamp(_, None), true)) => Err(wrong(format!(
            "{failed} AS an expression that may be NULL (declare what it reads NOT NULL, or write \
             COALESCE)"
        ))),
        Ok((other, _)) => Err(wrong(format!("{failed} AS {other}, which is no TIMESTAMP"))),
        Err(error) => Err(wrong(format!("{failed}: {}", said(&error)))),
    }
}

fn said(error: &DataFusionError) -> String {
    unknown_function(error).unwrap_or_else(|| error.strip_backtrace())
}

impl TableDefinition {
    /// The column that holds event time, if one is said to, or what is wrong with it.
    pub(super) fn event_time(&self) -> Result<Option<&Column>, String> {
        let Some(Watermark { column: name, .. }) = &self.watermark else { return Ok(None) };
        match self.columns.iter().find(|column| column.name == *name) {
            Some(column) if is_instant(column) => Ok(Some(column)),
            Some(_) => Err(format!("WATERMARK FOR {name}: no TIMESTAMP")),
            None => Err(format!("WATERMARK FOR {name}: no column")),
        }
    }

    /// The expressions by which a source tells time: of a row, and up to which instant everything
    /// has come.
    pub(super) fn time(&self, state: &SessionState) -> EngineResult<(Expr, Expr)> {
        let Some(watermark) = &self.watermark else {
            let Some(event_time) = self.unsaid_time() else { return self.no_time() };
            let event_time = self.made(state, ident(&event_time.name))?;
            let second = lit(datafusion::scalar::ScalarValue::IntervalMonthDayNano(Some(
                arrow::datatypes::IntervalMonthDayNano::new(0, 0, 1_000_000_000),
            )));
            // A second of patience, as the dialect has it.
            return Ok((event_time.clone(), event_time - second));
        };
        let event_time = self.made(state, ident(&watermark.column))?;
        let Some(expression) = &watermark.expression else {
            return Ok((event_time.clone(), event_time));
        };
        let schema = DFSchema::try_from(self.schema())?;
        let expression = ExprWithAlias { expr: expression.clone(), alias: None };
        let expression = state.create_logical_expr_from_sql_expr(expression, &schema)?;
        Ok((event_time, self.made(state, expression)?))
    }

    /// What every record of our streams has. A column of a file may be called the same.
    fn unsaid_time(&self) -> Option<&Column> {
        let mut columns = self.columns.iter().filter(|column| is_instant(column));
        columns.find(|column| column.name == "event_time").filter(|_| self.is_stream())
    }

    const fn is_stream(&self) -> bool {
        matches!(self.connector, Connector::Stream(_))
    }

    /// The time of a source that tells none: of files it is when they are read. A cluster takes that at
    /// which Fluvio took a record, so without a watermark a topic would mean something else here.
    fn no_time(&self) -> EngineResult<(Expr, Expr)> {
        if self.is_stream() {
            return plan_err!(
                "{} declares no WATERMARK FOR, and no event_time TIMESTAMP",
                self.name
            );
        }
        if matches!(self.connector, Connector::Fluvio(_)) {
            return plan_err!(
                "{} declares no WATERMARK FOR: Fluvio's own time of a record is not read",
                self.name
            );
        }
        let now = chrono::Utc::now().timestamp_nanos_opt();
        let now = lit(datafusion::scalar::ScalarValue::TimestampNanosecond(now, None));
        Ok((now.clone(), now))
    }

    /// The type of the watermark, and whether it may be NULL over rows that have an event time: a
    /// row without one stops its pipeline anyway.
    fn watermark_kind(&self, state: &SessionState) -> EngineResult<(DataType, bool)> {
        let (event_time, watermark) = self.time(state)?;
        let mut schema = self.record_schema();
        if let Expr::Column(column) = &event_time {
            let fields = schema.fields().iter().map(|field| {
                let nullable = field.is_nullable() && *field.name() != column.name;
                field.as_ref().clone().with_nullable(nullable)
            });
            schema = Schema::new(fields.collect::<Vec<_>>());
        }
        finish::kind(watermark, &DFSchema::try_from(schema)?)
    }

    /// An expression with generated columns as what they are generated from.
    pub(super) fn made(&self, state: &SessionState, expression: Expr) -> EngineResult<Expr> {
        let schema = DFSchema::try_from(self.record_schema())?;
        let made = expression.transform(|inner| {
            let Expr::Column(column) = &inner else { return Ok(Transformed::no(inner)) };
            let held = self.columns.iter().find(|held| held.name == column.name);
            let Some(Origin::Generated { expression }) = held.map(|held| &held.origin) else {
                return Ok(Transformed::no(inner));
            };
            let expression = ExprWithAlias { expr: expression.clone(), alias: None };
            let made = state.create_logical_expr_from_sql_expr(expression, &schema)?;
            Ok(Transformed::new(made, true, TreeNodeRecursion::Jump))
        })?;
        Ok(made.data)
    }
}

fn is_instant(column: &Column) -> bool {
    matches!(column.data_type, DataType::Timestamp(_, None))
}

/// An expression over a table's columns by their full names: rules of the engine look for them by
/// these, and find no column that is called by its name alone.
pub fn of_scan(expression: Expr, relation: &TableReference) -> EngineResult<Expr> {
    let named = expression.transform(|inner| match inner {
        Expr::Column(column) if column.relation.is_none() => {
            let column = Named::new(Some(relation.clone()), column.name);
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(named.data)
}
