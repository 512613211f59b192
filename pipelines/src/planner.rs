//! From a pipeline's file to its dataflow: the engine's planner reads the query, what needs state is
//! cut out of its plan ([`draft`]), and each part is planned for execution once.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    common::{Column, DataFusionError, Result as EngineResult, TableReference, plan_err},
    datasource::{ViewTable, empty::EmptyTable},
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Projection, TableScan, cast},
    prelude::{SessionContext, ident},
    sql::{parser::Statement as EngineStatement, resolve::resolve_table_references},
};
use sqlparser::ast::{Query as SqlQuery, Statement as Ast};

use crate::{
    dataflow::{Blueprint, time::RETRACT},
    decode,
    dialect::{
        Connector, Origin, Setting, Statement, TableDefinition, TableType,
        connector::{FileSink, Filesystem},
        parse,
    },
    error::PipelineError,
    functions::json,
    pipeline::{Input, Pipeline},
    session::session,
};

mod computed;
mod draft;
mod finish;
mod hidden;
mod json_columns;
mod memory;
mod over;
mod rules;
mod window;

use computed::{check_computed, of_scan};
use draft::{Draft, LookedUp, Read, Tables};
use hidden::is_hidden;

/// A file: its name without the ending, and its text.
pub type File<'a> = (&'a str, &'a str);

/// How long updating queries keep what nothing touches, where a file does not say: a day.
const TIME_TO_LIVE: i64 = 86_400_000_000_000;

/// What files declare: streams and views, by their names.
#[derive(Clone, Debug, Default)]
struct Catalogue {
    tables: BTreeMap<String, TableDefinition>,
    /// Views in the order of their files, with the columns that they are cast to, if they say.
    views: Vec<(String, Box<SqlQuery>, Option<Schema>)>,
    time_to_live: Option<i64>,
}

/// Plans the pipelines of `tables` over the streams of `sources`.
///
/// # Errors
/// The first file that is not SQL, says what does not run here, or does not plan.
pub fn plan<'a>(sources: &'a [File<'a>], tables: &'a [File<'a>]) -> Planning<'a> {
    Box::pin(plan_all(sources, tables))
}

/// Pipelines that are being planned. Boxed by plain functions, so that the engine's futures are
/// compiled here, once, and not again in every crate that plans.
pub type Planning<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Pipeline>, PipelineError>> + Send + 'a>>;

async fn plan_all(
    sources: &[File<'_>],
    tables: &[File<'_>],
) -> Result<Vec<Pipeline>, PipelineError> {
    let shared = Catalogue::of(sources)?;
    let mut pipelines = Vec::with_capacity(tables.len());
    for (file, text) in tables {
        let planned = self::file(file, text, &shared).await?;
        let [pipeline] = <[Pipeline; 1]>::try_from(planned)
            .map_err(|_| wrong(file, "needs one sink and INSERT INTO it".into()))?;
        let Connector::Delta(FileSink { path, .. }) = &pipeline.sink.connector else {
            return Err(wrong(file, format!("{} is no table", pipeline.sink.name)));
        };
        if pipeline.sink.name != **file || path != file {
            return Err(wrong(file, "file, sink, path and INSERT name different tables".into()));
        }
        pipelines.push(pipeline);
    }
    Ok(pipelines)
}

fn wrong(file: &str, reason: String) -> PipelineError {
    PipelineError::Definition { file: file.to_owned(), reason }
}

/// Plans one file, whatever it reads and fills, over the streams of `sources` and the tables that it
/// declares itself: its queries into each of its sinks, in the order of the sinks.
///
/// # Errors
/// As [`plan`].
pub fn standalone<'a>(sources: &'a [File<'a>], name: &'a str, text: &'a str) -> Planning<'a> {
    Box::pin(async move { file(name, text, &Catalogue::of(sources)?).await })
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
        _ => Err(wrong(file, "a source's file only declares its table".into())),
    }
}

/// Event time of a shared stream is a declared instant that is never NULL.
fn check_watermark(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    let column = table.event_time().map_err(|reason| wrong(file, reason))?;
    let Some(column) = column.filter(|column| column.nullable) else { return Ok(()) };
    Err(wrong(file, format!("WATERMARK FOR {}, which may be NULL", column.name)))
}

/// Refuses what is read of a table and does not run here.
fn refuse_table(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    match table.refusal().or_else(|| unheld_column(table)) {
        Some(construct) => Err(PipelineError::Unsupported { file: file.to_owned(), construct }),
        None => Ok(()),
    }
}

/// A column of a stream that no record has.
fn unheld_column(table: &TableDefinition) -> Option<String> {
    if !matches!(table.connector, Connector::Stream(_)) {
        return None;
    }
    let mut declared = table.columns.iter().filter(|column| column.origin == Origin::Declared);
    let unheld = declared.find(|column| !decode::takes(&column.data_type))?;
    let (table, column, kind) = (&table.name, &unheld.name, &unheld.data_type);
    Some(format!("the type {kind} of {table}.{column} (records have a text there: write TEXT)"))
}

/// Plans a file by itself: its queries into each of its sinks, in the order of the sinks.
async fn file(file: &str, text: &str, shared: &Catalogue) -> Result<Vec<Pipeline>, PipelineError> {
    let mut catalogue = shared.clone();
    let (mut sinks, mut inserts) = (Vec::new(), BTreeMap::<String, Vec<SqlQuery>>::new());
    let statements = parse(file, text)?;
    memory::check_order(file, &statements)?;
    for statement in statements {
        match statement {
            Statement::Table(table) => {
                refuse_table(file, &table)?;
                if table.table_type == TableType::Sink {
                    sinks.push(table.name.clone());
                } else {
                    check_computed(file, &table)?;
                }
                catalogue.tables.insert(table.name.clone(), table);
            }
            Statement::View { name, query } => catalogue.views.push((name, query, None)),
            Statement::Insert { into, query } => {
                catalogue.insert(file, into, query, &mut inserts)?
            }
            Statement::Set(Setting::UpdatingTtl(kept)) => {
                let nanoseconds = i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX);
                catalogue.time_to_live = Some(nanoseconds);
            }
            Statement::Query(_) => {
                let construct = "SELECT as a statement (INSERT INTO a sink)".to_owned();
                return Err(PipelineError::Unsupported { file: file.to_owned(), construct });
            }
        }
    }
    let mut pipelines = Vec::new();
    for sink in sinks {
        let Some(queries) = inserts.remove(&sink) else { continue };
        let sink = catalogue.tables[&sink].clone();
        pipelines.push(pipeline(file, &catalogue, sink, &queries).await?);
    }
    Ok(pipelines)
}

async fn pipeline(
    file: &str,
    catalogue: &Catalogue,
    sink: TableDefinition,
    queries: &[SqlQuery],
) -> Result<Pipeline, PipelineError> {
    let failed = |source| unplanned(file, source);
    let context = catalogue.context().await.map_err(failed)?;
    let mut plans = Vec::new();
    for query in queries {
        catalogue.check_names(file, query).map_err(failed)??;
        let plan = read(&context, query).await.map_err(failed)?;
        plans.push(into_sink(file, &sink, plan)?);
    }
    let plan = match plans.len() {
        1 => plans.remove(0),
        _ => {
            let parts = plans.into_iter().map(Arc::new).collect();
            let union = datafusion::logical_expr::Union::try_new_with_loose_types(parts);
            LogicalPlan::Union(union.map_err(failed)?)
        }
    };
    let json = json_columns::of(catalogue, &sink, &plan);
    let state = context.state();
    let plan = rules::prepare(&state, plan).map_err(failed)?;
    let (blueprint, output, updating) =
        flow(&state, catalogue, plan, queries.len()).await.map_err(failed)?;
    let output = json_columns::told(&output, &json);
    let inputs = blueprint.sources.iter().map(|source| Input {
        table: catalogue.tables[&source.table].clone(),
        columns: Arc::clone(&source.columns),
    });
    let query = fingerprint(catalogue, &blueprint, queries);
    let pipeline = Pipeline::new(file.to_owned(), sink, inputs.collect(), blueprint)
        .with_output(output, updating, query);
    let held = match pipeline.sink.columns.is_empty() {
        true => pipeline.output.as_ref().clone(),
        false => pipeline.sink.schema(),
    };
    pipeline.check(&held)?;
    if let Connector::Filesystem(Filesystem::Sink(sink)) = &pipeline.sink.connector
        && let Some(field) = sink.missing_field(&pipeline.output)
    {
        let reason = format!("partitioning.fields names {field}, which its table does not hold");
        return Err(wrong(file, reason));
    }
    Ok(pipeline)
}

/// What the engine said of a query, or of a function that it does not know how one is added.
fn unplanned(file: &str, error: DataFusionError) -> PipelineError {
    let source = match unknown_function(&error) {
        Some(reason) => DataFusionError::Plan(reason),
        None => error,
    };
    PipelineError::Plan { pipeline: file.to_owned(), source: Box::new(source) }
}

/// The engine only names a function that is spelt alike.
fn unknown_function(error: &DataFusionError) -> Option<String> {
    let text = error.strip_backtrace();
    let (_, named) = text.split_once("Invalid function '")?;
    let (name, _) = named.split_once('\'')?;
    Some(format!(
        "no such function '{name}' (functions in Rust are added by udf::add before planning; async \
         and Python ones do not run here)"
    ))
}

/// A number that changes when what is kept of a query would mean something else.
fn fingerprint(catalogue: &Catalogue, blueprint: &Blueprint, queries: &[SqlQuery]) -> u64 {
    let mut text = String::new();
    for query in queries {
        text.push_str(&query.to_string());
        text.push(';');
    }
    for source in &blueprint.sources {
        let table = &catalogue.tables[&source.table];
        let watermark = table.watermark.as_ref();
        let watermark =
            watermark.map(|mark| (&mark.column, mark.expression.as_ref().map(ToString::to_string)));
        text.push_str(&format!("{} {:?} {watermark:?};", source.table, source.columns.fields()));
    }
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// The query as the engine reads it, before anything is made of it.
async fn read(context: &SessionContext, query: &SqlQuery) -> EngineResult<LogicalPlan> {
    let statement = Ast::Query(Box::new(query.clone()));
    let state = context.state();
    let plan = state.statement_to_plan(EngineStatement::Statement(Box::new(statement))).await?;
    json::serialise(plan)
}

/// The tables and views that a query names.
fn names(query: &SqlQuery) -> EngineResult<Vec<String>> {
    let statement = EngineStatement::Statement(Box::new(Ast::Query(Box::new(query.clone()))));
    let (named, _) = resolve_table_references(&statement, true)?;
    Ok(named.iter().map(|name| name.table().to_owned()).collect())
}

/// A query's columns as its sink has them: by their places, cast.
fn into_sink(
    file: &str,
    sink: &TableDefinition,
    plan: LogicalPlan,
) -> Result<LogicalPlan, PipelineError> {
    if sink.columns.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if columns.len() != sink.columns.len() {
        let (made, held) = (columns.len(), sink.columns.len());
        let text = format!("makes {made} columns, but {} has {held}", sink.name);
        return Err(wrong(file, text));
    }
    let made = columns
        .into_iter()
        .zip(&sink.columns)
        .map(|(made, held)| cast(Expr::Column(made), held.data_type.clone()).alias(&held.name));
    let projection = Projection::try_new(made.collect(), Arc::new(plan));
    projection.map(LogicalPlan::Projection).map_err(|source| unplanned(file, source))
}

/// The dataflow of a query, or of several INSERTs brought together; the columns that it makes, and
/// whether it takes rows back.
async fn flow(
    state: &SessionState,
    catalogue: &Catalogue,
    plan: LogicalPlan,
    inserts: usize,
) -> EngineResult<(Blueprint, SchemaRef, bool)> {
    let time_to_live = catalogue.time_to_live.unwrap_or(TIME_TO_LIVE);
    let mut draft = Draft { timed: rules::needs_time(&plan)?, time_to_live, ..Draft::default() };
    let mut built = match plan {
        LogicalPlan::Union(node) if inserts > 1 => draft.inserts(&(catalogue, state), node)?,
        plan => draft.build(&(catalogue, state), plan)?,
    };
    let updating = built.updating;
    let columns = built.plan.schema().columns().into_iter();
    let kept = columns.filter(|column| !is_hidden(column.name()) || column.name() == RETRACT);
    let kept: Vec<Column> = kept.collect();
    let made = kept.iter().map(|column| Expr::Column(column.clone()).alias(column.name()));
    let projection = Projection::try_new(made.collect(), Arc::new(built.plan))?;
    let schema = projection.schema.as_arrow().clone();
    built.plan = LogicalPlan::Projection(projection);
    draft.finish(built);
    let blueprint = finish::finish(state, catalogue, draft).await?;
    let visible = schema.fields().iter().filter(|field| field.name() != RETRACT).cloned();
    let output = Arc::new(Schema::new(visible.collect::<Vec<_>>()));
    Ok((blueprint, output, updating))
}

impl Catalogue {
    /// The streams that files declare.
    fn of(sources: &[File<'_>]) -> Result<Self, PipelineError> {
        let mut catalogue = Self::default();
        for (file, text) in sources {
            for statement in parse(file, text)? {
                let table = stream(file, statement)?;
                catalogue.tables.insert(table.name.clone(), table);
            }
        }
        Ok(catalogue)
    }

    /// Takes an INSERT: into a sink, or into a memory table, which is a view from then on.
    fn insert(
        &mut self,
        file: &str,
        into: String,
        query: Box<SqlQuery>,
        inserts: &mut BTreeMap<String, Vec<SqlQuery>>,
    ) -> Result<(), PipelineError> {
        if self.views.iter().any(|(name, ..)| *name == into) {
            let reason = format!("memory table {into} can only be inserted into once");
            return Err(wrong(file, reason));
        }
        let Some(table) = self.tables.get(&into) else {
            return Err(wrong(file, format!("INSERT INTO {into}, which is not declared")));
        };
        match table.table_type {
            TableType::Sink => inserts.entry(into).or_default().push(*query),
            TableType::Memory => {
                let columns = table.schema();
                self.tables.remove(&into);
                self.views.push((into, query, Some(columns)));
            }
            TableType::Source | TableType::Lookup => {
                let reason = format!("can't insert into {into}: it is a source");
                return Err(wrong(file, reason));
            }
        }
        Ok(())
    }

    /// A session that knows the tables and views.
    async fn context(&self) -> EngineResult<SessionContext> {
        let context = session();
        window::register(&context);
        for (name, table) in &self.tables {
            let table = EmptyTable::new(Arc::new(table.schema()));
            context.register_table(TableReference::bare(name.as_str()), Arc::new(table))?;
        }
        for (name, query, columns) in &self.views {
            let mut plan = read(&context, query).await?;
            if let Some(columns) = columns {
                let (made, held) = (plan.schema().fields().len(), columns.fields().len());
                if made != held {
                    return plan_err!("INSERT INTO {name} makes {made} columns, but it has {held}");
                }
                let made = plan.schema().columns().into_iter().zip(columns.fields());
                let made = made.map(|(made, field)| {
                    cast(Expr::Column(made), field.data_type().clone()).alias(field.name())
                });
                let made = Projection::try_new(made.collect(), Arc::new(plan))?;
                plan = LogicalPlan::Projection(made);
            }
            let view = ViewTable::new(plan, None);
            context.deregister_table(TableReference::bare(name.as_str()))?;
            context.register_table(TableReference::bare(name.as_str()), Arc::new(view))?;
        }
        Ok(context)
    }

    /// Names a table that a query reads and nothing declares.
    fn check_names(&self, file: &str, query: &SqlQuery) -> EngineResult<Result<(), PipelineError>> {
        for name in names(query)? {
            let is_view = self.views.iter().any(|(view, ..)| *view == name);
            if !is_view && !self.tables.contains_key(&name) {
                return Ok(Err(wrong(file, format!("there is no source {name}"))));
            }
        }
        Ok(Ok(()))
    }

    fn table(&self, name: &str) -> EngineResult<&TableDefinition> {
        self.tables.get(name).map_or_else(|| plan_err!("there is no source {name}"), Ok)
    }
}

impl Tables for (&Catalogue, &SessionState) {
    fn read(&self, scan: &TableScan) -> EngineResult<Read> {
        let (catalogue, state) = self;
        let table = catalogue.table(scan.table_name.table())?;
        match table.table_type {
            TableType::Source | TableType::Lookup => {}
            TableType::Sink => return plan_err!("can't select from {}: it is a sink", table.name),
            TableType::Memory => {
                return plan_err!(
                    "can't select from the memory table {}: nothing is inserted into it",
                    table.name
                );
            }
        }
        let wanted = match &scan.projection {
            Some(places) => places.clone(),
            None => (0..table.columns.len()).collect(),
        };
        let held = table.record_schema();
        let (mut columns, mut project, mut generated) = (Vec::new(), Vec::new(), false);
        for place in wanted {
            let column = &table.columns[place];
            let made = table.made(state, ident(&column.name))?;
            let made = of_scan(made, &scan.table_name)?;
            for read in made.column_refs() {
                let read = held.index_of(&read.name)?;
                if !columns.contains(&read) {
                    columns.push(read);
                }
            }
            generated |= column.is_generated();
            let made = cast(made, column.data_type.clone());
            project.push(made.alias_qualified(Some(scan.table_name.clone()), &column.name));
        }
        let schema = Arc::new(held.project(&columns)?);
        let project = generated.then_some(project);
        let lookup = (table.table_type == TableType::Lookup).then(|| LookedUp {
            key: table.primary_key.clone(),
            outside: matches!(table.connector, Connector::Redis(_)),
        });
        Ok(Read { columns, schema, project, updating: table.is_updating(), lookup })
    }
}
