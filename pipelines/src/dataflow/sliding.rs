//! Overlapping windows over closed panes, at a cost per pane that does not depend on how many panes
//! a window has: two stacks, as a queue with a minimum is built of them. The older panes stand as
//! sums from each of them to the newest of theirs, so that the oldest can go; the newer ones stand
//! as one sum. When the older run out, the newer ones become them.
//!
//! K. Tangwongsan, M. Hirzel, S. Schneider: *Low-latency sliding-window aggregation in worst-case
//! constant time*, 2017, calls it Two-Stacks.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use datafusion::common::Result as EngineResult;

use super::{
    bytes,
    groups::{Aggregation, Groups},
};

/// The panes that windows still to fire hold.
#[derive(Debug)]
pub struct Sliding {
    width: i64,
    slide: i64,
    /// Every pane as it was closed, the oldest first.
    panes: VecDeque<(i64, RecordBatch)>,
    /// Of the older panes: their sums up to the newest of them; the last one begins with the oldest.
    older: Vec<RecordBatch>,
    /// The sum of the panes that are not among the older ones.
    newer: Option<RecordBatch>,
    /// The end of the next window.
    next_end: Option<i64>,
}

impl Sliding {
    /// No panes.
    #[must_use]
    pub const fn new(width: i64, slide: i64) -> Self {
        let panes = VecDeque::new();
        Self { width, slide, panes, older: Vec::new(), newer: None, next_end: None }
    }

    /// Adds a closed pane, later than all others.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn push(
        &mut self,
        aggregation: &Aggregation,
        start: i64,
        pane: RecordBatch,
    ) -> EngineResult<()> {
        self.newer = Some(match self.newer.take() {
            Some(newer) => Groups::of(aggregation, [&newer, &pane])?.state(aggregation)?,
            None => pane.clone(),
        });
        self.panes.push_back((start, pane));
        self.next_end.get_or_insert(start.saturating_add(self.slide));
        Ok(())
    }

    /// The end of the next window, as long as there is a pane for it.
    #[must_use]
    pub const fn next_end(&self) -> Option<i64> {
        self.next_end
    }

    /// Says where to go on, after a restart.
    pub const fn set_next_end(&mut self, end: i64) {
        self.next_end = Some(end);
    }

    /// What the next window holds.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn window(&self, aggregation: &Aggregation) -> EngineResult<Groups> {
        Groups::of(aggregation, self.older.last().into_iter().chain(&self.newer))
    }

    /// Goes on to the window after the next, and lets go of panes that it does not hold.
    ///
    /// # Errors
    /// Where an aggregate fails.
    pub fn step(&mut self, aggregation: &Aggregation) -> EngineResult<()> {
        let Some(end) = self.next_end.map(|end| end.saturating_add(self.slide)) else {
            return Ok(());
        };
        while self.panes.front().is_some_and(|(at, _)| *at < end.saturating_sub(self.width)) {
            if self.older.is_empty() {
                self.turn(aggregation)?;
            }
            self.older.pop();
            self.panes.pop_front();
        }
        self.next_end = (!self.panes.is_empty()).then_some(end);
        Ok(())
    }

    /// The newer panes become the older ones.
    fn turn(&mut self, aggregation: &Aggregation) -> EngineResult<()> {
        self.newer = None;
        for (_, pane) in self.panes.iter().rev() {
            let whole = match self.older.last() {
                Some(later) => Groups::of(aggregation, [pane, later])?.state(aggregation)?,
                None => pane.clone(),
            };
            self.older.push(whole);
        }
        Ok(())
    }

    /// The panes with their starts.
    pub fn panes(&self) -> impl Iterator<Item = (i64, &RecordBatch)> {
        self.panes.iter().map(|(start, pane)| (*start, pane))
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let panes = self.panes.iter().map(|(_, pane)| pane);
        bytes(panes.chain(&self.older).chain(&self.newer))
    }
}
