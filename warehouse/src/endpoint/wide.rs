//! Rows that stand beside others, within bounds.
//!
//! What the parts of a plan gather counts against a statement's memory, but not what they make of one batch: a join
//! puts a row beside as many others as a batch has, a constant and a subquery's answer stand in every row, and so does
//! what stands beside a list that becomes rows. Of a list of a megabyte such a batch is larger than a machine, and
//! where memory cannot be had the process ends, tills included. So what stands beside many is narrow, fewer rows are
//! worked on at once where lists stand there, and the rows that a window keeps count, with what it answers for each.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{
        Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition},
    physical_expr::{
        PhysicalExpr, expressions::Literal, scalar_subquery::ScalarSubqueryExpr, window::WindowExpr,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        SendableRecordBatchStream,
        aggregates::AggregateExec,
        filter::FilterExec,
        recursive_query::RecursiveQueryExec,
        replace_children_if_necessary,
        scalar_subquery::ScalarSubqueryExec,
        stream::RecordBatchStreamAdapter,
        union::{InterleaveExec, UnionExec},
        unnest::UnnestExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::{StreamExt, stream};

use widths::{fixed, least, widen, widest, widths};

mod widths;

/// How many bytes a batch may have, of what stands beside its rows.
const BATCH: usize = 256 << 20;
/// Rows that are worked on at once where lists, or texts that were gathered, stand beside others.
const FEW: usize = 1_024;
/// Constants of more bytes than any number of rows may have.
const WIDE: usize = 8 << 10;
/// Aggregates whose answer is all that they have seen.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// Refuses aggregates that gather where they answer for each row: of a hundred thousand rows the answers have ten
/// thousand million items.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|part| part.apply_expressions(|root| root.apply(is_bounded)))?;
    Ok(())
}

fn is_bounded(expr: &Expr) -> Result<TreeNodeRecursion> {
    if let Expr::WindowFunction(window) = expr
        && let WindowFunctionDefinition::AggregateUDF(of) = &window.fun
        && GATHERING.contains(&of.name())
    {
        let text = format!("{} is not supported over a window: use GROUP BY", of.name());
        return Err(DataFusionError::Plan(text));
    }
    Ok(TreeNodeRecursion::Continue)
}

/// How many rows of a plan are worked on at once: fewer where lists, or texts that were gathered, stand beside others,
/// or a wide constant in each.
pub(super) fn at_once(plan: &Arc<dyn ExecutionPlan>, usually: usize) -> Result<usize> {
    let mut at_once = usually;
    plan.apply(|part| {
        if let Some(beside) = Beside::of(part)
            && beside.has_lists(part)?
        {
            at_once = at_once.min(FEW);
        }
        let constants = Constants::of(part)?;
        if constants.widest > WIDE {
            at_once = at_once.min(BATCH / constants.widest).max(1);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(at_once)
}

/// A part of a plan that makes no batch too large, where so many rows are worked on at once.
pub(super) fn narrow(
    part: Arc<dyn ExecutionPlan>,
    at_once: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let constants = Constants::of(&part)?;
    let part = match constants.widest > WIDE || constants.is_asked {
        true => over_inputs(&part, |_, input| careful(input, Care::Rows(at_once)))?,
        false => part,
    };
    if let Some(of) = functions(&part) {
        return Ok(careful(part, Care::Window(of)));
    }
    // It puts together as many rows as it was planned with.
    if let Some(filter) = part.downcast_ref::<FilterExec>() {
        let most = filter.batch_size().min(at_once);
        return Ok(Arc::new(filter.with_batch_size(most)?));
    }
    match Beside::of(&part) {
        Some(beside) => beside.narrow(&part, at_once),
        None => Ok(part),
    }
}

/// What a window answers with; none where a part is no window.
fn functions(part: &Arc<dyn ExecutionPlan>) -> Option<Vec<Arc<dyn WindowExpr>>> {
    let all = part.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr);
    let running =
        || part.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    Some(all.or_else(running)?.to_vec())
}

/// A part with something over each of its inputs.
fn over_inputs(
    part: &Arc<dyn ExecutionPlan>,
    over: impl Fn(usize, Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = part.children().into_iter().enumerate();
    let inputs: Vec<_> = inputs.map(|(at, input)| over(at, Arc::clone(input))).collect();
    match inputs.is_empty() {
        true => Ok(Arc::clone(part)),
        false => replace_children_if_necessary(Arc::clone(part), inputs),
    }
}

/// What a part may put into every row.
#[derive(Clone, Copy, Debug, Default)]
struct Constants {
    /// How many bytes the widest constant has.
    widest: usize,
    /// Whether a subquery's answer is among them, which may be as wide as rows may be.
    is_asked: bool,
}

impl Constants {
    fn of(part: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let (mut constants, none) = (Self::default(), Schema::empty());
        part.apply_expressions(&mut |root: &Arc<dyn PhysicalExpr>| {
            root.apply(|expr| {
                if let Some(constant) = expr.downcast_ref::<Literal>() {
                    constants.widest = constants.widest.max(constant.value().size());
                }
                if let Some(asked) = expr.downcast_ref::<ScalarSubqueryExpr>() {
                    let answer = asked.return_field(&none)?;
                    constants.is_asked |= fixed(answer.data_type()).is_none();
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(constants)
    }
}

/// A part of a plan that puts the rows of its inputs beside others.
struct Beside {
    /// Its first input that it does so with.
    first: usize,
    /// Columns whose lists become the rows that the others of their row stand beside.
    lists: Vec<usize>,
}

impl Beside {
    fn of(part: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        if let Some(unnest) = part.downcast_ref::<UnnestExec>() {
            let lists = unnest.list_column_indices().iter();
            let lists: Vec<_> = lists.map(|list| list.index_in_input_schema).collect();
            return (!lists.is_empty()).then_some(Self { first: 0, lists });
        }
        let goes_through = part.is::<UnionExec>()
            || part.is::<InterleaveExec>()
            || part.is::<RecursiveQueryExec>();
        // What is asked for subqueries goes through, before their answers.
        let first = usize::from(part.is::<ScalarSubqueryExec>());
        (part.children().len() > 1 && !goes_through).then_some(Self { first, lists: Vec::new() })
    }

    /// Whether some column of an input, but for those whose lists become rows, is of a kind.
    fn any(&self, input: &Arc<dyn ExecutionPlan>, is_meant: impl Fn(&DataType) -> bool) -> bool {
        let schema = input.schema();
        let mut columns = schema.fields().iter().enumerate();
        columns.any(|(at, field)| !self.lists.contains(&at) && is_meant(field.data_type()))
    }

    /// Whether lists, or texts that were gathered, stand beside others.
    fn has_lists(&self, part: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        for input in part.children().into_iter().skip(self.first) {
            let gathers = input.exists(|part| Ok(gathers(part)))?;
            if self.any(input, |of| of.is_nested() || (gathers && fixed(of).is_none())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The part, with no row of its inputs so wide that a batch of it is too large.
    fn narrow(
        self,
        part: &Arc<dyn ExecutionPlan>,
        at_once: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let may_be_wide =
            |input: &Arc<dyn ExecutionPlan>| self.any(input, |of| fixed(of).is_none());
        if !part.children().into_iter().skip(self.first).any(may_be_wide) {
            return Ok(Arc::clone(part));
        }
        over_inputs(part, |at, input| {
            if at < self.first {
                return input;
            }
            let is_checked = may_be_wide(&input);
            // Of the right side of a join a row of the left one meets a whole batch. What is kept of the left one
            // is not cut: the memory of each piece would count as that of the whole.
            let input = match at {
                0 => input,
                _ => careful(input, Care::Rows(at_once)),
            };
            match is_checked {
                true => careful(input, Care::Beside(at_once, self.lists.clone())),
                false => input,
            }
        })
    }
}

fn gathers(part: &Arc<dyn ExecutionPlan>) -> bool {
    let gathers = |of: &AggregateExec| {
        of.aggr_expr().iter().any(|aggregate| GATHERING.contains(&aggregate.fun().name()))
    };
    part.downcast_ref::<AggregateExec>().is_some_and(gathers)
}

/// How the batches of a part are handed on.
#[derive(Clone, Debug)]
enum Care {
    /// At most so many rows at once.
    Rows(usize),
    /// No row that is too wide to stand beside so many others, or as many as the lists in these columns have items.
    Beside(usize, Vec<usize>),
    /// A window of these functions, of which the rows count that it keeps.
    Window(Vec<Arc<dyn WindowExpr>>),
    /// A window keeps them.
    Kept(Arc<Kept>),
}

impl Care {
    fn pieces(&self, batch: Result<RecordBatch>) -> Vec<Result<RecordBatch>> {
        match (self, batch) {
            (Self::Rows(most), Ok(batch)) if batch.num_rows() > *most => {
                let rows = batch.num_rows();
                let starts = (0..rows).step_by(*most);
                starts.map(|start| Ok(batch.slice(start, (rows - start).min(*most)))).collect()
            }
            (Self::Beside(at_once, lists), Ok(batch)) => {
                vec![are_narrow(&batch, *at_once, lists).map(|()| batch)]
            }
            (Self::Kept(kept), Ok(batch)) => vec![kept.count(&batch).map(|()| batch)],
            (_, batch) => vec![batch],
        }
    }
}

/// Refuses a row that is too wide to stand beside so many others, or as many as lists have items.
fn are_narrow(batch: &RecordBatch, at_once: usize, lists: &[usize]) -> Result<()> {
    let mut items = vec![0; batch.num_rows()];
    for list in lists {
        let column = batch.column(*list);
        let (mut bytes, least) = (vec![0; items.len()], least(column.data_type()));
        widen(&mut bytes, column);
        items.iter_mut().zip(bytes).for_each(|(items, bytes)| *items += bytes / least);
    }
    for (width, items) in widths(batch, |at| !lists.contains(&at)).into_iter().zip(items) {
        let times = items.max(at_once);
        if width.saturating_mul(times) > BATCH {
            let text = format!(
                "a row of {width} bytes is too wide to stand beside {times} others: take less of \
                 a list or a text, or gather it last"
            );
            return Err(DataFusionError::ResourcesExhausted(text));
        }
    }
    Ok(())
}

/// The rows that a window keeps, and what it will answer for each, as memory of its statement.
#[derive(Debug)]
struct Kept {
    of: Vec<Arc<dyn WindowExpr>>,
    reservation: MemoryReservation,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    rows: usize,
    bytes: usize,
    /// The most that each function answers with for one row: as much as it was asked with.
    answers: Vec<usize>,
}

impl Kept {
    fn new(of: &[Arc<dyn WindowExpr>], reservation: MemoryReservation) -> Self {
        let held = Held { answers: vec![0; of.len()], ..Held::default() };
        Self { of: of.to_vec(), reservation, held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, batch: &RecordBatch) -> Result<()> {
        let mut held = self.held();
        held.rows += batch.num_rows();
        held.bytes += widths(batch, |_| true).into_iter().sum::<usize>();
        for (of, answer) in self.of.iter().zip(&mut held.answers) {
            if let Some(bytes) = fixed(of.field()?.data_type()) {
                *answer = bytes;
                continue;
            }
            for asked in of.evaluate_args(batch)? {
                *answer = widest(&asked).max(*answer);
            }
        }
        self.reservation.try_resize(held.size())
    }

    /// Lets go of rows that have their answers.
    fn answered(&self, rows: usize) {
        let mut held = self.held();
        let rows = rows.min(held.rows);
        let bytes = held.bytes.saturating_mul(rows).checked_div(held.rows).unwrap_or(0);
        held.rows -= rows;
        held.bytes -= bytes.min(held.bytes);
        self.reservation.resize(held.size());
    }
}

impl Held {
    /// All of it twice: as it comes, and put together.
    fn size(&self) -> usize {
        let answers = self.rows.saturating_mul(self.answers.iter().sum());
        self.bytes.saturating_add(answers).saturating_mul(2)
    }
}

/// A part of a plan whose batches are handed on with care.
#[derive(Debug)]
struct Careful {
    part: Arc<dyn ExecutionPlan>,
    care: Care,
}

fn careful(part: Arc<dyn ExecutionPlan>, care: Care) -> Arc<dyn ExecutionPlan> {
    Arc::new(Careful { part, care })
}

impl Careful {
    /// Runs a window whose rows are counted.
    fn window(
        &self,
        of: &[Arc<dyn WindowExpr>],
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("a window").register(context.memory_pool());
        let kept = Arc::new(Kept::new(of, reservation));
        let window =
            over_inputs(&self.part, |_, input| careful(input, Care::Kept(Arc::clone(&kept))))?;
        let answers = window.execute(partition, context)?;
        let schema = answers.schema();
        // One that has to see all rows before it answers keeps them until it ends.
        let lets_go = self.part.is::<BoundedWindowAggExec>();
        let answers = answers.inspect(move |answer| {
            if let (Ok(batch), true) = (answer, lets_go) {
                kept.answered(batch.num_rows());
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, answers)))
    }
}

impl DisplayAs for Careful {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Careful")
    }
}

impl ExecutionPlan for Careful {
    fn name(&self) -> &'static str {
        "Careful"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.part.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.part]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { part: children.swap_remove(0), care: self.care.clone() }))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { part: children.swap_remove(0), care: self.care.clone() }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if let Care::Window(of) = &self.care {
            return self.window(of, partition, context);
        }
        let batches = self.part.execute(partition, context)?;
        let (schema, care) = (batches.schema(), self.care.clone());
        let pieces = batches.flat_map(move |batch| stream::iter(care.pieces(batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pieces)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::{
        widths::tests::{lists, texts},
        *,
    };

    fn batch<const N: usize>(columns: [ArrayRef; N]) -> RecordBatch {
        let columns = columns.into_iter().enumerate().map(|(at, of)| (at.to_string(), of));
        RecordBatch::try_from_iter(columns).expect("a batch")
    }

    #[test]
    fn rows_are_handed_on_few_at_once_and_one_too_wide_is_refused() {
        let rows = |care: &Care, batch: RecordBatch| -> Vec<Option<usize>> {
            let pieces = care.pieces(Ok(batch)).into_iter();
            pieces.map(|piece| piece.ok().map(|piece| piece.num_rows())).collect()
        };
        let numbers = || batch([Arc::new(Int64Array::from(vec![1; 10])) as ArrayRef]);
        assert_eq!(rows(&Care::Rows(10), numbers()), [Some(10)]);
        assert_eq!(rows(&Care::Rows(4), numbers()), [Some(4), Some(4), Some(2)]);
        // Of a thousand rows none is wider than a thousandth of a batch.
        let (beside, most) = (Care::Beside(1_000, Vec::new()), BATCH / 1_000 / 8);
        assert_eq!(rows(&beside, batch([lists(&[1, most / 2])])), [Some(2)]);
        assert_eq!(rows(&beside, batch([lists(&[1, most])])), [None]);
        // A list of a thousand stands beside nothing, whatever its items have.
        let beside = Care::Beside(1, vec![0]);
        assert_eq!(rows(&beside, batch([lists(&[1_000]), texts(&[most])])), [Some(1)]);
        assert_eq!(rows(&beside, batch([lists(&[1_000]), texts(&[most * 8])])), [None]);
    }

    #[test]
    fn rows_of_a_window_count_until_they_are_answered() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1_000));
        let kept = Kept::new(&[], MemoryConsumer::new("a window").register(&pool));
        let numbers = batch([Arc::new(Int64Array::from(vec![1; 10])) as ArrayRef]);
        for reserved in [160, 320, 480] {
            kept.count(&numbers).expect("there is as much");
            assert_eq!(pool.reserved(), reserved);
        }
        kept.answered(20);
        assert_eq!(pool.reserved(), 160);
        for _ in 0..5 {
            kept.count(&numbers).expect("there is as much");
        }
        assert!(kept.count(&numbers).is_err());
        kept.answered(100);
        assert_eq!(pool.reserved(), 0);
    }
}
