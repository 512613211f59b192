//! SQL over the tables: every table and its newest state under one name each, read only.

use std::{collections::BTreeMap, path::Path, pin::Pin, sync::Arc};

use arrow::array::RecordBatch;
use chrono::{DateTime, Days, NaiveDate, Utc};
use datafusion::{
    common::ParamValues,
    datasource::MemTable,
    error::DataFusionError,
    execution::{
        SessionState, SessionStateBuilder, context::SQLOptions, runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::collect,
    prelude::{DataFrame, SessionConfig, SessionContext},
    scalar::ScalarValue,
};
use futures::{Stream, StreamExt};
use url::Url;

use crate::{
    access::View,
    error::WarehouseError,
    schema,
    table::{Pending, Positions, delta::position},
    tail::{Seen, Tails},
};
use catalogue::Catalogue;
use readers::Readers;
use restricted::Restricted;

mod catalogue;
mod kept_side;
pub(crate) mod plain;
pub(crate) mod readers;
pub(crate) mod restricted;
mod rows;

pub use rows::Rows;

/// What all queries of a session, or of all sessions over the same tails, may keep in memory
/// together.
const MEMORY_BYTES: usize = 256 << 20;

/// Days within which goods are brought back, and transactions uploaded, but for the rarest.
const REFUNDED_WITHIN: u64 = 366;
const UPLOADED_WITHIN: u64 = 60;

/// Rows that are worked on at once: enough that a batch's fixed cost does not matter.
const BATCH_ROWS: usize = 32_768;

/// Rows on their way.
pub type Scanned = Pin<Box<dyn Stream<Item = Result<RecordBatch, WarehouseError>> + Send>>;

/// The warehouse at an address, at one instant: every table as one of its versions has it, with the
/// rows that have not landed yet where the session is [over tails](Session::open_with).
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    catalogue: Catalogue,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("catalogue", &self.catalogue).finish_non_exhaustive()
    }
}

/// What a context begins with.
pub(crate) fn template() -> Result<SessionState, WarehouseError> {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc()?;
    let config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .set_str("datafusion.execution.time_zone", "UTC")
        // Text is read as views, and answered as text.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", true)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_physical_optimizer_rules(kept_side::rules())
        .with_default_features()
        .build())
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
    /// Opens every table as its newest commit has it; one that nobody has made yet is empty. This
    /// is for a stopped node's folder: what has not landed is not seen.
    ///
    /// # Errors
    /// Where a table that is there cannot be read.
    pub fn open(root: &Url) -> Pending<'_, Self> {
        Box::pin(async move {
            let readers = Arc::new(Readers::default());
            let mut seen = BTreeMap::new();
            for table in schema::all() {
                // The newest version now is the session's, whatever is committed later.
                let version = readers.at(root, table, None).await?.map(|reader| reader.version());
                seen.insert(table.name, Seen { version, ..Seen::default() });
            }
            Self::over(Catalogue::new(root.clone(), readers, seen))
        })
    }

    /// The tables of a running node at this instant: what has landed, and the rows that have not.
    ///
    /// Of each table the session sees a version and the tail that belongs to it, so that every row
    /// is seen once. Tables that are made of one stream are seen at one set of offsets, the least that
    /// all of them have reached: each has the rows of every record before, and of none after. Tables
    /// of windows do not say which record a row is of: they have what had closed by then.
    ///
    /// Nobody waits for a table that is far behind the others of its stream, nor for an operator's own:
    /// these stand where they stand. A table that nobody writes through these tails is as its newest
    /// commit has it when a statement first names it.
    ///
    /// This does no I/O: tables are opened when a statement names them, and stay open in `tails`
    /// for the next session, which reads only what the log has new.
    ///
    /// # Errors
    /// Where there is no memory for queries.
    pub fn open_with(root: &Url, tails: &Tails) -> Result<Self, WarehouseError> {
        Self::over(Catalogue::new(root.clone(), Arc::clone(tails.readers()), tails.seen()))
    }

    fn over(catalogue: Catalogue) -> Result<Self, WarehouseError> {
        Ok(Self { context: catalogue.clone().context()?, catalogue })
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

    /// Answers a query of ours with those of some parameters that it has.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) async fn query_with<const N: usize>(
        &self,
        sql: &str,
        parameters: [(&str, ScalarValue); N],
    ) -> Result<Rows, WarehouseError> {
        let has = |(name, _): &(&str, ScalarValue)| sql.contains(&format!("${name}"));
        self.query(sql, parameters.into_iter().filter(has).collect::<Vec<_>>()).await
    }

    fn ask<'a>(&'a self, sql: &'a str, parameters: ParamValues) -> Pending<'a, Rows> {
        Box::pin(async move { answer(self.plan(sql, parameters).await?).await })
    }

    /// Answers one statement without parameters; anything that does not only read is refused.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn rows(&self, sql: &str) -> Result<Rows, WarehouseError> {
        self.query(sql, ParamValues::List(Vec::new())).await
    }

    /// Every row of a table or of its newest state.
    ///
    /// # Errors
    /// Where there is none of that name, or it cannot be read.
    pub fn whole<'a>(&'a self, name: &'a str) -> Pending<'a, Rows> {
        Box::pin(async move { answer(self.context.table(name).await?).await })
    }

    /// The rows of a table or of its newest state as they are read, batch by batch and in no order, so
    /// that a table of any size takes little memory.
    ///
    /// # Errors
    /// Where there is none of that name, or it cannot be read.
    pub fn scan<'a>(&'a self, name: &'a str) -> Pending<'a, Scanned> {
        Box::pin(async move {
            let rows = self.context.table(name).await?.execute_stream().await?;
            let rows = plain::stream(rows).map(|rows| rows.map_err(WarehouseError::from));
            Ok(Box::pin(rows) as Scanned)
        })
    }

    async fn plan(&self, sql: &str, parameters: ParamValues) -> Result<DataFrame, WarehouseError> {
        let frame = self.context.sql_with_options(sql, reading()).await?;
        let frame =
            if are_given(&parameters) { frame.with_param_values(parameters)? } else { frame };
        Ok(in_one_part(frame))
    }

    /// A session that also sees some rows under a name; this one does not.
    ///
    /// # Errors
    /// Where the rows do not fit together.
    pub fn with_rows(&self, name: &str, rows: Rows) -> Result<Self, WarehouseError> {
        let table = MemTable::try_new(rows.schema, vec![rows.batches])?;
        Self::over(self.catalogue.clone().with(name, Arc::new(table)))
    }

    /// The positions that the session's state of a table has of a pipeline, rows in memory
    /// included: per partition of its stream, the next offset.
    ///
    /// # Errors
    /// Where the table's log cannot be read.
    pub async fn positions(
        &self,
        table: &'static str,
        pipeline: &str,
        partitions: usize,
    ) -> Result<Positions, WarehouseError> {
        let applications: Vec<_> =
            (0..partitions).map(|partition| format!("{pipeline}/{partition}")).collect();
        self.read_positions(table, applications).await
    }

    fn read_positions<'a>(
        &'a self,
        table: &'static str,
        applications: Vec<String>,
    ) -> Pending<'a, Positions> {
        Box::pin(async move {
            let mut positions = Positions::new();
            let Some(schema) = schema::table(table) else { return Ok(positions) };
            let tail = self.catalogue.seen(table).map(|seen| &seen.positions);
            let ahead = |application: &String| tail.and_then(|tail| tail.get(application)).copied();
            let mut landed = None;
            if applications.iter().any(|application| ahead(application).is_none()) {
                landed = self.catalogue.reader(schema).await?;
            }
            for application in applications {
                let next = match (ahead(&application), &landed) {
                    (Some(next), _) => Some(next),
                    (None, Some(landed)) => {
                        let next = position(&landed.table, &application).await;
                        next.map_err(|source| WarehouseError::Open { table, source })?
                    }
                    (None, None) => None,
                };
                positions.extend(next.map(|next| (application, next)));
            }
            Ok(positions)
        })
    }

    /// The session through somebody's eyes: the tables, rows and values that a view shows.
    ///
    /// # Errors
    /// Where there is no memory for queries.
    pub fn seen_by(self, view: &View) -> Result<Self, WarehouseError> {
        Self::over(self.catalogue.seen_by(view))
    }

    /// The same, knowing on which local days recipients got other pseudonyms.
    ///
    /// # Errors
    /// Where there is no memory for queries.
    pub fn rotated(self, days: Vec<NaiveDate>) -> Result<Self, WarehouseError> {
        if days.is_empty() { Ok(self) } else { Self::over(self.catalogue.rotated(days)) }
    }

    /// As how many recipients one person may count in some days, both included: what is uploaded late
    /// has the new pseudonym under an older day, a refund the old one under a newer day.
    pub(crate) fn names(&self, from: NaiveDate, to: NaiveDate) -> usize {
        let from = from.checked_sub_days(Days::new(REFUNDED_WITHIN)).unwrap_or(from);
        let to = to.checked_add_days(Days::new(UPLOADED_WITHIN)).unwrap_or(to);
        1 + self.catalogue.rotations().iter().filter(|day| (from..=to).contains(*day)).count()
    }

    /// The tables as a view shows them.
    pub(crate) fn restricted(self, view: &View) -> Restricted {
        Restricted::new(self.catalogue, view.clone())
    }
}

/// A query whose groups are gathered in one part. Of several beside each other one takes the memory that
/// another one gave back by writing to the disk, and that one has none to go on with.
fn in_one_part(frame: DataFrame) -> DataFrame {
    let (mut state, plan) = frame.into_parts();
    state.config_mut().options_mut().execution.target_partitions = 1;
    DataFrame::new(state, plan)
}

/// The answer of a plan.
async fn answer(frame: DataFrame) -> Result<Rows, WarehouseError> {
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let schema = plain::schema(&plan.schema());
    let batches = collect(plan, context).await?;
    let batches = batches.iter().map(|batch| plain::batch(batch, &schema));
    let batches = batches.collect::<Result<_, _>>().map_err(DataFusionError::from)?;
    Ok(Rows { schema, batches })
}

/// Whether there are any parameters; a plan without takes none.
pub(crate) fn are_given(parameters: &ParamValues) -> bool {
    match parameters {
        ParamValues::List(list) => !list.is_empty(),
        ParamValues::Map(map) => !map.is_empty(),
    }
}

/// What a plan may do: read.
pub(crate) fn reading() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
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
