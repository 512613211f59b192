//! SQL over the tables: every table and its newest state under one name each, read only.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::{
    common::ParamValues,
    datasource::{MemTable, TableProvider, empty::EmptyTable},
    execution::{SessionStateBuilder, context::SQLOptions, runtime_env::RuntimeEnvBuilder},
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, ExprFunctionExt},
    physical_plan::SendableRecordBatchStream,
    prelude::{DataFrame, SessionConfig, SessionContext, col, lit},
    scalar::ScalarValue,
};
use deltalake::DeltaTableError;
use url::Url;

use crate::{
    error::WarehouseError,
    export::{Format, write},
    schema::{self, TABLES},
    table::{
        Pending, Positions,
        delta::{address, load, position},
    },
};

/// What all queries of a session may keep in memory together.
const MEMORY_BYTES: usize = 256 << 20;

/// The state whose newest rows are more than the newest row of a key.
const ENTITLEMENTS: &str = include_str!("../sql/views/entitlements_current.sql");

/// The warehouse at an address, as its newest commits have it when it is opened.
///
/// What has not landed yet is not seen. Whoever serves it from memory registers, in
/// [`Session::register`], the union of a table and its tail in the table's place.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    providers: BTreeMap<String, Arc<dyn TableProvider>>,
    tables: BTreeMap<&'static str, deltalake::DeltaTable>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("tables", &self.tables.keys()).finish_non_exhaustive()
    }
}

/// The address of a folder.
///
/// # Errors
/// Where the folder has no absolute path.
pub fn folder(path: &Path) -> Result<Url, WarehouseError> {
    let absolute = std::path::absolute(path);
    let wrong = || WarehouseError::Address(path.display().to_string());
    Url::from_directory_path(absolute.map_err(|_| wrong())?).map_err(|()| wrong())
}

impl Session {
    /// Opens every table; one that nobody has made yet is empty.
    ///
    /// # Errors
    /// Where a table that is there cannot be read.
    pub fn open(root: &Url) -> Pending<'_, Self> {
        Box::pin(async move {
            let runtime =
                RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc()?;
            let config = SessionConfig::new()
                .with_information_schema(true)
                .set_str("datafusion.execution.time_zone", "UTC")
                // Text is one type, whether a table is there yet or not.
                .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
                .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
            let state = SessionStateBuilder::new()
                .with_config(config)
                .with_runtime_env(runtime)
                .with_default_features()
                .build();
            let context = SessionContext::new_with_state(state);
            let mut session = Self { context, providers: BTreeMap::new(), tables: BTreeMap::new() };
            for table in TABLES {
                let found = match load(&address(root, table.name)?).await {
                    Ok(found) => Some(found),
                    Err(DeltaTableError::NotATable(_)) => None,
                    Err(source) => return Err(WarehouseError::Open { table: table.name, source }),
                };
                session.register_table(table, found).await?;
            }
            let entitlements = session.context.sql(ENTITLEMENTS).await?.into_view();
            session.register("entitlements_current", entitlements)?;
            Ok(session)
        })
    }

    async fn register_table(
        &mut self,
        table: &'static schema::Table,
        found: Option<deltalake::DeltaTable>,
    ) -> Result<(), WarehouseError> {
        let state = Arc::new(self.context.state());
        let provider: Arc<dyn TableProvider> = match &found {
            Some(found) => Arc::new(found.table_provider().with_session(state).build().await?),
            None => Arc::new(EmptyTable::new(table.arrow())),
        };
        self.register(table.name, provider)?;
        self.tables.extend(found.map(|found| (table.name, found)));
        if !table.key.is_empty() && table.name != "entitlements" {
            let newest = self.newest(table).await?.into_view();
            self.register(&format!("{}_current", table.name), newest)?;
        }
        Ok(())
    }

    /// Puts a table under a name, in place of what was there.
    fn register(
        &mut self,
        name: &str,
        provider: Arc<dyn TableProvider>,
    ) -> Result<(), WarehouseError> {
        self.context.deregister_table(name)?;
        self.context.register_table(name, Arc::clone(&provider))?;
        self.providers.insert(name.to_owned(), provider);
        Ok(())
    }

    /// The newest row of each key, without what was removed.
    async fn newest(&self, table: &schema::Table) -> Result<DataFrame, WarehouseError> {
        let key: Vec<Expr> = table.key.iter().map(|name| col(*name)).collect();
        let order = vec![col("source_offset").sort(false, false)];
        let rank = row_number().partition_by(key).order_by(order).build()?.alias("newest");
        let columns: Vec<Expr> = table.columns.iter().map(|column| col(column.name)).collect();
        let rows = self.context.table(table.name).await?.window(vec![rank])?;
        let mut rows = rows.filter(col("newest").eq(lit(1)))?;
        if table.columns.iter().any(|column| column.name == "removed") {
            rows = rows.filter(col("removed").eq(lit(false)))?;
        }
        Ok(rows.select(columns)?)
    }

    /// Answers one statement that reads; anything else is refused.
    ///
    /// # Errors
    /// Where the statement is wrong, does not only read, or fails.
    pub async fn query(
        &self,
        sql: &str,
        parameters: impl Into<ParamValues>,
    ) -> Result<Rows, WarehouseError> {
        self.ask(sql, parameters.into()).await
    }

    fn ask<'a>(&'a self, sql: &'a str, parameters: ParamValues) -> Pending<'a, Rows> {
        Box::pin(async move {
            let frame = self.plan(sql, parameters).await?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let batches = frame.collect().await?;
            Ok(Rows { schema, batches })
        })
    }

    /// Answers one statement without parameters; anything that does not only read is refused.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn rows(&self, sql: &str) -> Result<Rows, WarehouseError> {
        self.query(sql, ParamValues::List(Vec::new())).await
    }

    /// Answers one statement that reads, batch by batch as they come.
    ///
    /// # Errors
    /// Where the statement is wrong or does not only read; what fails later is in the stream.
    pub async fn stream(
        &self,
        sql: &str,
        parameters: impl Into<ParamValues>,
    ) -> Result<SendableRecordBatchStream, WarehouseError> {
        self.ask_for_stream(sql, parameters.into()).await
    }

    fn ask_for_stream<'a>(
        &'a self,
        sql: &'a str,
        parameters: ParamValues,
    ) -> Pending<'a, SendableRecordBatchStream> {
        Box::pin(async move { Ok(self.plan(sql, parameters).await?.execute_stream().await?) })
    }

    async fn plan(&self, sql: &str, parameters: ParamValues) -> Result<DataFrame, WarehouseError> {
        let reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let frame = self.context.sql_with_options(sql, reading).await?;
        let given = match &parameters {
            ParamValues::List(list) => !list.is_empty(),
            ParamValues::Map(map) => !map.is_empty(),
        };
        Ok(if given { frame.with_param_values(parameters)? } else { frame })
    }

    /// A session that also sees some rows under a name; this one does not.
    ///
    /// # Errors
    /// Where the rows do not fit together.
    pub fn with_rows(&self, name: &str, rows: Rows) -> Result<Self, WarehouseError> {
        let state = SessionStateBuilder::new()
            .with_config(self.context.copied_config())
            .with_runtime_env(self.context.runtime_env())
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        for (name, provider) in &self.providers {
            context.register_table(name, Arc::clone(provider))?;
        }
        let mut session =
            Self { context, providers: self.providers.clone(), tables: self.tables.clone() };
        let table = MemTable::try_new(rows.schema, vec![rows.batches])?;
        session.register(name, Arc::new(table))?;
        Ok(session)
    }

    /// The positions that a table's newest commit has of a pipeline: per partition of its stream,
    /// the next offset.
    ///
    /// # Errors
    /// Where the table's log cannot be read.
    pub async fn positions(
        &self,
        table: &'static str,
        pipeline: &str,
        partitions: usize,
    ) -> Result<Positions, WarehouseError> {
        let mut positions = Positions::new();
        let Some(found) = self.tables.get(table) else { return Ok(positions) };
        for partition in 0..partitions {
            let application = format!("{pipeline}/{partition}");
            let next = position(found, &application).await;
            let next = next.map_err(|source| WarehouseError::Open { table, source })?;
            positions.extend(next.map(|next| (application, next)));
        }
        Ok(positions)
    }
}

/// The rows of an answer.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows in a format.
    ///
    /// # Errors
    /// Where a column has no such form.
    pub fn bytes(&self, format: Format) -> Result<Vec<u8>, WarehouseError> {
        let mut bytes = Vec::new();
        write(self, format, &mut bytes)?;
        Ok(bytes)
    }
}

/// A local day as a parameter.
#[must_use]
pub fn day(day: NaiveDate) -> ScalarValue {
    let epoch = NaiveDate::default();
    ScalarValue::Date32(i32::try_from((day - epoch).num_days()).ok())
}

/// An instant as a parameter.
#[must_use]
pub fn instant(instant: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(instant.timestamp_micros()), Some("UTC".into()))
}
