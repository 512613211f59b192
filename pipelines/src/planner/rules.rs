//! What is done to a query before it is cut: types are made equal, and rules are applied that leave
//! its meaning over a stream as it is.

use std::sync::Arc;

use datafusion::{
    common::{Result as EngineResult, tree_node::TreeNodeRecursion},
    execution::SessionState,
    logical_expr::LogicalPlan,
    optimizer::{
        Optimizer, OptimizerContext, OptimizerRule,
        decorrelate_lateral_join::DecorrelateLateralJoin,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin, eliminate_filter::EliminateFilter,
        eliminate_join::EliminateJoin, eliminate_outer_join::EliminateOuterJoin,
        extract_equijoin_predicate::ExtractEquijoinPredicate,
        optimize_projections::OptimizeProjections, optimize_unions::OptimizeUnions,
        push_down_filter::PushDownFilter, replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        scalar_subquery_to_join::ScalarSubqueryToJoin, simplify_expressions::SimplifyExpressions,
    },
};

/// The rules, in their order. Those that would make two aggregates of one, or order by what a batch
/// shows, are not among them.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The query as it is cut into a dataflow.
///
/// # Errors
/// Where its types do not fit.
pub fn prepare(state: &SessionState, plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    let options = state.config_options();
    let plan = state.analyzer().execute_and_check(plan, options, |_, _| {})?;
    // A time of planning must not become a part of the query.
    let context = OptimizerContext::new_with_config_options(Arc::clone(options))
        .without_query_execution_start_time();
    Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})
}

/// Whether anything in a query groups rows by time, or keeps them for a time.
///
/// # Errors
/// Never in practice: nothing in the visit fails.
pub fn needs_time(plan: &LogicalPlan) -> EngineResult<bool> {
    let mut needs = false;
    plan.apply_with_subqueries(|node| {
        needs |= matches!(
            node,
            LogicalPlan::Aggregate(_) | LogicalPlan::Join(_) | LogicalPlan::Window(_)
        );
        for expression in node.expressions() {
            needs |= super::window::calls(&expression, &["row_time"])?;
        }
        Ok(if needs { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(needs)
}
