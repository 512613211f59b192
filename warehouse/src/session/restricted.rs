//! The tables as a reader may see them: which of them, which rows, which values.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::{
    catalog::{SchemaProvider, Session, TableFunctionArgs, TableFunctionImpl},
    common::{Result, ScalarValue, Statistics, stats::Precision, tree_node::TreeNodeRecursion},
    datasource::{TableProvider, TableType},
    error::DataFusionError,
    execution::TaskContext,
    logical_expr::{BinaryExpr, Expr, TableProviderFilterPushDown, cast},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        SendableRecordBatchStream, statistics::StatisticsArgs,
    },
    prelude::{DataFrame, JoinType, col, lit},
};

use super::{catalogue::Catalogue, kept_side};
use crate::{
    access::{EVENTS, POINTS, Part, View},
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
        Ok(Some(self.shown(table, whole)))
    }

    /// The rows and values of a table that the reader sees.
    fn shown(
        &self,
        table: &'static schema::Table,
        whole: Arc<dyn TableProvider>,
    ) -> Arc<dyn TableProvider> {
        let hides = table.columns.iter().any(|column| !self.view.shows(table, column.name));
        match (self.view.part(table), hides) {
            (Part::All, false) => whole,
            _ => {
                let schema = self.view.readable(table, &whole.schema());
                Arc::new(Seen { of: self.clone(), table, schema, rows: RowsOf::Now(whole) })
            }
        }
    }

    /// The rows that the reader sees, with every column of a schema: what is hidden, or was not there
    /// then, is missing.
    async fn seen(
        &self,
        rows: DataFrame,
        schema: &SchemaRef,
        table: &schema::Table,
    ) -> Result<DataFrame> {
        let rows = match self.view.part(table) {
            Part::Nothing => rows.filter(lit(false))?,
            Part::All => rows,
            Part::Rows(column, value) => rows.filter(col(column).eq(lit(value.as_ref())))?,
            Part::OfBenefits(grantor) => Box::pin(self.own(rows, table, &grantor)).await?,
        };
        let there = Arc::clone(rows.schema().inner());
        let columns = schema.fields().iter().map(|field| {
            let name = field.name();
            if self.view.shows(table, name) && there.field_with_name(name).is_ok() {
                return col(name.as_str());
            }
            cast(lit(ScalarValue::Null), field.data_type().clone()).alias(name.as_str())
        });
        rows.select(columns.collect::<Vec<_>>())
    }

    /// The rows of a table that are about benefits which are a grantor's now.
    async fn own(
        &self,
        rows: DataFrame,
        table: &schema::Table,
        grantor: &str,
    ) -> Result<DataFrame> {
        match table.name {
            POINTS => self.of_benefits(rows, grantor).await,
            // What undid a movement of points stands in the same record.
            EVENTS => {
                let points = self.table_of(POINTS).await?;
                let points = self.of_benefits(points, grantor).await?.select([
                    col("source_partition").alias("own_partition"),
                    col("source_offset").alias("own_offset"),
                ])?;
                let (of, to) =
                    (["source_partition", "source_offset"], ["own_partition", "own_offset"]);
                rows.join(points, JoinType::LeftSemi, &of, &to, None)
            }
            // The entries of instructions.
            _ => {
                let instructions = self.table_of("registry_instructions").await?;
                let of_own = self.of_benefits(instructions, grantor).await?;
                let of_own = of_own.select([col("entry_id").alias("own_entry")])?;
                rows.join(of_own, JoinType::LeftSemi, &["entry_id"], &["own_entry"], None)
            }
        }
    }

    /// The rows of which the benefit is a grantor's.
    async fn of_benefits(&self, rows: DataFrame, grantor: &str) -> Result<DataFrame> {
        let benefits = self.table_of("registry_benefits_current").await?;
        let own = benefits.filter(col("grantor_id").eq(lit(grantor)))?;
        let own = own.select([col("entry_id").alias("own_benefit")])?;
        rows.join(own, JoinType::LeftSemi, &["benefit_id"], &["own_benefit"], None)
    }

    /// A table that nothing is left out of.
    async fn table_of(&self, name: &str) -> Result<DataFrame> {
        let tables = self.catalogue.only([(name, self.catalogue.known(name).await?)])?;
        tables.table(name).await
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
        let rows = RowsOf::Then(moment.ok_or_else(wrong)?);
        let schema = self.of.view.readable(table, &table.as_queried());
        Ok(Arc::new(Seen { of: self.of.clone(), table, schema, rows }))
    }
}

/// A table through a reader's eyes. Nothing of a statement is evaluated on rows that the reader does not
/// see, since an error would tell of them; of its conditions only plain comparisons go below.
#[derive(Debug)]
struct Seen {
    of: Restricted,
    table: &'static schema::Table,
    schema: SchemaRef,
    rows: RowsOf,
}

#[derive(Debug)]
enum RowsOf {
    Now(Arc<dyn TableProvider>),
    /// As it was; it is opened when it is read.
    Then(Moment),
}

/// Whether a condition compares a column with a value, which never fails.
fn is_plain(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
    op.supports_propagation()
        && matches!(
            (left.as_ref(), right.as_ref()),
            (Expr::Column(_), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(_))
        )
}

#[async_trait::async_trait]
impl TableProvider for Seen {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |condition: &&Expr| match is_plain(condition) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let whole = match &self.rows {
            RowsOf::Now(whole) => Arc::clone(whole),
            RowsOf::Then(moment) => self.of.catalogue.past(self.table, *moment).await?,
        };
        let rows = self.of.catalogue.only([(self.table.name, whole)])?;
        let rows = rows.table(self.table.name).await?;
        let mut rows = self.of.seen(rows, &self.schema, self.table).await?;
        for condition in filters.iter().filter(|condition| is_plain(condition)) {
            rows = rows.filter(condition.clone())?;
        }
        if let Some(wanted) = projection {
            let names = wanted.iter().map(|at| col(self.schema.field(*at).name().as_str()));
            rows = rows.select(names.collect::<Vec<_>>())?;
        }
        let plan = rows.limit(0, limit)?.create_physical_plan().await?;
        let rows = kept_side::rows_read(&plan)?;
        Ok(Arc::new(Opaque { plan, rows }))
    }
}

/// A plan that no optimiser looks into, and whose parts no `EXPLAIN` tells.
#[derive(Debug)]
struct Opaque {
    plan: Arc<dyn ExecutionPlan>,
    /// How many rows are read for it, where that is known.
    rows: Option<usize>,
}

/// The power of sixteen from so many rows on: enough to know which side of a join is small, and all that a
/// reader who sees some of a table's rows is told of the others.
fn coarse(rows: usize) -> usize {
    let bits = usize::BITS - rows.saturating_sub(1).leading_zeros();
    1_usize.checked_shl(bits.next_multiple_of(4)).unwrap_or(usize::MAX)
}

impl DisplayAs for Opaque {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

impl ExecutionPlan for Opaque {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut told = Statistics::new_unknown(&self.schema());
        told.num_rows =
            self.rows.map_or(Precision::Absent, |rows| Precision::Inexact(coarse(rows)));
        Ok(Arc::new(told))
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.plan.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use super::coarse;

    #[test]
    fn a_number_of_rows_is_told_by_its_magnitude() {
        let told = [(0, 1), (1, 1), (2, 16), (16, 16), (17, 256), (2_600_000, 16 << 20)];
        for (rows, magnitude) in told {
            assert_eq!(coarse(rows), magnitude, "{rows}");
        }
        assert_eq!(coarse(usize::MAX), usize::MAX);
    }
}
