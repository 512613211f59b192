//! A pipeline at work: operators with their state, rows and time flowing from sources to one end.
//!
//! Rows and watermarks take one way through the nodes, in order; a watermark that reaches a node says
//! that no row before it will come on that input. All hidden columns are described in [`time`].
//!
//! **Invariant:** what comes out depends on the records of each partition and their order, never on
//! how they were batched, when the flow was stopped, saved and taken up again, nor, where the inputs
//! tell time, on how partitions were read between each other.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray},
    compute::cast,
    datatypes::{SchemaRef, TimestampNanosecondType},
};
use datafusion::{
    common::{Result as EngineResult, utils::memory::RecordBatchMemoryCounter},
    physical_plan::PhysicalExpr,
};

pub mod cells;
pub mod groups;
pub mod instant;
pub mod join;
pub mod keys;
pub mod lookup;
pub mod operator;
pub mod packed;
pub mod pieces;
pub mod session;
pub mod sliding;
pub mod stage;
pub mod state;
pub mod time;
pub mod updating;
pub mod waiting;
pub mod windowed;

use operator::{Operator, Plan};
use state::{NodeState, State};

/// Where something goes: a node and its input.
pub type Edge = (usize, usize);

/// A dataflow as planned.
#[derive(Clone, Debug, Default)]
pub struct Blueprint {
    /// Where rows come in.
    pub sources: Vec<SourcePlan>,
    /// What the nodes do, each after those it reads from, the end last.
    pub nodes: Vec<NodePlan>,
}

/// A source as planned.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The table that it reads.
    pub table: String,
    /// The columns that it reads; where its rows can be taken back, [`time::RETRACT`] follows.
    pub columns: SchemaRef,
    /// Event time and what is told of it, where anything needs time.
    pub time: Option<TimePlan>,
    /// The node that reads it.
    pub to: Edge,
}

/// How a source tells time.
#[derive(Clone, Debug)]
pub struct TimePlan {
    /// The event time of a row.
    pub event_time: Arc<dyn PhysicalExpr>,
    /// Up to which instant a row tells that everything has come.
    pub watermark: Arc<dyn PhysicalExpr>,
    /// The columns that the flow sees, with the hidden ones.
    pub columns: SchemaRef,
    /// How many of the source's columns these are; what follows only tells time.
    pub read: usize,
}

/// A node as planned.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// What it does.
    pub plan: Plan,
    /// How many inputs it has.
    pub inputs: usize,
    /// The node that reads it; none of the last one.
    pub to: Option<Edge>,
}

impl Blueprint {
    /// Whether anything is gathered over several records.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.nodes.iter().any(|node| node.plan.is_stateful())
    }

    /// Whether anything in it waits for time to come.
    #[must_use]
    pub fn has_windows(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.plan, Plan::Windowed(_) | Plan::Session(_)))
    }
}

/// A dataflow at work.
#[derive(Debug)]
pub struct Flow {
    sources: Vec<Source>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Source {
    plan: SourcePlan,
    /// How far each partition has told time.
    marks: Vec<Option<i64>>,
    /// How far all of them have.
    watermark: Option<i64>,
}

#[derive(Debug)]
struct Node {
    operator: Operator,
    to: Option<Edge>,
    inputs: Vec<Option<i64>>,
    watermark: Option<i64>,
}

/// What is on its way to a node.
enum Message {
    Rows(RecordBatch),
    Watermark(i64),
}

impl Flow {
    /// A flow that has seen nothing, over sources of so many partitions each.
    ///
    /// # Errors
    /// Where a key's type cannot be one.
    pub fn start(plan: &Blueprint, partitions: &[usize]) -> EngineResult<Self> {
        let source = |(plan, partitions): (&SourcePlan, &usize)| Source {
            plan: plan.clone(),
            marks: vec![None; *partitions],
            watermark: None,
        };
        let node = |node: &NodePlan| {
            Ok(Node {
                operator: node.plan.start()?,
                to: node.to,
                inputs: vec![None; node.inputs],
                watermark: None,
            })
        };
        Ok(Self {
            sources: plan.sources.iter().zip(partitions).map(source).collect(),
            nodes: plan.nodes.iter().map(node).collect::<EngineResult<_>>()?,
        })
    }

    /// Takes consecutive records of one partition of a source; the rows that come out of the end.
    ///
    /// # Errors
    /// Where a query fails.
    pub async fn take(
        &mut self,
        source: usize,
        partition: usize,
        rows: RecordBatch,
    ) -> EngineResult<Vec<RecordBatch>> {
        let (rows, told) = self.sources[source].take(partition, rows)?;
        let to = self.sources[source].plan.to;
        let mut ways = VecDeque::from([(to, Message::Rows(rows))]);
        ways.extend(told.map(|told| (to, Message::Watermark(told))));
        self.deliver(ways).await
    }

    /// Lets a source tell that nothing more will come from it; the rows that come out.
    ///
    /// # Errors
    /// Where a query fails.
    pub async fn end(&mut self, source: usize) -> EngineResult<Vec<RecordBatch>> {
        let to = self.sources[source].plan.to;
        self.sources[source].watermark = Some(i64::MAX);
        self.deliver(VecDeque::from([(to, Message::Watermark(i64::MAX))])).await
    }

    /// What changed in updating queries and has not been told.
    ///
    /// # Errors
    /// Where a query fails.
    pub async fn flush(&mut self) -> EngineResult<Vec<RecordBatch>> {
        let mut out = Vec::new();
        for node in 0..self.nodes.len() {
            // What an earlier node tells reaches a later one before it is flushed itself.
            let rows = self.nodes[node].operator.flush()?;
            out.extend(self.pass_on(node, rows, None).await?);
        }
        Ok(out)
    }

    /// The rows that came after their window had closed, since this was asked last, as they would
    /// have been gathered.
    pub fn take_late(&mut self) -> Vec<RecordBatch> {
        self.nodes.iter_mut().flat_map(|node| node.operator.take_late()).collect()
    }

    /// How far time has come at the end, in nanoseconds.
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        self.nodes.last().and_then(|node| node.watermark)
    }

    /// What has been gathered. Whoever saves has flushed before.
    ///
    /// # Errors
    /// Where an operator cannot tell its state.
    pub fn save(&mut self) -> EngineResult<State> {
        let node = |node: &mut Node| {
            let (inputs, watermark) = (node.inputs.clone(), node.watermark);
            Ok(NodeState { inputs, watermark, parts: node.operator.save()? })
        };
        Ok(State {
            marks: self.sources.iter().map(|source| source.marks.clone()).collect(),
            nodes: self.nodes.iter_mut().map(node).collect::<EngineResult<_>>()?,
        })
    }

    /// Takes up what was saved; partitions that came since have told nothing.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(&mut self, state: State) -> EngineResult<()> {
        if state.nodes.len() != self.nodes.len() || state.marks.len() != self.sources.len() {
            return state::other("another number of operators");
        }
        for (source, marks) in self.sources.iter_mut().zip(state.marks) {
            for (known, mark) in source.marks.iter_mut().zip(marks) {
                *known = mark;
            }
            source.watermark = source.told();
        }
        for (node, kept) in self.nodes.iter_mut().zip(state.nodes) {
            node.operator.load(kept.parts, kept.watermark)?;
            node.inputs = kept.inputs;
            node.watermark = kept.watermark;
        }
        Ok(())
    }

    /// Bytes of memory that operators hold.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.iter().map(|node| node.operator.size()).sum()
    }

    /// Brings messages on their ways, in order; the rows that come out of the end.
    async fn deliver(
        &mut self,
        mut ways: VecDeque<(Edge, Message)>,
    ) -> EngineResult<Vec<RecordBatch>> {
        let mut out = Vec::new();
        while let Some(((at, input), message)) = ways.pop_front() {
            let node = &mut self.nodes[at];
            let (rows, told) = match message {
                Message::Rows(rows) if rows.num_rows() == 0 => continue,
                Message::Rows(rows) => (node.operator.take(input, rows).await?, None),
                Message::Watermark(told) => node.advance(input, told).await?,
            };
            match node.to {
                Some(to) => {
                    ways.extend(rows.into_iter().map(|rows| (to, Message::Rows(rows))));
                    ways.extend(told.map(|told| (to, Message::Watermark(told))));
                }
                None => out.extend(rows),
            }
        }
        Ok(out)
    }

    async fn pass_on(
        &mut self,
        node: usize,
        rows: Vec<RecordBatch>,
        told: Option<i64>,
    ) -> EngineResult<Vec<RecordBatch>> {
        let Some(to) = self.nodes[node].to else { return Ok(rows) };
        let rows = rows.into_iter().map(|rows| (to, Message::Rows(rows)));
        let told = told.map(|told| (to, Message::Watermark(told)));
        self.deliver(rows.chain(told).collect()).await
    }
}

impl Node {
    /// Time has come so far on an input; what comes out, and how far it has come for the next node.
    async fn advance(
        &mut self,
        input: usize,
        told: i64,
    ) -> EngineResult<(Vec<RecordBatch>, Option<i64>)> {
        let known = &mut self.inputs[input];
        *known = (*known).max(Some(told));
        // An input that has told nothing holds time back.
        let Some(least) = self.inputs.iter().copied().min().flatten() else {
            return Ok((Vec::new(), None));
        };
        if self.watermark.is_some_and(|watermark| watermark >= least) {
            return Ok((Vec::new(), None));
        }
        self.watermark = Some(least);
        let (rows, told) = self.operator.advance(least).await?;
        Ok((rows, Some(told)))
    }
}

impl Source {
    /// Adds the hidden columns; answers how far time has come, where it has.
    fn take(
        &mut self,
        partition: usize,
        rows: RecordBatch,
    ) -> EngineResult<(RecordBatch, Option<i64>)> {
        let Some(time) = &self.plan.time else { return Ok((rows, None)) };
        let event_times = evaluate(&time.event_time, &rows)?;
        let told = evaluate(&time.watermark, &rows)?;
        let told = told.as_primitive::<TimestampNanosecondType>();
        let mark = &mut self.marks[partition];
        let before = told_before(mark, told);
        let mut columns = rows.columns()[..time.read].to_vec();
        columns.push(event_times);
        columns.push(Arc::new(before));
        columns.extend(rows.column_by_name(time::RETRACT).cloned());
        let rows = RecordBatch::try_new(Arc::clone(&time.columns), columns)?;
        let watermark = self.told();
        if watermark <= self.watermark {
            return Ok((rows, None));
        }
        self.watermark = watermark;
        Ok((rows, watermark))
    }

    /// How far all partitions have told time; nothing until each has.
    fn told(&self) -> Option<i64> {
        self.marks.iter().copied().min().flatten()
    }
}

/// What a partition had told before each row, which may tell more.
fn told_before(
    mark: &mut Option<i64>,
    told: &TimestampNanosecondArray,
) -> TimestampNanosecondArray {
    match mark {
        // Once anything was told there is no NULL to mind.
        Some(known) if told.null_count() == 0 => {
            let next = |told: &i64| std::mem::replace(known, (*known).max(*told));
            told.values().iter().map(next).collect::<Vec<i64>>().into()
        }
        mark => told.iter().map(|told| std::mem::replace(mark, (*mark).max(told))).collect(),
    }
}

/// Bytes of memory of batches. Those that were read from a file share one piece of it, as parts of one
/// batch do, which counts once.
fn bytes<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> usize {
    let mut counter = RecordBatchMemoryCounter::new();
    for batch in batches {
        counter.count_batch(batch);
    }
    counter.memory_usage()
}

fn evaluate(expression: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> EngineResult<ArrayRef> {
    let value = expression.evaluate(rows)?.into_array(rows.num_rows())?;
    debug_assert_eq!(value.len(), rows.num_rows());
    Ok(cast(&value, &time::instant())?)
}
