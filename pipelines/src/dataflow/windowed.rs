//! Aggregates over windows of fixed width: `tumble(width)` and `hop(slide, width)`.
//!
//! Rows are gathered by *pane*, which is the slide (of a tumbling window its width). A pane is closed
//! when its end is not after the start of the pane that holds the watermark; then the windows that
//! end with it fire. A row is late when its pane lies before the pane of the watermark that its own
//! partition told before it came, or before a pane that is closed: so what is late does not depend
//! on how rows were batched, stopped or restored, nor on how partitions were read between each other.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, TimestampNanosecondArray},
    compute::{cast, max, min},
    datatypes::SchemaRef,
};
use datafusion::common::Result as EngineResult;

use super::{
    bytes,
    groups::{Aggregation, Groups},
    sliding::Sliding,
    time::{TIMESTAMP, bin, chosen, instants, refused, split, told, windows},
};

/// How rows are gathered by window.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Keys and aggregates.
    pub aggregation: Aggregation,
    /// The width of a window in nanoseconds.
    pub width: i64,
    /// The distance between two windows' starts; the width itself where they do not overlap.
    pub slide: i64,
    /// The place of the window among the columns that come out.
    pub window_at: usize,
    /// The columns that come out.
    pub output: SchemaRef,
}

/// The panes that are open, and the windows that are.
#[derive(Debug)]
pub struct Windowed {
    plan: Arc<Plan>,
    /// By their first instants.
    panes: BTreeMap<i64, Pane>,
    /// Closed panes that windows still to fire hold; none where windows do not overlap.
    sliding: Sliding,
    /// The start of the pane that holds the watermark: what lies before is closed.
    closed: Option<i64>,
    late: Vec<RecordBatch>,
}

/// What has been gathered of one pane: groups at work, and partial state written down before, the
/// oldest first.
#[derive(Debug, Default)]
struct Pane {
    groups: Option<Groups>,
    states: Vec<RecordBatch>,
}

impl Windowed {
    /// No rows yet.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let sliding = Sliding::new(plan.width, plan.slide);
        Self { plan, panes: BTreeMap::new(), sliding, closed: None, late: Vec::new() }
    }

    /// Gathers rows by their panes.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn take(&mut self, rows: &RecordBatch) -> EngineResult<()> {
        let (slide, times) = (self.plan.slide, instants(rows, TIMESTAMP)?);
        if let Some(start) = self.one_pane(times, told(rows)) {
            return self.gather(start, rows);
        }
        let starts: Vec<i64> = times.values().iter().map(|at| bin(*at, slide)).collect();
        let own = told(rows)
            .map(|told| told.iter().map(|told| told.map_or(i64::MIN, |told| bin(told, slide))));
        let closed = self.closed.unwrap_or(i64::MIN);
        let on_time: Vec<bool> = match own {
            Some(own) => {
                starts.iter().zip(own).map(|(at, own)| *at >= own && *at >= closed).collect()
            }
            None => starts.iter().map(|at| *at >= closed).collect(),
        };
        self.late.extend(refused(rows, &on_time)?);
        let kept = starts.iter().zip(&on_time).filter_map(|(at, kept)| kept.then_some(*at));
        let kept: Vec<i64> = kept.collect();
        let rows = chosen(rows, on_time)?;
        for (start, rows) in split(&rows, &kept)? {
            self.gather(start, &rows)?;
        }
        Ok(())
    }

    /// The pane of all rows, where it is one and none of them is late: so it nearly always is.
    fn one_pane(
        &self,
        times: &TimestampNanosecondArray,
        told: Option<&TimestampNanosecondArray>,
    ) -> Option<i64> {
        let slide = self.plan.slide;
        let start = bin(min(times)?, slide);
        let told = told.and_then(max).map_or(i64::MIN, |told| bin(told, slide));
        let closed = self.closed.unwrap_or(i64::MIN);
        (start == bin(max(times)?, slide) && start >= told && start >= closed).then_some(start)
    }

    fn gather(&mut self, start: i64, rows: &RecordBatch) -> EngineResult<()> {
        let pane = self.panes.entry(start).or_default();
        let groups = match &mut pane.groups {
            Some(groups) => groups,
            none => none.insert(Groups::new(&self.plan.aggregation)?),
        };
        groups.update(&self.plan.aggregation, rows)
    }

    /// Lets time come to an instant: the rows of windows that fire, and the earliest start that a
    /// window still to fire can have.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn advance(&mut self, watermark: i64) -> EngineResult<(Vec<RecordBatch>, i64)> {
        let slide = self.plan.slide;
        let closed = bin(watermark, slide);
        let mut fired = Vec::new();
        while let Some(pane) = self.panes.first_entry()
            && *pane.key() < closed
        {
            let (start, pane) = pane.remove_entry();
            if self.plan.width == slide {
                let mut groups = pane.whole(&self.plan.aggregation)?;
                fired.push(self.fire(start, &mut groups)?);
            } else {
                self.fire_before(start, &mut fired)?;
                let state = pane.whole(&self.plan.aggregation)?.state(&self.plan.aggregation)?;
                self.sliding.push(&self.plan.aggregation, start, state)?;
            }
        }
        // A window ends with each slide as long as it holds a row.
        self.fire_before(closed, &mut fired)?;
        self.closed = Some(closed);
        let earliest = closed.saturating_add(slide).saturating_sub(self.plan.width);
        Ok((fired, earliest))
    }

    /// Fires the overlapping windows that end at `until` or before.
    fn fire_before(&mut self, until: i64, fired: &mut Vec<RecordBatch>) -> EngineResult<()> {
        while let Some(end) = self.sliding.next_end()
            && end <= until
        {
            let mut groups = self.sliding.window(&self.plan.aggregation)?;
            fired.push(self.fire(end.saturating_sub(self.plan.width), &mut groups)?);
            self.sliding.step(&self.plan.aggregation)?;
        }
        Ok(())
    }

    fn fire(&self, start: i64, groups: &mut Groups) -> EngineResult<RecordBatch> {
        let values = groups.evaluate(&self.plan.aggregation)?;
        let rows = values.num_rows();
        let end = start.saturating_add(self.plan.width);
        let mut columns = values.columns().to_vec();
        columns.insert(self.plan.window_at, windows(vec![start; rows], vec![end; rows]));
        columns.push(Arc::new(TimestampNanosecondArray::from(vec![start; rows])));
        fitted(&self.plan.output, columns)
    }

    /// The rows that came late since this was asked last.
    pub fn take_late(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.late)
    }

    /// What is open, as partial state: the panes, each with its start.
    ///
    /// # Errors
    /// Where an aggregate cannot tell its state.
    pub fn save(&mut self) -> EngineResult<Vec<(String, RecordBatch)>> {
        let mut parts = Vec::new();
        for (start, pane) in &mut self.panes {
            if let Some(mut groups) = pane.groups.take() {
                let state = groups.state(&self.plan.aggregation)?;
                pane.keep(&self.plan.aggregation, state)?;
            }
            let states = pane.states.iter();
            parts.extend(states.map(|state| (format!("open {start}"), state.clone())));
        }
        parts.extend(self.sliding.panes().map(|(at, pane)| (format!("pane {at}"), pane.clone())));
        if let Some(end) = self.sliding.next_end() {
            let empty = RecordBatch::new_empty(Arc::clone(&self.plan.aggregation.keys));
            parts.push((format!("next {end}"), empty));
        }
        Ok(parts)
    }

    /// Takes up what was saved, at the watermark of then.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(
        &mut self,
        parts: Vec<(String, RecordBatch)>,
        watermark: Option<i64>,
    ) -> EngineResult<()> {
        self.closed = watermark.map(|watermark| bin(watermark, self.plan.slide));
        for (name, state) in parts {
            match super::state::number(&name)? {
                ("open", start) => {
                    self.panes.entry(start).or_default().keep(&self.plan.aggregation, state)?;
                }
                ("pane", start) => self.sliding.push(&self.plan.aggregation, start, state)?,
                (_, end) => self.sliding.set_next_end(end),
            }
        }
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.panes.values().map(Pane::size).sum::<usize>() + self.sliding.size()
    }
}

impl Pane {
    /// Keeps partial state that is newer than all before.
    ///
    /// States before it that have less than twice as many rows are merged with it. So all of them
    /// together have at most twice as many rows as there are groups, however often they were written
    /// down, and a state of many rows is merged only once as half as many have gathered after it.
    fn keep(&mut self, aggregation: &Aggregation, mut state: RecordBatch) -> EngineResult<()> {
        while let Some(before) =
            self.states.pop_if(|before| before.num_rows() < 2 * state.num_rows())
        {
            state = Groups::of(aggregation, [&before, &state])?.state(aggregation)?;
        }
        self.states.push(state);
        Ok(())
    }

    /// Everything that was gathered, in one.
    fn whole(self, aggregation: &Aggregation) -> EngineResult<Groups> {
        let Some(mut groups) = self.groups else { return Groups::of(aggregation, &self.states) };
        if self.states.is_empty() {
            return Ok(groups);
        }
        let newest = groups.state(aggregation)?;
        Groups::of(aggregation, self.states.iter().chain([&newest]))
    }

    fn size(&self) -> usize {
        self.groups.as_ref().map_or(0, Groups::size) + bytes(self.states.iter())
    }
}

/// Columns as a schema has them; an engine's value may differ in how it is written only.
///
/// # Errors
/// Where a value is of another type.
pub fn fitted(schema: &SchemaRef, columns: Vec<ArrayRef>) -> EngineResult<RecordBatch> {
    let fit = |(column, field): (ArrayRef, &Arc<arrow::datatypes::Field>)| {
        if column.data_type() == field.data_type() {
            Ok(column)
        } else {
            cast(&column, field.data_type())
        }
    };
    let columns = columns.into_iter().zip(schema.fields()).map(fit);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
