//! The calls of Flight SQL.

use std::{pin::Pin, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::writer::IpcWriteOptions};
use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
    decode::FlightRecordBatchStream,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    flight_service_server::FlightService,
    sql::{
        ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
        ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
        CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
        CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
        CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
        CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate,
        DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
        metadata::{SqlInfoData, XdbcTypeInfoData},
        server::{FlightSqlService, PeekableFlightDataStream},
    },
};
use datafusion::{
    common::{ParamValues, ScalarValue},
    error::DataFusionError,
    logical_expr::LogicalPlan,
    sql::sqlparser::ast::Statement,
};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{about, actions, admission::Admission, keys, prepared::Kept};
use crate::{
    access::Reader,
    endpoint::{
        DATABASE, Endpoint, Gate, SCHEMA,
        running::{self, Question, Stopped},
        statement::Asked,
    },
    error::WarehouseError,
    session::{plain, restricted},
};

/// What is said of a call in the query log.
const DOOR: &str = "flight";
/// What readers' tables are to clients.
const TABLE_TYPE: &str = "VIEW";

/// Answers calls.
pub(super) struct Service {
    endpoint: Arc<Endpoint>,
    admission: Admission,
    prepared: Kept,
    about: SqlInfoData,
    types: XdbcTypeInfoData,
}

type Answer = Response<<Service as FlightService>::DoGetStream>;

impl Service {
    pub(super) fn new(endpoint: Arc<Endpoint>, gate: Arc<dyn Gate>) -> Self {
        let about = about::server(&endpoint.limits, &endpoint.base);
        let (admission, prepared) = (Admission::new(gate), Kept::default());
        Self { endpoint, admission, prepared, about, types: about::types() }
    }

    /// The one statement of a text, if it may be asked.
    fn statement(&self, reader: &Reader, text: &str) -> Result<Statement, Status> {
        let parsed = self.endpoint.parse(text);
        let mut parsed = parsed.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (Some(statement), true) = (parsed.pop(), parsed.is_empty()) else {
            return Err(Status::invalid_argument("one statement at a time"));
        };
        let sorted = self.endpoint.sorted(reader, DOOR, statement);
        match sorted.map_err(|refused| Status::permission_denied(refused.text))? {
            Asked::Query(statement) => Ok(*statement),
            _ => Err(Status::permission_denied("SQL here only reads")),
        }
    }

    async fn plan(&self, reader: &Reader, statement: Statement) -> Result<LogicalPlan, Status> {
        let context = self.endpoint.context(reader).map_err(|error| inside(&error))?;
        running::plan(&context, statement).await.map_err(|error| wrong(&error))
    }

    /// An answer, batch by batch; a call that is given up ends it.
    async fn answer(
        &self,
        reader: &Reader,
        statement: Statement,
        parameters: ParamValues,
    ) -> Result<Answer, Status> {
        let (never, cancel) = watch::channel(0);
        let bounds = self.endpoint.bounds(reader, None, cancel);
        let context = self.endpoint.context(reader).map_err(|error| inside(&error))?;
        let question = Question { reader, door: DOOR, statement: &statement, parameters, bounds };
        let answer = self.endpoint.answer(context, question).await;
        let (schema, batches) = answer.map_err(|stopped| status(&stopped))?;
        let batches = batches.map(move |batch| {
            // Held as long as the answer goes out: who hangs up drops both.
            let _ = &never;
            batch.map_err(|stopped| FlightError::Tonic(Box::new(status(&stopped))))
        });
        Ok(encoded(schema, batches))
    }

    fn told(&self, batch: RecordBatch) -> Answer {
        encoded(batch.schema(), futures::stream::once(async move { Ok(batch) }))
    }

    /// Where an answer of known columns is fetched.
    fn known(
        &self,
        ticket: &impl ProstMessageExt,
        request: Request<FlightDescriptor>,
        schema: &SchemaRef,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        flight_info(request, ticket, schema)
    }

    /// An answer without rows.
    fn nothing(&self, request: &Request<Ticket>, schema: SchemaRef) -> Result<Answer, Status> {
        self.admission.reader(request)?;
        Ok(self.told(RecordBatch::new_empty(schema)))
    }
}

fn encoded(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Answer {
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Response::new(Box::pin(encoded.map_err(Status::from)))
}

fn flight_info(
    request: Request<FlightDescriptor>,
    ticket: &impl ProstMessageExt,
    schema: &SchemaRef,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Status::internal(error.to_string()))?
        .with_descriptor(request.into_inner())
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket));
    Ok(Response::new(info))
}

fn status(stopped: &Stopped) -> Status {
    match stopped {
        Stopped::Failed(error) => wrong(error),
        Stopped::TimedOut(_) => Status::deadline_exceeded(stopped.to_string()),
        Stopped::Cancelled => Status::cancelled(stopped.to_string()),
        Stopped::TooMany(_) => Status::out_of_range(stopped.to_string()),
    }
}

fn wrong(error: &DataFusionError) -> Status {
    let text = error.strip_backtrace();
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Status::resource_exhausted(text),
        DataFusionError::NotImplemented(_) => Status::unimplemented(text),
        DataFusionError::External(_)
        | DataFusionError::Internal(_)
        | DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_) => {
            // It may name files of ours.
            tracing::warn!(error = %text, "a query failed inside");
            Status::internal("the query failed inside; the node's log says why")
        }
        _ => Status::invalid_argument(text),
    }
}

fn inside(error: &WarehouseError) -> Status {
    match error {
        WarehouseError::Query(error) => wrong(error),
        other => {
            tracing::warn!(error = %other, "a query failed inside");
            Status::internal("the query failed inside; the node's log says why")
        }
    }
}

fn ipc(schema: &SchemaRef) -> Result<prost::bytes::Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: IpcMessage = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(|error: arrow::error::ArrowError| Status::internal(error.to_string()))?;
    Ok(message.0)
}

/// The schema of a plan's parameters, `$1` first.
fn parameters_of(plan: &LogicalPlan) -> Result<SchemaRef, Status> {
    use arrow::datatypes::{DataType, Field, Schema};
    let known = plan.get_parameter_types().map_err(|error| wrong(&error))?;
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<usize>().unwrap_or(0));
    let fields = known.into_iter().map(|(name, known)| {
        // What nobody knows the type of is a text.
        Field::new(name, known.unwrap_or(DataType::Utf8), true)
    });
    Ok(plain::schema(&Schema::new(fields.collect::<Vec<_>>())))
}

fn read_only<T>() -> Result<T, Status> {
    Err(Status::permission_denied("SQL here only reads"))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        let token = self.admission.handshake(&request).await?;
        let header = format!("Bearer {token}").parse();
        let header = header.map_err(|_| Status::internal("a token is no header"))?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let answer = futures::stream::once(async move { Ok(answer) });
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> =
            Response::new(Box::pin(answer));
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let reader = self.admission.reader(&request)?;
        let plan = self.plan(&reader, self.statement(&reader, &query.query)?).await?;
        // The ticket is the query itself: whoever shows it is asked who they are again.
        let ticket = TicketStatementQuery { statement_handle: query.query.into() };
        flight_info(request, &ticket, &self.endpoint.schema_of(&plan))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        let reader = self.admission.reader(&request)?;
        let text = std::str::from_utf8(&ticket.statement_handle);
        let text = text.map_err(|_| Status::invalid_argument("this is none of our tickets"))?;
        let nothing = ParamValues::List(Vec::new());
        self.answer(&reader, self.statement(&reader, text)?, nothing).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let reader = self.admission.reader(&request)?;
        let statement = self.statement(&reader, &query.query)?;
        let plan = self.plan(&reader, statement.clone()).await?;
        let (dataset, parameters) = (self.endpoint.schema_of(&plan), parameters_of(&plan)?);
        let handle = self.prepared.keep(reader, statement)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: ipc(&dataset)?,
            parameter_schema: ipc(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let reader = self.admission.reader(&request)?;
        self.prepared.close(&reader, &query.prepared_statement_handle);
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let reader = self.admission.reader(&request)?;
        let prepared = self.prepared.get(&reader, &query.prepared_statement_handle)?;
        let plan = self.plan(&reader, prepared.statement).await?;
        flight_info(request, &query, &self.endpoint.schema_of(&plan))
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        let reader = self.admission.reader(&request)?;
        let prepared = self.prepared.get(&reader, &query.prepared_statement_handle)?;
        self.answer(&reader, prepared.statement, prepared.parameters).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let reader = self.admission.reader(&request)?;
        let data = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut rows = FlightRecordBatchStream::new_from_flight_data(data);
        let mut values = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| Status::invalid_argument(error.to_string()))?;
            for row in 0..batch.num_rows() {
                if !values.is_empty() {
                    return Err(Status::unimplemented("one row of parameters at a time"));
                }
                let columns = batch.columns().iter();
                let row = columns.map(|column| ScalarValue::try_from_array(column, row));
                let row = row.collect::<Result<Vec<_>, _>>();
                values = row.map_err(|error| wrong(&error))?;
            }
        }
        let values = values.into_iter().map(Into::into).collect();
        let handle = &query.prepared_statement_handle;
        self.prepared.bind(&reader, handle, ParamValues::List(values))?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.clone()) })
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.admission.reader(&request)?;
        read_only()
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.admission.reader(&request)?;
        read_only()
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        let schema = query.into_builder().schema();
        flight_info(request, &query, &schema)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.admission.reader(&request)?;
        let mut builder = query.into_builder();
        builder.append(DATABASE);
        Ok(self.told(builder.build().map_err(Status::from)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        let schema = query.clone().into_builder().schema();
        flight_info(request, &query, &schema)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.admission.reader(&request)?;
        let mut builder = query.into_builder();
        builder.append(DATABASE, SCHEMA);
        Ok(self.told(builder.build().map_err(Status::from)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        let schema = query.clone().into_builder().schema();
        flight_info(request, &query, &schema)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        let reader = self.admission.reader(&request)?;
        let mut builder = query.into_builder();
        for (name, table) in restricted::names(&reader.view) {
            let schema = reader.view.readable(table, &table.arrow());
            let appended = builder.append(DATABASE, SCHEMA, name, TABLE_TYPE, &schema);
            appended.map_err(Status::from)?;
        }
        Ok(self.told(builder.build().map_err(Status::from)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        let schema = query.into_builder().schema();
        flight_info(request, &query, &schema)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.admission.reader(&request)?;
        let mut builder = query.into_builder();
        builder.append(TABLE_TYPE);
        Ok(self.told(builder.build().map_err(Status::from)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admission.reader(&request)?;
        let schema = query.clone().into_builder(&self.about).schema();
        flight_info(request, &query, &schema)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.admission.reader(&request)?;
        let batch = query.into_builder(&self.about).build().map_err(Status::from)?;
        Ok(self.told(batch))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.known(&query, request, &keys::primary())
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.nothing(&request, keys::primary())
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.known(&query, request, &keys::foreign())
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.nothing(&request, keys::foreign())
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.known(&query, request, &keys::foreign())
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.nothing(&request, keys::foreign())
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.known(&query, request, &keys::foreign())
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.nothing(&request, keys::foreign())
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.known(&query, request, &self.types.schema())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Result<Answer, Status> {
        self.admission.reader(&request)?;
        let batch = query.into_builder(&self.types).build().map_err(Status::from)?;
        Ok(self.told(batch))
    }

    async fn do_action_cancel_query(
        &self,
        _: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        self.admission.reader(&request)?;
        // The older action's results have the same numbers as the newer one's.
        Ok(ActionCancelQueryResult { result: actions::CANCELLED.into() })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        self.admission.reader(&request)?;
        actions::answer(request.get_ref())
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        Some(vec![Ok(actions::listed())])
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
