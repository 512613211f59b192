//! Which side of a join is kept in memory: the one below which fewer rows are read.
//!
//! The engine compares what both sides are known to give. Where that of one is not known, as of an entry's
//! newest version, it keeps the left one in memory: `benefit_lines LEFT JOIN registry_benefits_current` would
//! keep every line of a country beside some names.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_plan::{
        ExecutionPlan,
        joins::{HashJoinExec, PartitionMode},
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

/// The rule after which ours comes: it decides where both sides are known.
const AFTER: &str = "join_selection";

/// The engine's rules, and this one.
pub(super) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let after = rules.iter().position(|rule| rule.name() == AFTER);
    rules.insert(after.map_or(0, |after| after + 1), Arc::new(KeptSide));
    rules
}

/// Keeps the side of a join in memory below which fewer rows are read.
#[derive(Debug)]
struct KeptSide;

impl PhysicalOptimizerRule for KeptSide {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let few = config.optimizer.hash_join_single_partition_threshold_rows;
        let kept = plan.transform_up(|part| {
            let Some(join) = part.downcast_ref::<HashJoinExec>() else {
                return Ok(Transformed::no(part));
            };
            match swapped(join, few)? {
                Some(join) => Ok(Transformed::yes(join)),
                None => Ok(Transformed::no(part)),
            }
        });
        Ok(kept?.data)
    }

    fn name(&self) -> &str {
        "kept_side"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The join with its sides the other way around, where fewer rows are read for the right one.
fn swapped(join: &HashJoinExec, few: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // A side that is collected as a whole was known to be small.
    if *join.partition_mode() != PartitionMode::Partitioned
        || join.null_aware
        || !join.join_type().supports_swap()
    {
        return Ok(None);
    }
    let (Some(left), Some(right)) = (rows_read(join.left())?, rows_read(join.right())?) else {
        return Ok(None);
    };
    if left <= right {
        return Ok(None);
    }
    let mode = match right <= few {
        true => PartitionMode::CollectLeft,
        false => PartitionMode::Partitioned,
    };
    join.swap_inputs(mode).map(Some)
}

/// How many rows are read for a part of a plan; none where a source does not say.
pub(super) fn rows_read(part: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let mut read = Some(0_usize);
    part.apply(|part| {
        if part.children().is_empty() {
            let told = StatisticsContext::new().compute(part.as_ref(), &StatisticsArgs::new())?;
            let rows = told.num_rows.get_value().copied();
            read = read.zip(rows).map(|(read, rows)| read.saturating_add(rows));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    };
    use datafusion::{
        catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider},
        datasource::MemTable,
        physical_plan::{collect, displayable},
        prelude::SessionContext,
    };

    use super::super::template;

    /// Rows numbered from 0, in seven parts.
    fn table(rows: i64) -> MemTable {
        let columns = ["id", "part"].map(|name| Field::new(name, DataType::Int64, false));
        let columns = Arc::new(Schema::new(columns.to_vec()));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let parts: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|id| id % 7)));
        let batch = RecordBatch::try_new(columns.clone(), vec![ids, parts]).expect("a batch");
        MemTable::try_new(columns, vec![vec![batch]]).expect("a table")
    }

    fn context() -> SessionContext {
        let context = SessionContext::new_with_state(template().expect("a state"));
        let (catalogue, schema) = (MemoryCatalogProvider::new(), MemorySchemaProvider::new());
        for (name, rows) in [("many", 300_000), ("few", 70)] {
            schema.register_table(name.into(), Arc::new(table(rows))).expect("registered");
        }
        catalogue.register_schema("public", Arc::new(schema)).expect("registered");
        context.register_catalog("datafusion", Arc::new(catalogue));
        context
    }

    /// How the join of a query is executed, and how many rows come of it.
    async fn joined(context: &SessionContext, query: &str) -> (String, usize) {
        let plan = context.sql(query).await.expect("a plan");
        let plan = plan.create_physical_plan().await.expect("a physical plan");
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let join = shown.lines().find(|line| line.contains("HashJoinExec")).expect("a join");
        let rows = collect(plan.clone(), context.task_ctx()).await.expect("rows");
        (join.to_owned(), rows.iter().map(RecordBatch::num_rows).sum())
    }

    const NEWEST: &str = "(SELECT part, id FROM (SELECT part, id, ROW_NUMBER() OVER \
                          (PARTITION BY part ORDER BY id DESC) AS place FROM few) WHERE place = 1)";

    #[tokio::test]
    async fn a_few_names_are_kept_and_not_all_lines() {
        let context = context();
        let query = |join: &str| {
            format!(
                "SELECT many.id, names.id FROM many {join} {NEWEST} AS names \
                 ON names.part = many.part AND names.id <> 69"
            )
        };
        let (join, rows) = joined(&context, &query("LEFT JOIN")).await;
        assert!(join.contains("join_type=Right"), "{join}");
        assert_eq!(rows, 300_000);
        let (_, rows) = joined(&context, &query("JOIN")).await;
        assert_eq!(rows, 300_000 - 300_000 / 7);
    }

    #[tokio::test]
    async fn a_side_that_is_small_already_stays() {
        let context = context();
        let query = format!(
            "SELECT many.id FROM {NEWEST} AS names LEFT JOIN many ON names.part = many.part"
        );
        let (join, rows) = joined(&context, &query).await;
        assert!(join.contains("join_type=Left"), "{join}");
        assert_eq!(rows, 300_000);
    }
}
