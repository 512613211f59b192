//! Queries over whole windows and joins, as plans over the rows that are held for them.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, JoinType, NullEquality, Result as EngineResult, ScalarValue,
        TableReference, not_impl_err, plan_err,
    },
    functions::{core::expr_fn::coalesce, expr_fn::named_struct},
    functions_aggregate::expr_fn::max,
    logical_expr::{
        Aggregate, Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, Window as WindowNode,
        cast, expr::WindowFunction, lit, when,
    },
};

use super::{
    draft::{Built, Query, leaf},
    hidden::{hidden, is_hidden, timestamp},
    window::Window,
};
use crate::dataflow::time::{TIMESTAMP, WATERMARK, instant};

/// Refuses what a stream cannot do, or what this runtime does not have, by name.
///
/// # Errors
/// Always.
pub fn refused<T>(plan: &LogicalPlan) -> EngineResult<T> {
    let construct = match plan {
        LogicalPlan::Sort(_) => "ORDER BY is not currently supported",
        LogicalPlan::Limit(_) => "LIMIT is not currently supported",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        LogicalPlan::RecursiveQuery(_) => "Recursive CTEs are not currently supported",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "a query without a source",
        LogicalPlan::Explain(_) => "EXPLAIN is not supported",
        LogicalPlan::Copy(_) => "COPY is not supported",
        LogicalPlan::DescribeTable(_) => "DESCRIBE is not supported",
        other => return not_impl_err!("this form of query: {}", other.display()),
    };
    not_impl_err!("{construct}")
}

/// The window of a row that carries its first instant.
///
/// # Errors
/// Where windows differ in width, as sessions do.
pub fn window_of_row(input: &Built, window: Window) -> EngineResult<Expr> {
    let Window::Sliding { width, .. } = window else {
        return plan_err!(
            "can't reinvoke session window in nested aggregates. Need to pass the window struct up \
             from the source query."
        );
    };
    let start = timestamp(input.plan.schema())?;
    let width = ScalarValue::IntervalMonthDayNano(Some(
        arrow::datatypes::IntervalMonthDayNano::new(0, 0, width),
    ));
    let end = cast(start.clone() + Expr::Literal(width, None), instant());
    Ok(named_struct(vec![lit("start"), start, lit("end"), end]))
}

/// An aggregate whose rows carry the event time on.
///
/// # Errors
/// Where the engine cannot plan it.
pub fn aggregate(leaf: LogicalPlan, node: Aggregate) -> EngineResult<LogicalPlan> {
    let time = max(timestamp(leaf.schema())?).alias(TIMESTAMP);
    let mut aggregates = node.aggr_expr;
    aggregates.push(time);
    let made = Aggregate::try_new(Arc::new(leaf), node.group_expr, aggregates)?;
    // The names of before, whatever became of a key.
    let columns = made.schema.columns();
    let known = node.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.name()));
    let mut named: Vec<Expr> = columns
        .iter()
        .zip(known)
        .map(|(column, (relation, name))| {
            Expr::Column(column.clone()).alias_qualified(relation, name)
        })
        .collect();
    named.extend(columns.last().cloned().map(Expr::Column));
    let plan = Arc::new(LogicalPlan::Aggregate(made));
    Ok(LogicalPlan::Projection(Projection::try_new(named, plan)?))
}

/// A window function over rows of windows, partitioned by the window among others.
///
/// # Errors
/// Where it is not.
pub fn function(
    leaf: LogicalPlan,
    node: &WindowNode,
    fields: &[usize],
) -> EngineResult<LogicalPlan> {
    let [expression] = node.window_expr.as_slice() else {
        return plan_err!("Window functions require exactly one window expression");
    };
    let schema = Arc::clone(leaf.schema());
    let Expr::WindowFunction(function) = expression.clone().unalias() else {
        return plan_err!("Expect a window function, not {expression}");
    };
    let function = within(*function, &schema, fields)?;
    let made = LogicalPlanBuilder::from(leaf).window([Expr::from(function)])?.build()?;
    let value = made.schema().columns().pop();
    let (relation, field) = node.schema.qualified_field(node.schema.fields().len() - 1);
    let value =
        value.map(|value| Expr::Column(value).alias_qualified(relation.cloned(), field.name()));
    let (hidden, visible): (Vec<Column>, Vec<Column>) =
        schema.columns().into_iter().partition(|column| is_hidden(column.name()));
    let columns = visible.into_iter().map(Expr::Column).chain(value);
    let columns = columns.chain(hidden.into_iter().map(Expr::Column)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(made))?))
}

/// A window function with the window's first instant in place of the window, which the engine can
/// sort by.
fn within(
    mut function: WindowFunction,
    schema: &DFSchema,
    fields: &[usize],
) -> EngineResult<WindowFunction> {
    let mut windows = 0;
    for key in &mut function.params.partition_by {
        if let Expr::Column(column) = key.clone().unalias()
            && fields.contains(&schema.index_of_column(&column)?)
        {
            *key = timestamp(schema)?;
            windows += 1;
        }
    }
    if windows != 1 {
        return plan_err!("Window function requires exactly one window expression in partition_by");
    }
    Ok(function)
}

/// A join as a plan, and what has to be equal on either side.
pub struct Joined {
    pub query: Query,
    pub on: Vec<(Expr, Expr)>,
}

/// The columns of a join that hold the window.
pub fn joined_fields(sides: &[Built; 2], join_type: JoinType) -> Vec<usize> {
    let visible =
        |side: &Built| side.plan.schema().fields().len() - hidden(side.plan.schema()).len();
    let mut fields = sides[0].fields.clone();
    if !matches!(join_type, JoinType::LeftSemi | JoinType::LeftAnti) {
        fields.extend(sides[1].fields.iter().map(|at| at + visible(&sides[0])));
    }
    fields
}

/// A join of rows that are held: of one window, or within the time to live of each other.
///
/// # Errors
/// Where the engine cannot plan it.
pub fn join(
    sides: &mut [Built; 2],
    node: Join,
    windowed: bool,
    time_to_live: i64,
) -> EngineResult<Joined> {
    let [left, right] = sides;
    let (left_leaf, left_slot) = leaf(left.plan.schema(), Some("_left"), 0)?;
    let (right_leaf, right_slot) = leaf(right.plan.schema(), Some("_right"), 1)?;
    let times = ["_left", "_right"]
        .map(|side| Expr::Column(Column::new(Some(TableReference::bare(side)), TIMESTAMP)));
    let [left_time, right_time] = times.clone();
    // Two windows are the same where they begin together, which is required anyway.
    let of_window = |side: &Built, one: &Expr| match one {
        Expr::Column(column) => {
            Ok(side.fields.contains(&side.plan.schema().index_of_column(column)?))
        }
        _ => Ok::<_, datafusion::error::DataFusionError>(false),
    };
    let mut on = Vec::new();
    for (one, other) in node.on {
        if !(of_window(left, &one)? && of_window(right, &other)?) {
            on.push((one, other));
        }
    }
    let mut keys = on.clone();
    let mut filter = node.filter;
    if windowed {
        keys.push((left_time, right_time));
    } else {
        let told = [("_left", &*left), ("_right", &*right)].map(|(name, side)| told(side, name));
        let [left_told, right_told] = told;
        let mut near = within_time(left_time.clone(), right_time.clone(), time_to_live);
        for (time, told) in [(right_time, left_told), (left_time, right_told)] {
            let Some(told) = told else { continue };
            near = near.and(kept(time, told, time_to_live));
        }
        filter = Some(match filter {
            Some(filter) => filter.and(near),
            None => near,
        });
    }
    let made = Join::try_new(
        Arc::new(left_leaf),
        Arc::new(right_leaf),
        keys,
        filter,
        node.join_type,
        node.join_constraint,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    let semi = matches!(node.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
    let plan = with_time(made, times, windowed, semi)?;
    Ok(Joined { query: Query { plan, slots: vec![left_slot, right_slot] }, on })
}

/// A join with rows that are looked up; what is hidden is the left side's.
///
/// # Errors
/// Where the engine cannot plan it.
pub fn lookup(left: &Built, right: &Built, node: Join) -> EngineResult<Query> {
    let (left_leaf, left_slot) = leaf(left.plan.schema(), Some("_left"), 0)?;
    let (right_leaf, right_slot) = leaf(right.plan.schema(), None, 1)?;
    let made = Join::try_new(
        Arc::new(left_leaf),
        Arc::new(right_leaf),
        node.on,
        node.filter,
        node.join_type,
        node.join_constraint,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    let columns = made.schema.columns().into_iter();
    let (hidden, visible): (Vec<_>, Vec<_>) = columns.partition(|column| is_hidden(column.name()));
    let hidden = hidden.into_iter().map(|column| {
        let name = column.name.clone();
        Expr::Column(column).alias(name)
    });
    let columns = visible.into_iter().map(Expr::Column).chain(hidden).collect();
    let made = Arc::new(LogicalPlan::Join(made));
    let plan = LogicalPlan::Projection(Projection::try_new(columns, made)?);
    Ok(Query { plan, slots: vec![left_slot, right_slot] })
}

/// Whether two rows are no further from each other than they are kept.
fn within_time(left: Expr, right: Expr, time_to_live: i64) -> Expr {
    use arrow::datatypes::DataType;
    let apart = cast(left, DataType::Int64) - cast(right, DataType::Int64);
    apart.clone().lt_eq(lit(time_to_live)).and(apart.gt_eq(lit(-time_to_live)))
}

/// How far the partition of a side's row had told time before it, where that is known.
fn told(side: &Built, relation: &str) -> Option<Expr> {
    let knows = hidden(side.plan.schema()).iter().any(|column| column.name() == WATERMARK);
    knows.then(|| Expr::Column(Column::new(Some(TableReference::bare(relation)), WATERMARK)))
}

/// Whether a row of that time is still kept for a row of the other side, by what that one's own
/// partition had told. So a late row meets the same rows however records come in batches, and whenever
/// rows that are past their time are let go of.
fn kept(time: Expr, told: Expr, time_to_live: i64) -> Expr {
    use arrow::datatypes::DataType;
    let from = cast(told.clone(), DataType::Int64) - lit(time_to_live);
    told.is_null().or(cast(time, DataType::Int64).gt_eq(from))
}

/// The joined rows with one event time: of the window, or the later one.
fn with_time(
    made: Join,
    [left, right]: [Expr; 2],
    windowed: bool,
    semi: bool,
) -> EngineResult<LogicalPlan> {
    let time = if semi {
        left
    } else if windowed {
        coalesce(vec![left, right])
    } else {
        when(left.clone().gt_eq(right.clone()), left).otherwise(right)?
    };
    let columns = made.schema.columns().into_iter().filter(|column| !is_hidden(column.name()));
    let columns = columns.map(Expr::Column).chain([time.alias(TIMESTAMP)]).collect();
    let made = Arc::new(LogicalPlan::Join(made));
    Ok(LogicalPlan::Projection(Projection::try_new(columns, made)?))
}
