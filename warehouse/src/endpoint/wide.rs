//! Rows that stand beside others, within bounds.
//!
//! What the parts of a plan gather counts against a statement's memory, but not what they make of one batch: a join
//! puts a row beside as many others as a batch has, a constant and a subquery's answer stand in every row, and so does
//! what stands beside a list that becomes rows. Of a list of a megabyte such a batch is larger than a machine, and
//! where memory cannot be had the process ends, tills included. So what stands beside many is narrow, fewer rows are
//! worked on at once where any may be wide, and the rows that a window keeps count, with what it answers for each.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch},
    compute::{cast, kernels::length::length, max, sum},
    datatypes::{DataType, Int64Type, Schema},
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

/// How many bytes a batch may have, of what stands beside its rows.
const BATCH: usize = 128 << 20;
/// Rows that are worked on at once where any may be wide.
const FEW: usize = 512;
/// What a value takes beside its bytes, and the least that a window answers with.
const VALUE: usize = 16;
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

/// How many rows of a plan are worked on at once: few where lists, or texts that are gathered, make rows wide.
pub(super) fn at_once(plan: &Arc<dyn ExecutionPlan>, usually: usize) -> Result<usize> {
    Ok(if plan.exists(|part| Ok(is_wide(part)))? { usually.min(FEW) } else { usually })
}

fn is_wide(part: &Arc<dyn ExecutionPlan>) -> bool {
    let gathers = |of: &AggregateExec| {
        of.aggr_expr().iter().any(|aggregate| GATHERING.contains(&aggregate.fun().name()))
    };
    part.downcast_ref::<AggregateExec>().is_some_and(gathers)
        || part.schema().fields().iter().any(|field| field.data_type().is_nested())
}

/// A part of a plan that makes no batch too large, where so many rows are worked on at once.
pub(super) fn narrow(
    part: Arc<dyn ExecutionPlan>,
    at_once: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = part.children().len();
    let window = part.downcast_ref::<WindowAggExec>().map(|of| of.window_expr().to_vec());
    let constants = Constants::of(&part)?;
    if constants.widest > BATCH / at_once && (inputs != 1 || window.is_some()) {
        return Err(too_wide(BATCH / at_once));
    }
    if let Some(of) = window {
        return Ok(Arc::new(Careful { part, care: Care::Window(of, at_once) }));
    }
    let care = if let Some(unnest) = part.downcast_ref::<UnnestExec>() {
        let lists = unnest.list_column_indices().iter();
        Some(Care::Lists(lists.map(|list| list.index_in_input_schema).collect()))
    } else if inputs > 1 || part.is::<BoundedWindowAggExec>() {
        (!goes_through(&part)).then_some(Care::Beside(at_once))
    } else {
        constants.rows(at_once).map(Care::Rows)
    };
    let Some(care) = care else { return Ok(part) };
    // The first input of what asks subqueries goes through.
    let first = usize::from(part.is::<ScalarSubqueryExec>());
    let children = part.children().into_iter().enumerate().map(|(at, child)| {
        let part = Arc::clone(child);
        if at < first {
            return part;
        }
        Arc::new(Careful { part, care: care.clone() }) as Arc<dyn ExecutionPlan>
    });
    let children = children.collect();
    replace_children_if_necessary(part, children)
}

/// Whether a part with several inputs puts the rows of none beside another's.
fn goes_through(part: &Arc<dyn ExecutionPlan>) -> bool {
    part.is::<UnionExec>() || part.is::<InterleaveExec>() || part.is::<RecursiveQueryExec>()
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
        let mut constants = Self::default();
        part.apply_expressions(&mut |root: &Arc<dyn PhysicalExpr>| {
            root.apply(|expr| {
                if let Some(constant) = expr.downcast_ref::<Literal>() {
                    constants.widest = constants.widest.max(constant.value().size());
                }
                if let Some(asked) = expr.downcast_ref::<ScalarSubqueryExpr>() {
                    let field = asked.return_field(&Schema::empty())?;
                    constants.is_asked |= field.data_type().primitive_width().is_none();
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(constants)
    }

    /// How many rows they may stand in at once, where that has to be looked at.
    fn rows(self, at_once: usize) -> Option<usize> {
        let few = BATCH / self.widest.max(1);
        match few < at_once {
            true => Some(few.max(1)),
            false => self.is_asked.then_some(at_once),
        }
    }
}

/// How the batches of a part are handed on.
#[derive(Clone, Debug)]
enum Care {
    /// So many rows at once.
    Rows(usize),
    /// So many rows at once, none of them wider than as many may be.
    Beside(usize),
    /// The lists of these columns become rows: so many at once as make one batch.
    Lists(Vec<usize>),
    /// A window of these functions, to which so many rows are handed at once.
    Window(Vec<Arc<dyn WindowExpr>>, usize),
    /// A window keeps them.
    Kept(Arc<Kept>),
}

impl Care {
    fn pieces(&self, batch: Result<RecordBatch>) -> Vec<Result<RecordBatch>> {
        let mut pieces = Vec::new();
        let done = batch.and_then(|batch| self.cut(batch, &mut pieces));
        pieces.into_iter().map(Ok).chain(done.err().map(Err)).collect()
    }

    /// Cuts a batch into halves until each of them fits.
    fn cut(&self, batch: RecordBatch, pieces: &mut Vec<RecordBatch>) -> Result<()> {
        let rows = batch.num_rows();
        if self.fits(&batch)? {
            if let Self::Kept(kept) = self {
                kept.count(&batch)?;
            }
            pieces.push(batch);
            return Ok(());
        }
        if rows < 2 {
            return Err(too_wide(match self {
                Self::Beside(at_once) => BATCH / at_once,
                _ => BATCH,
            }));
        }
        self.cut(batch.slice(0, rows / 2), pieces)?;
        self.cut(batch.slice(rows / 2, rows - rows / 2), pieces)
    }

    fn fits(&self, batch: &RecordBatch) -> Result<bool> {
        let rows = batch.num_rows();
        Ok(match self {
            Self::Rows(most) => rows <= *most,
            Self::Beside(at_once) => rows <= *at_once && width(batch, |_| true)? <= BATCH / at_once,
            Self::Lists(lists) => {
                let items: usize = lists.iter().map(|list| items(batch.column(*list))).sum();
                let beside = width(batch, |column| !lists.contains(&column))?;
                items.saturating_mul(beside) <= BATCH
            }
            Self::Window(..) => true,
            Self::Kept(kept) => rows <= kept.at_once,
        })
    }
}

fn too_wide(most: usize) -> DataFusionError {
    let text = format!(
        "a list or a text is too wide to stand beside many rows, which {} KiB may: take less of \
         it, or gather it last",
        most >> 10
    );
    DataFusionError::ResourcesExhausted(text)
}

/// The rows that a window keeps, and what it will answer for each, as memory of its statement.
#[derive(Debug)]
struct Kept {
    of: Vec<Arc<dyn WindowExpr>>,
    at_once: usize,
    reservation: MemoryReservation,
    so_far: Mutex<SoFar>,
}

#[derive(Debug)]
struct SoFar {
    rows: usize,
    bytes: usize,
    /// The most that each function was asked with for one row, and so the most that it answers with.
    widest: Vec<usize>,
}

impl Kept {
    fn count(&self, batch: &RecordBatch) -> Result<()> {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let SoFar { rows, bytes, widest } = &mut *so_far;
        *rows += batch.num_rows();
        for column in batch.columns() {
            *bytes += Size::of(column)?.total;
        }
        for (of, widest) in self.of.iter().zip(widest.iter_mut()) {
            for asked in of.evaluate_args(batch)? {
                *widest = Size::of(&asked)?.widest.max(*widest);
            }
        }
        let answers = rows.saturating_mul(widest.iter().sum());
        // All of it twice: as it comes, and put together.
        self.reservation.try_resize(bytes.saturating_add(answers).saturating_mul(2))
    }
}

/// A part of a plan whose batches are handed on with care.
#[derive(Debug)]
struct Careful {
    part: Arc<dyn ExecutionPlan>,
    care: Care,
}

impl Careful {
    /// Runs a window whose rows are counted until its answer has been taken: it lets go of them before it answers.
    fn window(
        &self,
        of: &[Arc<dyn WindowExpr>],
        at_once: usize,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let so_far = SoFar { rows: 0, bytes: 0, widest: vec![VALUE; of.len()] };
        let kept = Arc::new(Kept {
            of: of.to_vec(),
            at_once,
            reservation: MemoryConsumer::new("a window").register(context.memory_pool()),
            so_far: Mutex::new(so_far),
        });
        let children = self.part.children().into_iter().map(|child| {
            let care = Care::Kept(Arc::clone(&kept));
            Arc::new(Self { part: Arc::clone(child), care }) as Arc<dyn ExecutionPlan>
        });
        let window = replace_children_if_necessary(Arc::clone(&self.part), children.collect())?;
        let answers = window.execute(partition, context)?;
        let schema = answers.schema();
        let answers = answers.inspect(move |_| {
            let _counted = &kept;
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
        if let Care::Window(of, at_once) = &self.care {
            return self.window(of, *at_once, partition, context);
        }
        let batches = self.part.execute(partition, context)?;
        let (schema, care) = (batches.schema(), self.care.clone());
        let pieces = batches.flat_map(move |batch| stream::iter(care.pieces(batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pieces)))
    }
}

/// How many bytes a column has; a little more where that is quicker to say.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Its widest value.
    widest: usize,
    /// All of it.
    total: usize,
}

impl Size {
    fn of(column: &ArrayRef) -> Result<Self> {
        let rows = column.len();
        let each = |widest: usize| Self { widest, total: widest.saturating_mul(rows) };
        if let Some(inside) = inside(column) {
            let (longest, of) = (lengths(column)?.widest, Self::of(&inside)?);
            let widest = longest.saturating_mul(of.widest).min(of.total);
            return Ok(Self { widest: widest + VALUE, total: of.total + rows * VALUE });
        }
        Ok(match column.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => {
                let of = lengths(column)?;
                Self { widest: of.widest + VALUE, total: of.total + rows * VALUE }
            }
            DataType::Struct(_) => {
                let mut all = each(0);
                for part in column.as_struct().columns() {
                    let of = Self::of(part)?;
                    all = Self { widest: all.widest + of.widest, total: all.total + of.total };
                }
                all
            }
            DataType::Dictionary(..) => {
                each(Self::of(column.as_any_dictionary().values())?.widest + VALUE)
            }
            DataType::Null | DataType::Boolean => each(1),
            DataType::FixedSizeBinary(bytes) => each(usize::try_from(*bytes).unwrap_or(0)),
            other => match other.primitive_width() {
                Some(bytes) => each(bytes),
                // What is rare is taken for one value.
                None => {
                    let all = column.get_array_memory_size();
                    Self { widest: all, total: all }
                }
            },
        })
    }
}

/// The lengths of texts in bytes, of lists in items.
fn lengths(column: &ArrayRef) -> Result<Size> {
    let lengths = cast(&length(column)?, &DataType::Int64)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let known = |length: Option<i64>| usize::try_from(length.unwrap_or(0)).unwrap_or(0);
    Ok(Size { widest: known(max(lengths)), total: known(sum(lengths)) })
}

/// How wide a row of some columns is at most.
fn width(batch: &RecordBatch, is_meant: impl Fn(usize) -> bool) -> Result<usize> {
    let mut width = 0;
    for (at, column) in batch.columns().iter().enumerate() {
        if is_meant(at) {
            width += Size::of(column)?.widest;
        }
    }
    Ok(width)
}

/// The items of the lists in a column; none where it has no lists.
fn inside(column: &ArrayRef) -> Option<ArrayRef> {
    fn of<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> ArrayRef {
        let offsets = lists.value_offsets();
        let (from, to) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
        lists.values().slice(from, to - from)
    }
    match column.data_type() {
        DataType::List(_) => Some(of(column.as_list::<i32>())),
        DataType::LargeList(_) => Some(of(column.as_list::<i64>())),
        _ => None,
    }
}

/// How many rows the lists of a column may become.
fn items(column: &ArrayRef) -> usize {
    inside(column).map_or(column.len(), |inside| items(&inside).max(column.len()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, ListArray, StringArray, StringViewArray};

    use super::*;

    fn lists(of: &[usize]) -> ArrayRef {
        let items = |items: usize| Some((0..items).map(|_| Some(7_i64)));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(of.iter().copied().map(items)))
    }

    #[test]
    fn a_column_knows_its_widest_value_also_of_a_slice() {
        let texts = ["x".repeat(3), "x".repeat(1_000), "x".repeat(5)];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let columns: [(ArrayRef, usize); 5] = [
            (Arc::new(StringArray::from(texts.clone())), 1_000 + VALUE),
            (Arc::new(StringViewArray::from(texts)), 1_000 + VALUE),
            (lists(&[3, 125, 5]), 1_000 + VALUE),
            (Arc::new(Int64Array::from(vec![1, 2, 3])), 8),
            (Arc::new(BooleanArray::from(vec![true, false, true])), 1),
        ];
        for (column, widest) in columns {
            assert_eq!(Size::of(&column).expect("known").widest, widest, "{column:?}");
            let end = column.slice(2, 1);
            assert!(Size::of(&end).expect("known").widest < 100, "{end:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_and_one_row_too_wide_refused() {
        let rows = |care: &Care, column: ArrayRef| -> Vec<Option<usize>> {
            let batch = RecordBatch::try_from_iter([("a", column)]).expect("a batch");
            let pieces = care.pieces(Ok(batch)).into_iter();
            pieces.map(|piece| piece.ok().map(|piece| piece.num_rows())).collect()
        };
        let numbers = || Arc::new(Int64Array::from(vec![1; 10])) as ArrayRef;
        assert_eq!(rows(&Care::Rows(10), numbers()), [Some(10)]);
        assert_eq!(rows(&Care::Rows(4), numbers()), [Some(2), Some(3), Some(2), Some(3)]);
        // Of a thousand rows none is wider than a thousandth of a batch.
        let most = BATCH / 1_000 / 8;
        assert_eq!(rows(&Care::Beside(1_000), lists(&[1, most / 2])), [Some(2)]);
        assert_eq!(rows(&Care::Beside(1_000), lists(&[1, most])), [Some(1), None]);
    }
}
