//! Joins: of windows, of rows within a time of each other, and with rows that are looked up.

use std::sync::Arc;

use datafusion::{
    common::{JoinType, Result as EngineResult, not_impl_err, plan_err},
    logical_expr::Join,
};

use super::{Built, Draft, Origin, Tables, Work, origin_of, over, owned};
use crate::planner::window::Window;

impl Draft {
    pub(super) fn join(&mut self, tables: &dyn Tables, node: Join) -> EngineResult<Built> {
        let left = self.build(tables, owned(Arc::clone(&node.left)))?;
        let right = self.with_lookups(tables, owned(Arc::clone(&node.right)))?;
        if right.lookup {
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

    /// Rows with the newest row of a lookup table that has the same key.
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
        let reads = [self.close(left), self.close(right)];
        let output = Arc::clone(query.plan.schema());
        // What is looked up tells no time, so it counts as no input of its own.
        let into = self.add(Work::Lookup { query, on, sides }, 1);
        for (input, origin) in reads.into_iter().enumerate() {
            self.connect(origin, (into, input));
        }
        let mut built = origin_of(Origin::Node(into), &output)?;
        (built.window, built.fields) = (window, fields);
        Ok(built)
    }
}
