//! Joins: of windows, of rows within a time of each other, and with rows that are looked up.

use std::sync::Arc;

use datafusion::{
    common::{Column, DFSchemaRef, JoinType, Result as EngineResult, not_impl_err, plan_err},
    logical_expr::{Expr, Join, LogicalPlan},
};

use super::{Built, Draft, Origin, Query, Tables, Work, origin_of, over, owned};
use crate::planner::window::Window;

/// A table in which rows are looked up.
#[derive(Clone, Debug)]
pub struct LookedUp {
    /// Its PRIMARY KEY.
    pub key: Vec<String>,
    /// Whether it is asked for each row, and does not come as rows itself.
    pub outside: bool,
}

/// A join with rows that are looked up.
#[derive(Debug)]
pub struct Lookup {
    pub query: Query,
    pub on: Vec<(Expr, Expr)>,
    pub sides: [DFSchemaRef; 2],
    /// What is done to the rows of a table that is asked for them.
    pub outside: Option<Query>,
}

impl Draft {
    pub(super) fn join(&mut self, tables: &dyn Tables, node: Join) -> EngineResult<Built> {
        let left = self.build(tables, owned(Arc::clone(&node.left)))?;
        let right = self.with_lookups(tables, owned(Arc::clone(&node.right)))?;
        if let Some(table) = &right.lookup {
            check_key(&table.key, &right.plan, &node.on)?;
            return self.lookup(left, right, node);
        }
        let window = match (left.window, right.window) {
            (None, None) if node.join_type != JoinType::Inner => {
                return not_impl_err!("can't handle non-inner joins without windows");
            }
            (None, Some(_)) => {
                return not_impl_err!(
                    "can't handle mixed windowing between left (non-windowed) \
                                      and right (windowed)."
                );
            }
            (Some(_), None) => {
                return not_impl_err!(
                    "can't handle mixed windowing between left (windowed) and \
                                      right (non-windowed)."
                );
            }
            (Some(Window::Session { .. }), _) => {
                return not_impl_err!("can't handle session windows in joins");
            }
            (left, right) if left != right => {
                return not_impl_err!("can't handle mixed windowing between left and right");
            }
            (window, _) => window,
        };
        for (side, name) in [(&left, "left"), (&right, "right")] {
            if side.updating {
                return plan_err!("can't handle updating {name} side of join");
            }
        }
        let mut sides = [left, right];
        let schemas = [0, 1].map(|side| Arc::clone(sides[side].plan.schema()));
        let fields = over::joined_fields(&sides, node.join_type);
        let joined = over::join(&mut sides, node, window.is_some(), self.time_to_live)?;
        let [left, right] = sides;
        let reads = vec![self.close(left), self.close(right)];
        let mut built = if window.is_some() {
            self.held(joined.query, reads)?
        } else {
            if joined.on.is_empty() {
                return not_impl_err!("a join without windows needs an equality of both sides");
            }
            let output = Arc::clone(joined.query.plan.schema());
            let work = Work::Join { query: joined.query, on: joined.on, sides: schemas };
            self.node(work, reads, &output)?
        };
        (built.window, built.fields) = (window, fields);
        Ok(built)
    }

    /// Rows with the row of a lookup table that has the same key, the newest where there are several.
    fn lookup(&mut self, left: Built, right: Built, node: Join) -> EngineResult<Built> {
        if !matches!(node.join_type, JoinType::Inner | JoinType::Left) {
            return plan_err!("a lookup join is an inner or a left join");
        }
        if node.on.is_empty() {
            return plan_err!("a lookup join needs an equality of both sides");
        }
        if left.updating {
            return plan_err!("can't handle updating left side of join");
        }
        let (window, fields) = (left.window, left.fields.clone());
        let sides = [&left, &right].map(|side| Arc::clone(side.plan.schema()));
        let on = node.on.clone();
        let query = over::lookup(&left, &right, node)?;
        let left = self.close(left);
        let (right, outside) = if right.lookup.as_ref().is_some_and(|table| table.outside) {
            // Its rows come where they are asked for, so what is done to them is done there.
            (right.origin, Some(Query { plan: right.plan, slots: vec![right.slot] }))
        } else {
            (self.close(right), None)
        };
        let output = Arc::clone(query.plan.schema());
        // What is looked up tells no time, so it counts as no input of its own.
        let joined = Box::new(Lookup { query, on, sides, outside });
        let into = self.add(Work::Lookup(joined), 1);
        for (input, origin) in [left, right].into_iter().enumerate() {
            self.connect(origin, (into, input));
        }
        let mut built = origin_of(Origin::Node(into), &output)?;
        (built.window, built.fields) = (window, fields);
        Ok(built)
    }
}

/// Rows are looked up by the PRIMARY KEY of their table, where it declares one: by another column the
/// newest row of each value would be met, whatever its key.
fn check_key(key: &[String], right: &LogicalPlan, on: &[(Expr, Expr)]) -> EngineResult<()> {
    if key.is_empty() {
        return Ok(());
    }
    for (_, looked_up) in on {
        let named = column(looked_up).and_then(|column| declared(right, column));
        if named.is_none_or(|named| !key.contains(named)) {
            return plan_err!(
                "the right-side of a look-up join condition must be a PRIMARY KEY column, but \
                 '{looked_up}' is not"
            );
        }
    }
    Ok(())
}

/// The column that an expression is, whatever it is called or cast to.
fn column(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column(&alias.expr),
        Expr::Cast(cast) => column(&cast.expr),
        _ => None,
    }
}

/// What a column of a plan without state is called in its table, if it is one of that.
fn declared<'a>(plan: &'a LogicalPlan, named: &Column) -> Option<&'a String> {
    let at = plan.schema().index_of_column(named).ok()?;
    match plan {
        LogicalPlan::Projection(node) if matches!(*node.input, LogicalPlan::TableScan(_)) => {
            Some(plan.schema().field(at).name())
        }
        LogicalPlan::Projection(node) => declared(&node.input, column(node.expr.get(at)?)?),
        LogicalPlan::Filter(node) => declared(&node.input, named),
        LogicalPlan::SubqueryAlias(node) => {
            let below = node.input.schema().qualified_field(at);
            declared(&node.input, &Column::from(below))
        }
        _ => None,
    }
}
