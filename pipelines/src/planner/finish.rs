//! From a draft to a dataflow that can be executed: the engine plans every query, once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result as EngineResult, ScalarValue, not_impl_err, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    execution::{SessionState, context::ExecutionProps},
    logical_expr::{
        AggregateUDF, BinaryExpr, Expr, ExprSchemable, Operator, cast, lit,
        physical_planning_context::PhysicalPlanningContext, simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
    physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder},
    physical_plan::PhysicalExpr,
};

use super::{
    Catalogue,
    draft::{self, Draft, DraftSource, Gather, Query, Work},
    hidden::hidden_field,
    window::Window,
};
use crate::{
    dataflow::{
        Blueprint, Edge, NodePlan, SourcePlan, TimePlan,
        groups::Aggregation,
        join, lookup,
        operator::Plan,
        session,
        stage::Stage,
        time::{RETRACT, TIMESTAMP, WATERMARK},
        updating, windowed,
    },
    redis::Table,
};

/// Plans every part of a draft.
///
/// # Errors
/// Where the engine cannot plan one.
pub async fn finish(
    state: &SessionState,
    catalogue: &Catalogue,
    draft: Draft,
) -> EngineResult<Blueprint> {
    let missing = || internal("a source that nothing reads");
    let mut blueprint = Blueprint::default();
    for source in draft.sources {
        let to = source.to.ok_or_else(missing)?;
        let (columns, time) = source_plan(state, catalogue, &source)?;
        blueprint.sources.push(SourcePlan { table: source.table, columns, time, to });
    }
    for (at, node) in draft.nodes.into_iter().enumerate() {
        let plan = match node.work {
            Work::Union => Plan::Union,
            Work::Stage(query) => Plan::Stage(stage(state, query).await?),
            Work::Held(query) => Plan::Held(stage(state, query).await?, node.inputs),
            Work::Gather(gather) => aggregate(state, gather, draft.time_to_live)?,
            Work::Join { query, on, sides } => {
                let stage = stage(state, query).await?;
                let (on, keys) = equal(state, on, &sides)?;
                let time_to_live = draft.time_to_live;
                Plan::Join(Arc::new(join::Plan { stage, on, keys, time_to_live }))
            }
            Work::Lookup(joined) => {
                let draft::Lookup { query, on, sides, outside } = *joined;
                let (on, keys) = equal(state, on, &sides)?;
                let outside = match outside {
                    Some(right) => {
                        let table = outside_table(catalogue, &blueprint.sources, (at, 1), &keys)?;
                        let right = stage(state, right).await?;
                        Some(lookup::Outside { right, table: Arc::new(table) })
                    }
                    None => None,
                };
                let stage = stage(state, query).await?;
                Plan::Lookup(Arc::new(lookup::Plan { stage, on, keys, outside }))
            }
        };
        blueprint.nodes.push(NodePlan { plan, inputs: node.inputs, to: node.to });
    }
    Ok(blueprint)
}

async fn stage(state: &SessionState, query: Query) -> EngineResult<Stage> {
    let plan = state.create_physical_plan(&query.plan).await?;
    Ok(Stage::new(plan, query.slots, state.task_ctx()))
}

/// The table that a node asks for the rows of some keys.
fn outside_table(
    catalogue: &Catalogue,
    sources: &[SourcePlan],
    read_by: Edge,
    keys: &Schema,
) -> EngineResult<Table> {
    let key = keys.field(0).data_type();
    if !key.is_string() {
        return plan_err!(
            "the left-side of a look-up join condition must be TEXT, as a key of redis is, but it \
             is {key}"
        );
    }
    let missing = || internal("a lookup without its table");
    let source = sources.iter().find(|source| source.to == read_by).ok_or_else(missing)?;
    let definition = catalogue.table(&source.table)?;
    Table::of(definition, Arc::clone(&source.columns)).ok_or_else(missing)
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.into())
}

/// The columns that a source reads, and how it tells time.
fn source_plan(
    state: &SessionState,
    catalogue: &Catalogue,
    source: &DraftSource,
) -> EngineResult<(SchemaRef, Option<TimePlan>)> {
    let table = catalogue.table(&source.table)?;
    let full = table.record_schema();
    let mut places = source.columns.clone();
    let read = full.project(&places)?;
    if !source.timed {
        return Ok((Arc::new(read), None));
    }
    let (event_time, watermark) = table.time(state)?;
    for expression in [&event_time, &watermark] {
        for column in expression.column_refs() {
            places.push(full.index_of(&column.name)?);
        }
    }
    let columns = with_more(&full, &source.columns, places)?;
    let schema = DFSchema::try_from(columns.as_ref().clone())?;
    let hidden = [TIMESTAMP, WATERMARK].map(hidden_field).into_iter();
    let hidden = hidden.chain(table.is_updating().then(|| hidden_field(RETRACT)));
    let fields = read.fields().iter().cloned().chain(hidden);
    let time = TimePlan {
        event_time: physical(state, event_time, &schema)?,
        watermark: physical(state, in_whole_units(watermark, &schema)?, &schema)?,
        columns: Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>())),
        read: source.columns.len(),
    };
    Ok((columns, Some(time)))
}

/// An instant plus or minus a length without days and months as a sum of whole numbers: the engine
/// takes the way over calendars for it, which is many times as long.
fn in_whole_units(expression: Expr, schema: &DFSchema) -> EngineResult<Expr> {
    let sum = |inner: Expr| {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &inner else {
            return Ok(Transformed::no(inner));
        };
        let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(length)), _) = right.as_ref()
        else {
            return Ok(Transformed::no(inner));
        };
        let DataType::Timestamp(unit, None) = left.get_type(schema)? else {
            return Ok(Transformed::no(inner));
        };
        let nanoseconds = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        };
        let whole = length.months == 0 && length.days == 0 && length.nanoseconds % nanoseconds == 0;
        if !whole || !matches!(op, Operator::Plus | Operator::Minus) {
            return Ok(Transformed::no(inner));
        }
        let number = cast(left.as_ref().clone(), DataType::Int64);
        let length = lit(length.nanoseconds / nanoseconds);
        let made = if *op == Operator::Plus { number + length } else { number - length };
        Ok(Transformed::yes(cast(made, DataType::Timestamp(unit, None))))
    };
    Ok(expression.transform_up(sum)?.data)
}

/// The columns that are read, then those that only time needs.
fn with_more(full: &Schema, read: &[usize], more: Vec<usize>) -> EngineResult<SchemaRef> {
    let mut places = read.to_vec();
    for place in more {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(Arc::new(full.project(&places)?))
}

/// An expression as the engine executes it.
fn physical(
    state: &SessionState,
    expression: Expr,
    schema: &DFSchema,
) -> EngineResult<Arc<dyn PhysicalExpr>> {
    // Some functions, COALESCE among them, can only be executed in their simplified form.
    let simplifier = simplifier(schema);
    let expression = simplifier.coerce(expression, schema)?;
    state.create_physical_expr(simplifier.simplify(expression)?, schema)
}

/// The type of an expression, and whether it may be NULL.
///
/// # Errors
/// Where its types do not fit.
pub fn kind(expression: Expr, schema: &DFSchema) -> EngineResult<(DataType, bool)> {
    let expression = simplifier(schema).coerce(expression, schema)?;
    Ok((expression.get_type(schema)?, expression.nullable(schema)?))
}

fn simplifier(schema: &DFSchema) -> ExprSimplifier {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    ExprSimplifier::new(context)
}

fn aggregate(state: &SessionState, gather: Gather, time_to_live: i64) -> EngineResult<Plan> {
    let input = gather.input.as_arrow();
    let keys = Schema::new(input.fields().iter().take(gather.keys).cloned().collect::<Vec<_>>());
    let lower = |expression: &Expr| lowered(state, expression, &gather.input);
    let aggregates = gather.aggregates.iter().map(lower).collect::<EngineResult<_>>()?;
    let aggregation = Aggregation { keys: Arc::new(keys), aggregates };
    let output = gather.output;
    Ok(match gather.window {
        Some((Window::Sliding { slide, width }, window_at)) => {
            let plan = windowed::Plan { aggregation, width, slide, window_at, output };
            Plan::Windowed(Arc::new(plan))
        }
        Some((Window::Session { gap }, window_at)) => {
            Plan::Session(Arc::new(session::Plan { aggregation, gap, window_at, output }))
        }
        None => Plan::Updating(Arc::new(updating::Plan {
            aggregation,
            time_to_live,
            over_updates: gather.over_updates,
            output,
        })),
    })
}

fn lowered(
    state: &SessionState,
    expression: &Expr,
    input: &DFSchema,
) -> EngineResult<LoweredAggregate> {
    if let Expr::AggregateFunction(function) = expression.clone().unalias()
        && !function.params.order_by.is_empty()
        && !takes_any_order(&function.func)
    {
        return not_impl_err!("ORDER BY in {}()", function.func.name());
    }
    let props: &ExecutionProps = state.execution_props();
    let context = PhysicalPlanningContext::default();
    LoweredAggregateBuilder::new(expression, input, input.as_arrow(), props, &context).build()
}

/// Whether an aggregate with an order takes rows in any order.
fn takes_any_order(function: &AggregateUDF) -> bool {
    use datafusion::logical_expr::utils::AggregateOrderSensitivity;
    // WITHIN GROUP names what is counted, and says nothing of the rows' order.
    function.supports_within_group_clause()
        || !matches!(function.order_sensitivity(), AggregateOrderSensitivity::HardRequirement)
}

/// What has to be equal on either side, and its types.
type Equal = ([Vec<Arc<dyn PhysicalExpr>>; 2], SchemaRef);

fn equal(
    state: &SessionState,
    on: Vec<(Expr, Expr)>,
    sides: &[Arc<DFSchema>; 2],
) -> EngineResult<Equal> {
    let (mut left, mut right, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (one, other)) in on.into_iter().enumerate() {
        let one = physical(state, one, &sides[0])?;
        let key = one.data_type(sides[0].as_arrow())?;
        keys.push(Field::new(format!("_key_{at}"), key, true));
        left.push(one);
        right.push(physical(state, other, &sides[1])?);
    }
    Ok(([left, right], Arc::new(Schema::new(keys))))
}
