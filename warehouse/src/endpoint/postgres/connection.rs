//! One connection: its reader, its settings, its transaction, its cursors, and its answers.

use std::{
    collections::HashMap,
    fmt::Debug,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, df, encode_recordbatch};
use datafusion::{
    common::ParamValues, logical_expr::LogicalPlan, prelude::SessionContext,
    sql::sqlparser::ast::Statement,
};
use futures::{Sink, SinkExt, StreamExt};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type,
        portal::{Format, Portal, PortalExecutionState},
        query::{
            ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_query_response,
        },
        results::{
            DataRowEncoder, DescribePortalResponse, FieldInfo, QueryResponse, Response, Tag,
        },
        stmt::QueryParser,
        store::{Entry, PortalStore},
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        extendedquery::{Describe, Execute, TARGET_TYPE_BYTE_PORTAL},
        response::TransactionStatus,
        simplequery::Query,
        startup::ParameterStatus,
    },
    types::format::FormatOptions,
};
use tokio::sync::watch;

use super::{
    Cancels, copy,
    failure::{self, failure as fault},
    parameters::{self, Parameter},
    settings::{self, Settings},
};
use crate::{
    access::Reader,
    endpoint::{
        Endpoint,
        running::{self, Batches, Question},
        statement::Asked,
    },
};

/// What is said of a connection in the query log.
const DOOR: &str = "postgres";

/// One client's side of the door.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reader: Option<Reader>,
    number: i32,
    cancel: Option<watch::Sender<u64>>,
    settings: Settings,
    /// The tables as the transaction sees them.
    transaction: Option<SessionContext>,
    cursors: HashMap<String, QueryResponse>,
}

/// A prepared statement: planned anew whenever it is executed, so that it sees the tables as they are
/// then.
#[derive(Clone)]
pub(super) struct Prepared {
    asked: Arc<Asked>,
    parameters: Arc<[Parameter]>,
    schema: Option<SchemaRef>,
}

impl Connection {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, state: Mutex::default() }
    }

    /// Whoever it is was let in.
    pub(super) fn admitted(
        &self,
        reader: Reader,
        number: i32,
        cancel: watch::Sender<u64>,
        wanted: &HashMap<String, String>,
    ) {
        let mut state = self.state();
        for (name, value) in wanted {
            state.settings.set(&name.to_lowercase(), value);
        }
        state.reader = Some(reader);
        state.number = number;
        state.cancel = Some(cancel);
    }

    /// The connection is closed.
    pub(super) fn gone(&self, cancels: &Cancels) {
        cancels.remove(self.state().number);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> PgWireResult<Reader> {
        let reader = self.state().reader.clone();
        reader.ok_or_else(|| fault("28000", "nobody was let in"))
    }

    /// The tables: as the transaction sees them, or as they are now.
    fn context(&self) -> PgWireResult<SessionContext> {
        if let Some(context) = &self.state().transaction {
            return Ok(context.clone());
        }
        self.fresh()
    }

    fn fresh(&self) -> PgWireResult<SessionContext> {
        let context = self.endpoint.context(&self.reader()?);
        context.map_err(|error| failure::warehouse(&error))
    }

    fn parse(&self, sql: &str) -> PgWireResult<Vec<Statement>> {
        let parsed = self.endpoint.parse(sql);
        parsed.map_err(|error| fault("42601", error.to_string()))
    }

    fn sorted(&self, statement: Statement) -> PgWireResult<Asked> {
        let sorted = self.endpoint.sorted(&self.reader()?, DOOR, statement);
        sorted.map_err(failure::refused)
    }

    fn format_options(&self) -> Arc<FormatOptions> {
        let state = self.state();
        let get = |name: &str| state.settings.get(name).unwrap_or("").to_owned();
        let mut options = FormatOptions::default();
        options.date_style = get("datestyle");
        options.interval_style = get("intervalstyle");
        options.bytea_output = get("bytea_output");
        options.time_zone = get("timezone");
        options.extra_float_digits = get("extra_float_digits").parse().unwrap_or(1);
        Arc::new(options)
    }

    /// The batches of a query's answer, with their schema.
    async fn batches(
        &self,
        statement: &Statement,
        parameters: ParamValues,
    ) -> PgWireResult<(SchemaRef, Batches)> {
        let reader = self.reader()?;
        let (timeout, cancel) = {
            let state = self.state();
            (state.settings.timeout(), state.cancel.as_ref().map(watch::Sender::subscribe))
        };
        let cancel = cancel.unwrap_or_else(|| watch::channel(0).1);
        let bounds = self.endpoint.bounds(&reader, timeout, cancel);
        let question = Question { reader: &reader, door: DOOR, statement, parameters, bounds };
        let answer = self.endpoint.answer(self.context()?, question).await;
        answer.map_err(|stopped| failure::stopped(&stopped))
    }

    /// A query's answer as rows in the formats that the client wants.
    async fn query(
        &self,
        statement: &Statement,
        format: &Format,
        parameters: ParamValues,
    ) -> PgWireResult<QueryResponse> {
        let (schema, batches) = self.batches(statement, parameters).await?;
        let options = Some(self.format_options());
        let fields = Arc::new(arrow_schema_to_pg_fields(&schema, format, options)?);
        let told = Arc::clone(&fields);
        let rows = batches.flat_map(move |batch| {
            let rows: Box<dyn Iterator<Item = _> + Send> = match batch {
                Ok(batch) => Box::new(encode_recordbatch(Arc::clone(&told), batch)),
                Err(stopped) => Box::new(std::iter::once(Err(failure::stopped(&stopped)))),
            };
            futures::stream::iter(rows)
        });
        Ok(QueryResponse::new(fields, rows))
    }

    /// Answers one statement; what only changes the connection is told by its tag.
    async fn answer<C>(
        &self,
        client: &mut C,
        asked: &Asked,
        format: &Format,
        parameters: ParamValues,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let failed = client.transaction_status() == TransactionStatus::Error;
        if failed && !matches!(asked, Asked::Commit | Asked::Rollback) {
            let text = "current transaction is aborted, commands ignored until its end";
            return Err(fault("25P02", text));
        }
        match asked {
            Asked::Query(statement) => {
                Ok(Response::Query(self.query(statement, format, parameters).await?))
            }
            Asked::Copy(statement, form) => {
                let (schema, batches) = self.batches(statement, parameters).await?;
                Ok(Response::CopyOut(copy::response(&schema, batches, form)?))
            }
            Asked::Set(name, value) => {
                self.state().settings.set(name, value);
                self.tell(client, name).await?;
                Ok(done("SET"))
            }
            Asked::Ignored(tag) => Ok(done(tag)),
            Asked::Show(name) => self.show(name, format),
            Asked::Begin => {
                let context = self.fresh()?;
                self.state().transaction.get_or_insert(context);
                Ok(Response::TransactionStart(Tag::new("BEGIN")))
            }
            Asked::Commit | Asked::Rollback => {
                let mut state = self.state();
                state.transaction = None;
                state.cursors.clear();
                let committed = matches!(asked, Asked::Commit) && !failed;
                let tag = if committed { "COMMIT" } else { "ROLLBACK" };
                Ok(Response::TransactionEnd(Tag::new(tag)))
            }
            // Whatever the statements since it did, there is nothing to undo: they only read.
            Asked::RollbackTo => match self.state().transaction.is_some() {
                true => Ok(done("ROLLBACK")),
                false => {
                    let text = "ROLLBACK TO SAVEPOINT can only be used in transaction blocks";
                    Err(fault("25P01", text))
                }
            },
            Asked::Declare(name, statement) => {
                let rows = self.query(statement, &Format::UnifiedText, parameters).await?;
                self.state().cursors.insert(name.clone(), rows);
                Ok(done("DECLARE CURSOR"))
            }
            Asked::Fetch(name, count) => self.fetch(name, *count).await,
            Asked::Close(name) => {
                let mut state = self.state();
                match name {
                    Some(name) => drop(state.cursors.remove(name)),
                    None => state.cursors.clear(),
                }
                Ok(done("CLOSE CURSOR"))
            }
            Asked::DiscardAll => {
                let mut state = self.state();
                state.settings.reset();
                state.cursors.clear();
                client.portal_store().clear_portals();
                Ok(done("DISCARD ALL"))
            }
            Asked::Deallocate(name) => {
                if let Some(name) = name {
                    client.portal_store().rm_statement(name);
                }
                Ok(done("DEALLOCATE"))
            }
        }
    }

    /// Tells a client of a setting that PostgreSQL tells clients of.
    async fn tell<C>(&self, client: &mut C, name: &str) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let value = self.state().settings.get(name).map(str::to_owned);
        if let (Some(told), Some(value)) = (settings::told(name), value) {
            let status = ParameterStatus::new(told.to_owned(), value);
            client.send(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(())
    }

    fn show(&self, name: &str, format: &Format) -> PgWireResult<Response> {
        let value = self.state().settings.get(name).map(str::to_owned);
        let unknown = || fault("42704", format!("unrecognized configuration parameter \"{name}\""));
        let value = value.ok_or_else(unknown)?;
        let fields = Arc::new(arrow_schema_to_pg_fields(&shown(name), format, None)?);
        let mut row = DataRowEncoder::new(Arc::clone(&fields));
        row.encode_field(&Some(value))?;
        let row = row.take_row();
        let rows = futures::stream::once(async move { Ok(row) });
        Ok(Response::Query(QueryResponse::new(fields, rows)))
    }

    async fn fetch(&self, name: &str, count: Option<usize>) -> PgWireResult<Response> {
        let cursor = self.state().cursors.remove(name);
        let unknown = || fault("34000", format!("cursor \"{name}\" does not exist"));
        let mut cursor = cursor.ok_or_else(unknown)?;
        let Some(count) = count else {
            let fields = cursor.row_schema();
            let empty = QueryResponse::new(Arc::clone(&fields), futures::stream::empty());
            self.state().cursors.insert(name.to_owned(), empty);
            return Ok(Response::Query(cursor));
        };
        let fields = cursor.row_schema();
        let mut rows = Vec::new();
        while rows.len() < count {
            match cursor.data_rows().next().await {
                Some(row) => rows.push(Ok(row?)),
                None => break,
            }
        }
        self.state().cursors.insert(name.to_owned(), cursor);
        let mut response = QueryResponse::new(fields, futures::stream::iter(rows));
        response.set_command_tag("FETCH");
        Ok(Response::Query(response))
    }

    /// Prepares a statement: what it answers with, and of which types its parameters are.
    async fn prepare(
        &self,
        statement: Statement,
        named: &[Option<Type>],
    ) -> PgWireResult<Prepared> {
        let asked = self.sorted(statement)?;
        let (asked, plan) = match asked {
            Asked::Query(statement) => {
                let (statement, plan) = self.typed(*statement, named).await?;
                (Asked::Query(Box::new(statement)), Some(plan))
            }
            Asked::Copy(statement, form) => {
                let (statement, _) = self.typed(*statement, named).await?;
                (Asked::Copy(Box::new(statement), form), None)
            }
            other => (other, None),
        };
        let (parameters, schema) = match (&plan, &asked) {
            (Some(plan), _) => {
                let parameters = parameters::parameters(plan, named);
                let parameters = parameters.map_err(|error| failure::failed(&error))?;
                (parameters, Some(self.endpoint.schema_of(plan)))
            }
            (None, Asked::Show(name)) => (Vec::new(), Some(shown(name))),
            _ => (Vec::new(), None),
        };
        Ok(Prepared { asked: Arc::new(asked), parameters: parameters.into(), schema })
    }

    /// A query with its parameters cast to the types that the client names, and its plan.
    async fn typed(
        &self,
        statement: Statement,
        named: &[Option<Type>],
    ) -> PgWireResult<(Statement, LogicalPlan)> {
        let context = self.context()?;
        let typed = parameters::typed(statement.clone(), named, None);
        let planned = running::plan(&context, typed.clone()).await;
        let error = match planned {
            Ok(plan) => return Ok((typed, plan)),
            Err(error) => error,
        };
        // `$1 + $2`: with nothing to infer from, numbers are meant.
        let numbers = parameters::typed(statement, named, Some(&Type::NUMERIC));
        match running::plan(&context, numbers.clone()).await {
            Ok(plan) if numbers != typed => Ok((numbers, plan)),
            _ => Err(failure::failed(&error)),
        }
    }
}

fn done(tag: &str) -> Response {
    Response::Execution(Tag::new(tag))
}

/// A transaction that has failed goes on: what answers hears so before it is asked, since it takes a
/// failed one for failed until its end.
fn resume<C: ClientInfo>(client: &mut C) {
    if client.transaction_status() == TransactionStatus::Error {
        client.set_transaction_status(TransactionStatus::Transaction);
    }
}

/// What `SHOW` answers with.
fn shown(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)]))
}

#[async_trait::async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if client.transaction_status() == TransactionStatus::Error {
            // What is no SQL is told of when it is answered.
            let statements = self.endpoint.parse(&query.query).unwrap_or_default();
            if let Some(Statement::Rollback { savepoint: Some(_), .. }) = statements.first() {
                resume(client);
            }
        }
        self._on_query(client, query).await
    }

    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut answers = Vec::new();
        for statement in self.parse(query)? {
            let asked = self.sorted(statement)?;
            let nothing = ParamValues::List(Vec::new());
            answers.push(self.answer(client, &asked, &Format::UnifiedText, nothing).await?);
        }
        if answers.is_empty() {
            answers.push(Response::EmptyQuery);
        }
        Ok(answers)
    }
}

/// Prepares statements for a connection.
pub(super) struct Parser(Arc<Connection>);

#[async_trait::async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = self.0.parse(sql)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(fault("42601", text));
        }
        // A type of number 0 or of none that is known is for us to find.
        let known = types.iter().map(|wire| wire.clone().filter(|wire| *wire != Type::UNKNOWN));
        let known: Vec<_> = known.collect();
        Box::pin(self.0.prepare(statement, &known)).await.map(Some)
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameters.iter().map(|parameter| parameter.wire.clone()).collect())
    }

    fn get_result_schema(
        &self,
        statement: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let schema = match (&statement.schema, statement.asked.as_ref()) {
            (Some(schema), _) => schema,
            (None, Asked::Fetch(name, _)) => {
                let state = self.0.state();
                let cursor = state.cursors.get(name);
                let fields = cursor.map(|cursor| cursor.row_schema().to_vec());
                return Ok(fields.unwrap_or_default());
            }
            _ => return Ok(Vec::new()),
        };
        arrow_schema_to_pg_fields(schema, format.unwrap_or(&Format::UnifiedText), None)
    }
}

#[async_trait::async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser(Arc::clone(&self.0)))
    }

    /// Drivers ask what a cursor of SQL has as they ask it of a portal, by its name.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name =
            message.name.as_deref().filter(|_| message.target_type == TARGET_TYPE_BYTE_PORTAL);
        let fields = name.and_then(|name| Some(self.0.state().cursors.get(name)?.row_schema()));
        let Some(fields) = fields else { return self._on_describe(client, message).await };
        send_describe_response(client, &DescribePortalResponse::new(fields.to_vec())).await
    }

    /// All rows of an answer go out as they come; only those that are asked for by portions are held.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = client.portal_store().get_portal(name);
        if let Some(Entry::Value(portal)) = &portal
            && matches!(portal.statement.statement.asked.as_ref(), Asked::RollbackTo)
        {
            resume(client);
        }
        let portal = match portal {
            Some(Entry::Value(portal)) if message.max_rows == 0 => portal,
            _ => return self._on_execute(client, message).await,
        };
        let is_query = matches!(
            portal.statement.statement.asked.as_ref(),
            Asked::Query(_) | Asked::Show(_) | Asked::Fetch(..)
        );
        let begun = !matches!(portal.state().lock().await.deref(), PortalExecutionState::Initial);
        let ready = matches!(client.state(), PgWireConnectionState::ReadyForQuery);
        if !is_query || begun || !ready {
            return self._on_execute(client, message).await;
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let response = self.do_query(client, portal.as_ref(), 0).await?;
        *portal.state().lock().await = PortalExecutionState::Finished;
        if let Response::Query(rows) = response {
            send_query_response(client, rows, false).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        let engine: Vec<_> =
            prepared.parameters.iter().map(|parameter| parameter.engine.as_ref()).collect();
        let wire: Vec<_> =
            prepared.parameters.iter().map(|parameter| Some(&parameter.wire)).collect();
        let values = df::deserialize_parameters_with_server_types(portal, &engine, &wire)?;
        self.0.answer(client, &prepared.asked, &portal.result_column_format, values).await
    }
}

/// A connection as the extended protocol sees it.
pub(super) struct Extended(pub(super) Arc<Connection>);
