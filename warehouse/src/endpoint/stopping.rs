//! Plans that can be stopped.
//!
//! A task ends where it gives way, and a part of a plan does so between two batches. A join that compares all rows
//! of a batch with millions of others, and finds none that fit, has no next batch for hours: it would keep a thread
//! and its memory long after its statement was stopped, and whoever asks next would wait for that thread. So what
//! such a join evaluates for every few thousand rows fails when the answer is not wanted any more.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Weak},
};

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, Schema},
};
use datafusion::{
    common::{
        JoinType, Result,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::lit},
    physical_plan::{
        ExecutionPlan,
        coop::CooperativeExec,
        joins::{
            HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
            utils::JoinFilter,
        },
    },
};
use tokio::time::Instant;

use super::wide::narrow;

/// By whom an answer is wanted, and until when.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Held by whoever waits for it.
    pub(super) by: Weak<()>,
    pub(super) until: Instant,
}

impl Wanted {
    fn is_over(&self) -> bool {
        self.by.strong_count() == 0 || Instant::now() >= self.until
    }
}

/// A plan of which every part gives way now and then and makes no batch too large, where so many rows are worked on at
/// once, and whose joins end when it is not wanted any more.
pub(super) fn stoppable(
    plan: Arc<dyn ExecutionPlan>,
    wanted: &Wanted,
    at_once: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|part| {
        let part = narrow(part, at_once)?;
        Ok(match part.children().is_empty() {
            // What reads gives way already.
            true => Transformed::no(part),
            false => Transformed::yes(Arc::new(CooperativeExec::new(ending(part, wanted)?))),
        })
    });
    Ok(wrapped?.data)
}

/// A join that ends when it is not wanted any more; other parts as they are.
fn ending(part: Arc<dyn ExecutionPlan>, wanted: &Wanted) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = part.downcast_ref::<NestedLoopJoinExec>() {
        let filter = while_wanted(join.filter(), wanted);
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
        return Ok(Arc::new(join));
    }
    if let Some(join) = part.downcast_ref::<HashJoinExec>()
        && (join.filter().is_some() || tells_existence(*join.join_type()))
    {
        let filter = while_wanted(join.filter(), wanted);
        return HashJoinExecBuilder::from(join).with_filter(Some(filter)).build_exec();
    }
    Ok(part)
}

/// Whether a join tells only whether there is anything (`EXISTS`, `IN`): it goes through as many rows without a
/// condition, and tells nothing meanwhile, where another one gives what it finds.
const fn tells_existence(join: JoinType) -> bool {
    match join {
        JoinType::LeftSemi
        | JoinType::RightSemi
        | JoinType::LeftAnti
        | JoinType::RightAnti
        | JoinType::LeftMark
        | JoinType::RightMark => true,
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => false,
    }
}

/// The condition of a join, which may have none.
fn while_wanted(filter: Option<&JoinFilter>, wanted: &Wanted) -> JoinFilter {
    let any = || JoinFilter::new(lit(true), Vec::new(), Arc::new(Schema::empty()));
    let filter = filter.cloned().unwrap_or_else(any);
    let condition = WhileWanted { of: Arc::clone(filter.expression()), wanted: wanted.clone() };
    let (columns, schema) = (filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    JoinFilter::new(Arc::new(condition), columns, schema)
}

/// A condition that fails when its answer is not wanted any more.
#[derive(Debug)]
struct WhileWanted {
    of: Arc<dyn PhysicalExpr>,
    wanted: Wanted,
}

impl PartialEq for WhileWanted {
    fn eq(&self, other: &Self) -> bool {
        self.of.eq(&other.of)
    }
}

impl Eq for WhileWanted {}

impl Hash for WhileWanted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
    }
}

impl fmt::Display for WhileWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.of, f)
    }
}

impl PhysicalExpr for WhileWanted {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.wanted.is_over() {
            let text = "the answer is not wanted any more";
            return Err(DataFusionError::Execution(text.to_owned()));
        }
        self.of.evaluate(batch)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.of.return_field(input)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.of]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { of: children.swap_remove(0), wanted: self.wanted.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt_sql(f)
    }
}
