//! From a pipeline's file to its plan: resolve the source, refuse what does not run, plan once.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::streaming::StreamingTable,
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
    prelude::SessionContext,
    sql::parser::Statement as EngineStatement,
};
use sqlparser::ast::{ExprWithAlias, Query, Statement as Ast};
use tokio::sync::Mutex;

use crate::{
    dialect::{
        Connector, Origin, Statement, TableDefinition,
        connector::{FileSink, Stream},
        parse,
    },
    error::PipelineError,
    pipeline::{Pipeline, Slot, WindowPlan},
    session::session,
};

mod query;

use query::Window;

/// A file: its name without the ending, and its text.
pub type File<'a> = (&'a str, &'a str);

/// Plans the pipelines of `tables` over the streams of `sources`.
///
/// # Errors
/// The first file that is not SQL, says what does not run here, or does not plan.
pub async fn plan(
    sources: &[File<'_>],
    tables: &[File<'_>],
) -> Result<Vec<Pipeline>, PipelineError> {
    let mut streams = BTreeMap::new();
    for (file, text) in sources {
        for statement in parse(file, text)? {
            let table = stream(file, statement)?;
            streams.insert(table.name.clone(), table);
        }
    }
    let mut pipelines = Vec::with_capacity(tables.len());
    for (file, text) in tables {
        pipelines.push(pipeline(&streams, file, text).await?);
    }
    Ok(pipelines)
}

fn wrong(file: &str, reason: String) -> PipelineError {
    PipelineError::Definition { file: file.to_owned(), reason }
}

fn stream(file: &str, statement: Statement) -> Result<TableDefinition, PipelineError> {
    if let Statement::Table(table) = &statement {
        refuse_table(file, table)?;
    }
    match statement {
        Statement::Table(table) if table.name != file => {
            Err(wrong(file, format!("is not named after its table {}", table.name)))
        }
        Statement::Table(table) if matches!(table.connector, Connector::Stream(_)) => {
            check_watermark(file, &table)?;
            Ok(table)
        }
        Statement::Table(table) => Err(wrong(file, format!("{} is no source", table.name))),
        Statement::Insert { .. } => Err(wrong(file, "a source's file inserts nothing".into())),
        other => Err(unplanned(file, &other)),
    }
}

/// Refuses what is read of a table and does not run here, or not yet.
fn refuse_table(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    let generated = table.columns.iter().find(|column| column.origin != Origin::Declared);
    let generated = generated.map(|column| format!("GENERATED on column {}", column.name));
    match table.refusal().or(generated) {
        Some(construct) => Err(PipelineError::Unsupported { file: file.to_owned(), construct }),
        None => Ok(()),
    }
}

fn unplanned(file: &str, statement: &Statement) -> PipelineError {
    let construct = match statement {
        Statement::View { .. } => "CREATE VIEW",
        Statement::Query(_) => "SELECT as a statement",
        Statement::Set(_) => "SET as a statement",
        Statement::Table(_) | Statement::Insert { .. } => "this statement",
    };
    PipelineError::Unsupported { file: file.to_owned(), construct: construct.to_owned() }
}

/// Event time is a declared instant that is never NULL.
fn check_watermark(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    use arrow::datatypes::DataType;
    let Some(watermark) = &table.watermark else { return Ok(()) };
    let column = table.columns.iter().find(|column| column.name == watermark.column);
    match column {
        Some(column) if matches!(column.data_type, DataType::Timestamp(_, None)) => {
            let named = &column.name;
            let nullable = || wrong(file, format!("WATERMARK FOR {named}, which may be NULL"));
            if column.nullable { Err(nullable()) } else { Ok(()) }
        }
        Some(column) => Err(wrong(file, format!("WATERMARK FOR {}: no TIMESTAMP", column.name))),
        None => Err(wrong(file, format!("WATERMARK FOR {}: no column", watermark.column))),
    }
}

/// A file's one sink and the one query into it.
fn sink(file: &str, text: &str) -> Result<(TableDefinition, Box<Query>), PipelineError> {
    let (mut table, mut insert) = (None, None);
    for statement in parse(file, text)? {
        let taken = match statement {
            Statement::Table(definition) => {
                refuse_table(file, &definition)?;
                table.replace(definition).is_some()
            }
            Statement::Insert { into, query } => insert.replace((into, query)).is_some(),
            other => return Err(unplanned(file, &other)),
        };
        if taken {
            return Err(wrong(file, "has more than one sink or INSERT".into()));
        }
    }
    let (Some(table), Some((into, query))) = (table, insert) else {
        return Err(wrong(file, "needs a sink and an INSERT INTO it".into()));
    };
    let Connector::Delta(FileSink { path, .. }) = &table.connector else {
        return Err(wrong(file, format!("{} is no sink", table.name)));
    };
    if table.name != file || into != file || path != file {
        return Err(wrong(file, "file, sink, path and INSERT name different tables".into()));
    }
    Ok((table, query))
}

async fn pipeline(
    streams: &BTreeMap<String, TableDefinition>,
    file: &str,
    text: &str,
) -> Result<Pipeline, PipelineError> {
    let (sink, mut query) = sink(file, text)?;
    let found = query::read(file, &mut query, streams)?;
    let source = &streams[&found.source];
    let Connector::Stream(Stream { topic }) = source.connector else {
        return Err(wrong(file, format!("{} is no source", source.name)));
    };
    let failed =
        |source| PipelineError::Plan { pipeline: file.to_owned(), source: Box::new(source) };
    let full = Arc::new(source.schema());
    let (_, logical, _) = logical(&full, source, &query).await.map_err(failed)?;
    refuse(file, &logical, found.window.is_some())?;
    let columns = needed(&logical, &full, source, found.window.is_some()).map_err(failed)?;
    let input = Arc::new(full.project(&columns).map_err(|error| failed(error.into()))?);
    let (context, logical, slot) = logical_over(&input, source, &query).await.map_err(failed)?;
    let state = context.state();
    let plan = state.create_physical_plan(&logical).await.map_err(failed)?;
    let window = match found.window {
        Some(window) => Some(window_plan(&state, source, &input, &window).map_err(failed)?),
        None => None,
    };
    let pipeline = Pipeline {
        name: file.to_owned(),
        topic,
        input,
        output: plan.schema(),
        window,
        plan,
        slot,
        context: context.task_ctx(),
        turn: Mutex::new(()),
    };
    if !sink.columns.is_empty() {
        pipeline.check(&sink.schema())?;
    }
    Ok(pipeline)
}

use logical as logical_over;

/// The query as a plan over a table with the columns of `input`.
async fn logical(
    input: &SchemaRef,
    source: &TableDefinition,
    query: &Query,
) -> Result<(SessionContext, LogicalPlan, Arc<Slot>), DataFusionError> {
    let context = session();
    let slot = Arc::new(Slot::new(Arc::clone(input)));
    let table = StreamingTable::try_new(Arc::clone(input), vec![Arc::clone(&slot) as _])?;
    context.register_table(&source.name, Arc::new(table))?;
    let statement = Ast::Query(Box::new(query.clone()));
    let state = context.state();
    let plan = state.statement_to_plan(EngineStatement::Statement(Box::new(statement))).await?;
    let plan = state.optimize(&plan)?;
    Ok((context, plan, slot))
}

/// Refuses what a stream cannot do, or what would need state that is not kept.
fn refuse(file: &str, plan: &LogicalPlan, windowed: bool) -> Result<(), PipelineError> {
    let mut refused = None;
    let visited = plan.apply_with_subqueries(|node| {
        refused = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => None,
            LogicalPlan::Aggregate(_) if windowed => None,
            LogicalPlan::Aggregate(_) => Some("an aggregate without a window"),
            LogicalPlan::Join(_) => Some("JOIN"),
            LogicalPlan::Sort(_) => Some("ORDER BY"),
            LogicalPlan::Limit(_) => Some("LIMIT"),
            LogicalPlan::Window(_) => Some("a window function (OVER)"),
            LogicalPlan::Distinct(_) => Some("DISTINCT"),
            LogicalPlan::Subquery(_) => Some("a subquery in an expression"),
            LogicalPlan::RecursiveQuery(_) => Some("WITH RECURSIVE"),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                Some("a query without a source")
            }
            _ => Some("this form of query"),
        };
        Ok(match refused {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    match (visited, refused) {
        (Err(source), _) => {
            Err(PipelineError::Plan { pipeline: file.to_owned(), source: Box::new(source) })
        }
        (Ok(_), Some(construct)) => Err(PipelineError::Unsupported {
            file: file.to_owned(),
            construct: construct.to_owned(),
        }),
        (Ok(_), None) => Ok(()),
    }
}

/// The source's columns that the query and its watermark read, in order.
fn needed(
    plan: &LogicalPlan,
    full: &Schema,
    source: &TableDefinition,
    windowed: bool,
) -> Result<Vec<usize>, DataFusionError> {
    let mut columns = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            match &scan.projection {
                Some(projection) => columns.extend(projection.iter().copied()),
                None => columns.extend(0..full.fields().len()),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if windowed && let Some(watermark) = &source.watermark {
        columns.push(full.index_of(&watermark.column)?);
        let expression = watermark_expression(&session().state(), source, full)?;
        for column in expression.column_refs() {
            columns.push(full.index_of(&column.name)?);
        }
    }
    columns.sort_unstable();
    columns.dedup();
    Ok(columns)
}

fn watermark_expression(
    state: &SessionState,
    source: &TableDefinition,
    schema: &Schema,
) -> Result<Expr, DataFusionError> {
    let watermark = source.watermark.as_ref();
    let watermark = watermark.ok_or_else(|| {
        DataFusionError::Plan(format!("{} declares no WATERMARK FOR", source.name))
    })?;
    let Some(expression) = &watermark.expression else {
        return Ok(datafusion::prelude::ident(&watermark.column));
    };
    let schema = DFSchema::try_from(schema.clone())?;
    let expression = ExprWithAlias { expr: expression.clone(), alias: None };
    state.create_logical_expr_from_sql_expr(expression, &schema)
}

fn window_plan(
    state: &SessionState,
    source: &TableDefinition,
    input: &SchemaRef,
    window: &Window,
) -> Result<WindowPlan, DataFusionError> {
    let expression = watermark_expression(state, source, input)?;
    let schema = Arc::new(DFSchema::try_from(Arc::clone(input))?);
    // Some functions, COALESCE among them, can only be executed in their simplified form.
    let context = SimplifyContext::builder().with_schema(Arc::clone(&schema)).build();
    let simplifier = ExprSimplifier::new(context);
    let expression = simplifier.coerce(expression, &schema)?;
    let expression = simplifier.simplify(expression)?;
    Ok(WindowPlan {
        width: window.width,
        event_time: input.index_of(&window.event_time)?,
        watermark: state.create_physical_expr(expression, &schema)?,
    })
}
