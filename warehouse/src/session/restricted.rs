//! The tables as a reader may see them: which of them, which rows, which values.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use datafusion::{
    catalog::{SchemaProvider, Session, TableFunctionArgs, TableFunctionImpl},
    common::{Result, ScalarValue},
    datasource::{TableProvider, TableType},
    error::DataFusionError,
    logical_expr::{Expr, cast},
    physical_plan::ExecutionPlan,
    prelude::{DataFrame, col, lit},
};

use super::catalogue::Catalogue;
use crate::{
    access::{Part, View},
    schema,
};

/// A catalogue through a reader's eyes.
#[derive(Clone, Debug)]
pub(crate) struct Restricted {
    catalogue: Catalogue,
    view: View,
    opened: Arc<Mutex<BTreeMap<String, Arc<dyn TableProvider>>>>,
}

impl Restricted {
    pub(super) fn new(catalogue: Catalogue, view: View) -> Self {
        Self { catalogue, view, opened: Arc::default() }
    }

    /// The history of the tables that the reader sees.
    pub(crate) fn as_of(&self) -> Arc<dyn TableFunctionImpl> {
        Arc::new(AsOf { of: self.clone() })
    }

    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = visible(name, &self.view) else { return Ok(None) };
        let Some(whole) = self.catalogue.table(name).await? else { return Ok(None) };
        self.shown(table, whole).await.map(Some)
    }

    /// The rows and values of a table that the reader sees.
    async fn shown(
        &self,
        table: &'static schema::Table,
        whole: Arc<dyn TableProvider>,
    ) -> Result<Arc<dyn TableProvider>> {
        let hides = table.columns.iter().any(|column| !self.view.shows(column.name));
        match (self.view.part(table), hides) {
            (Part::All, false) => Ok(whole),
            (part, _) => {
                let rows = self.catalogue.only([(table.name, whole)])?.table(table.name).await?;
                Ok(self.seen(rows, part)?.into_view())
            }
        }
    }

    fn seen(&self, rows: DataFrame, part: Part) -> Result<DataFrame> {
        let rows = match part {
            Part::Nothing => rows.filter(lit(false))?,
            Part::All => rows,
            Part::Rows(column, value) => rows.filter(col(column).eq(lit(value.as_ref())))?,
        };
        let fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        let columns = fields.iter().map(|field| {
            let name = field.name();
            if self.view.shows(name) {
                return col(name.as_str());
            }
            cast(lit(ScalarValue::Null), field.data_type().clone()).alias(name.as_str())
        });
        rows.select(columns.collect::<Vec<_>>())
    }
}

/// The table behind a name, where the view shows something of it.
fn visible(name: &str, view: &View) -> Option<&'static schema::Table> {
    let known = schema::table(name);
    let table = known.or_else(|| schema::table(name.strip_suffix("_current")?))?;
    (view.part(table) != Part::Nothing).then_some(table)
}

/// The names that a view shows, and the schema of each, tables before their newest states.
pub(crate) fn names(view: &View) -> Vec<(String, &'static schema::Table)> {
    let tables = schema::all();
    let tables = || tables.iter().filter(|table| view.part(table) != Part::Nothing).copied();
    let states = tables().filter(|table| !table.key.is_empty());
    let states = states.map(|table| (format!("{}_current", table.name), table));
    tables().map(|table| (table.name.to_owned(), table)).chain(states).collect()
}

#[async_trait::async_trait]
impl SchemaProvider for Restricted {
    fn table_names(&self) -> Vec<String> {
        names(&self.view).into_iter().map(|(name, _)| name).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(opened) = self.open(name).await? else { return Ok(None) };
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Arc::clone(all.entry(name.to_owned()).or_insert(opened))))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        // To readers all are views: clients that copy a table block by block ask whole then.
        Ok(visible(name, &self.view).map(|_| TableType::View))
    }

    fn table_exist(&self, name: &str) -> bool {
        visible(name, &self.view).is_some()
    }
}

/// `as_of('benefit_lines', '2025-02-01T00:00:00Z')`, or a version's number: a table as it was
/// committed by then.
#[derive(Debug)]
struct AsOf {
    of: Restricted,
}

/// When a table was as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// At an instant: the newest version that was committed by then.
    Instant(DateTime<Utc>),
    /// At a version.
    Version(u64),
}

impl TableFunctionImpl for AsOf {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let wrong = || {
            let text = "as_of takes a table's name and an instant, or a version: \
                        as_of('benefit_lines', '2025-02-01T00:00:00Z')";
            DataFusionError::Plan(text.to_owned())
        };
        let [Expr::Literal(name, _), Expr::Literal(moment, _)] = args.exprs() else {
            return Err(wrong());
        };
        let name = name.try_as_str().flatten().ok_or_else(wrong)?;
        let table = schema::table(name).and_then(|table| visible(table.name, &self.of.view));
        let table =
            table.ok_or_else(|| DataFusionError::Plan(format!("table '{name}' not found")))?;
        let instant = |text: &str| DateTime::parse_from_rfc3339(text).map(Into::into).ok();
        let moment = match moment {
            ScalarValue::Int64(Some(version)) => u64::try_from(*version).ok().map(Moment::Version),
            text => text.try_as_str().flatten().and_then(instant).map(Moment::Instant),
        };
        Ok(Arc::new(Past { of: self.of.clone(), table, moment: moment.ok_or_else(wrong)? }))
    }
}

/// A table as it was; it is opened when it is read.
#[derive(Debug)]
struct Past {
    of: Restricted,
    table: &'static schema::Table,
    moment: Moment,
}

#[async_trait::async_trait]
impl TableProvider for Past {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.table.arrow()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let whole = self.of.catalogue.past(self.table, self.moment).await?;
        let rows = self.of.catalogue.only([(self.table.name, whole)])?;
        let rows = rows.table(self.table.name).await?;
        let mut rows = self.of.seen(rows, self.of.view.part(self.table))?;
        if let Some(wanted) = projection {
            let columns = self.table.columns;
            let names = wanted.iter().filter_map(|at| columns.get(*at));
            rows = rows.select(names.map(|column| col(column.name)).collect::<Vec<_>>())?;
        }
        rows.limit(0, limit)?.create_physical_plan().await
    }
}
