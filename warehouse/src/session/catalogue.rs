//! The names that a statement may use; what stands behind one is opened when it is first used.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::NaiveDate;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
        MemorySchemaProvider, SchemaProvider,
    },
    common::{Result, ScalarValue},
    datasource::{TableProvider, empty::EmptyTable},
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder},
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, ExprFunctionExt, cast},
    prelude::{DataFrame, SessionContext, col, lit},
};
use url::Url;

use super::{
    readers::{Reader, Readers},
    restricted::{Moment, Restricted},
};
use crate::{
    access::View,
    error::WarehouseError,
    schema,
    tail::{Seen, TailProvider},
};

/// The state whose newest rows are more than the newest row of a key.
const ENTITLEMENTS: &str = include_str!("../../sql/views/entitlements_current.sql");
/// What it is called.
const ENTITLEMENTS_CURRENT: &str = "entitlements_current";

/// Every table, its newest state, and what a session has beside them.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    root: Url,
    readers: Arc<Readers>,
    /// The version and the tail of each table, as they were when the session began.
    seen: Arc<BTreeMap<&'static str, Seen>>,
    /// Rows beside the tables.
    beside: BTreeMap<String, Arc<dyn TableProvider>>,
    opened: Arc<Mutex<BTreeMap<String, Arc<dyn TableProvider>>>>,
    /// Through whose eyes statements see all this; none see everything.
    view: Option<View>,
    /// The local days on which recipients got other pseudonyms.
    rotations: Arc<[NaiveDate]>,
}

impl Catalogue {
    pub(super) fn new(
        root: Url,
        readers: Arc<Readers>,
        seen: BTreeMap<&'static str, Seen>,
    ) -> Self {
        Self {
            root,
            readers,
            seen: Arc::new(seen),
            beside: BTreeMap::new(),
            opened: Arc::default(),
            view: None,
            rotations: Arc::default(),
        }
    }

    /// The same, knowing when recipients got other pseudonyms.
    pub(super) fn rotated(mut self, days: Vec<NaiveDate>) -> Self {
        self.rotations = days.into();
        self
    }

    pub(super) fn rotations(&self) -> &[NaiveDate] {
        &self.rotations
    }

    /// The same with rows beside the tables.
    pub(super) fn with(mut self, name: &str, rows: Arc<dyn TableProvider>) -> Self {
        self.beside.insert(name.to_owned(), rows);
        self
    }

    /// The same through somebody's eyes.
    pub(super) fn seen_by(mut self, view: &View) -> Self {
        self.view = Some(view.clone());
        self
    }

    pub(super) fn context(self) -> std::result::Result<SessionContext, WarehouseError> {
        let state = self.readers.state()?.clone();
        let schema: Arc<dyn SchemaProvider> = match self.view.clone() {
            None => Arc::new(self),
            Some(view) => Arc::new(Restricted::new(self, view)),
        };
        Ok(over(&state, schema)?)
    }

    /// What the session sees of a table in memory.
    pub(super) fn seen(&self, table: &str) -> Option<&Seen> {
        self.seen.get(table)
    }

    /// A table on disk at the session's version; none where nobody has made it.
    pub(super) async fn reader(
        &self,
        table: &'static schema::Table,
    ) -> std::result::Result<Option<Reader>, WarehouseError> {
        let version = self.seen(table.name).and_then(|seen| seen.version);
        self.readers.at(&self.root, table, version).await
    }

    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = schema::table(name) {
            return self.whole(table).await.map(Some);
        }
        if name == ENTITLEMENTS_CURRENT {
            return self.entitlements().await.map(Some);
        }
        let Some(table) = name.strip_suffix("_current").and_then(schema::table) else {
            return Ok(None);
        };
        if table.key.is_empty() {
            return Ok(None);
        }
        let context = self.only([(table.name, self.known(table.name).await?)])?;
        Ok(Some(newest(&context, table).await?.into_view()))
    }

    /// A table with its tail, without what the session does not see of it yet.
    async fn whole(&self, table: &'static schema::Table) -> Result<Arc<dyn TableProvider>> {
        let reader = self.reader(table).await.map_err(failed)?;
        let landed: Arc<dyn TableProvider> = match reader {
            Some(reader) => reader.provider,
            None => Arc::new(EmptyTable::new(table.as_queried())),
        };
        let seen = self.seen(table.name);
        let rows = seen.map_or(&[][..], |seen| &seen.rows);
        let whole: Arc<dyn TableProvider> = match rows {
            [] => landed,
            rows => Arc::new(TailProvider::new(landed, rows)),
        };
        let whole = self.grown(table, whole).await?;
        let Some(next) = seen.and_then(|seen| seen.before.as_ref()) else { return Ok(whole) };
        let context = self.only([(table.name, whole)])?;
        Ok(context.table(table.name).await?.filter(before(next))?.into_view())
    }

    /// A table with every column of its schema. One that an earlier version wrote lacks those that came
    /// since, until whoever writes it opens it.
    async fn grown(
        &self,
        table: &'static schema::Table,
        whole: Arc<dyn TableProvider>,
    ) -> Result<Arc<dyn TableProvider>> {
        let there = whole.schema();
        let is_there = |name: &str| there.field_with_name(name).is_ok();
        if table.columns.iter().all(|column| is_there(column.name)) {
            return Ok(whole);
        }
        let wanted = table.as_queried();
        let columns = wanted.fields().iter().map(|field| match field.name().as_str() {
            name if is_there(name) => col(name),
            name => cast(lit(ScalarValue::Null), field.data_type().clone()).alias(name),
        });
        let columns: Vec<Expr> = columns.collect();
        let context = self.only([(table.name, whole)])?;
        Ok(context.table(table.name).await?.select(columns)?.into_view())
    }

    async fn entitlements(&self) -> Result<Arc<dyn TableProvider>> {
        let (entitlements, persons) =
            (self.known("entitlements").await?, self.known("persons_current").await?);
        let context = self.only([("entitlements", entitlements), ("persons_current", persons)])?;
        Ok(context.sql(ENTITLEMENTS).await?.into_view())
    }

    pub(super) async fn known(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        let found = Box::pin(self.table(name)).await?;
        found.ok_or_else(|| DataFusionError::Plan(format!("there is no table {name}")))
    }

    /// A table as it was committed by a moment.
    pub(super) async fn past(
        &self,
        table: &'static schema::Table,
        moment: Moment,
    ) -> Result<Arc<dyn TableProvider>> {
        self.readers.past(&self.root, table, moment).await.map_err(failed)
    }

    /// A context in which a view is planned: over these tables alone.
    pub(super) fn only<const N: usize>(
        &self,
        tables: [(&str, Arc<dyn TableProvider>); N],
    ) -> Result<SessionContext> {
        let schema = MemorySchemaProvider::new();
        for (name, table) in tables {
            schema.register_table(name.to_owned(), table)?;
        }
        over(self.readers.state().map_err(failed)?, Arc::new(schema))
    }

    fn found(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        self.beside.get(name).or_else(|| opened.get(name)).cloned()
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Catalogue {
    fn table_names(&self) -> Vec<String> {
        let all = schema::all();
        let tables = all.iter().map(|table| table.name.to_owned());
        let states = all.iter().filter(|table| !table.key.is_empty());
        let states = states.map(|table| format!("{}_current", table.name));
        tables.chain(states).chain(self.beside.keys().cloned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(found) = self.found(name) {
            return Ok(Some(found));
        }
        let Some(opened) = self.open(name).await? else { return Ok(None) };
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever came first gave the others what they see too.
        Ok(Some(Arc::clone(all.entry(name.to_owned()).or_insert(opened))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.beside.contains_key(name) || self.table_names().iter().any(|known| known == name)
    }
}

/// A context whose tables are those of one schema.
fn over(state: &SessionState, schema: Arc<dyn SchemaProvider>) -> Result<SessionContext> {
    let options = &state.config_options().catalog;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(&options.default_schema, schema)?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(options.default_catalog.clone(), Arc::new(catalog));
    let state = SessionStateBuilder::new_from_existing(state.clone());
    Ok(SessionContext::new_with_state(state.with_catalog_list(Arc::new(list)).build()))
}

/// The newest row of each key, without what was removed.
async fn newest(context: &SessionContext, table: &schema::Table) -> Result<DataFrame> {
    let key: Vec<Expr> = table.key.iter().map(|name| col(*name)).collect();
    let order = vec![col(table.newer_by()).sort(false, false)];
    let rank = row_number().partition_by(key).order_by(order).build()?.alias("newest");
    let columns: Vec<Expr> = table.columns.iter().map(|column| col(column.name)).collect();
    let mut rows = context.table(table.name).await?.window(vec![rank])?;
    rows = rows.filter(col("newest").eq(lit(1)))?;
    if table.columns.iter().any(|column| column.name == "removed") {
        rows = rows.filter(col("removed").eq(lit(false)))?;
    }
    rows.select(columns)
}

/// Rows of records before an offset of their partition.
fn before(next: &[i64]) -> Expr {
    let each = next.iter().enumerate().map(|(partition, next)| {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        col("source_partition").eq(lit(partition)).and(col("source_offset").lt(lit(*next)))
    });
    each.reduce(Expr::or).unwrap_or_else(|| lit(false))
}

fn failed(error: WarehouseError) -> DataFusionError {
    match error {
        WarehouseError::Query(error) => error,
        error => DataFusionError::External(Box::new(error)),
    }
}
