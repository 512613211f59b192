//! Tumbling windows, exactly once without a state of their own.
//!
//! What is not yet in a closed window lies in the stream: the committed offset of a partition is the
//! lowest one whose row is still in an open window, and the watermark is committed beside it. After
//! a restart those rows are read again, and rows of windows that were emitted are passed over.
//!
//! The watermark is the minimum over partitions of the largest instant that each has told, and it
//! never goes back. A window fires when its first instant lies before the window that holds the
//! watermark. A row is late when its window has fired; Arroyo drops it, and so does this.

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
};
use datafusion::common::Result as EngineResult;

use crate::{functions::tumble::window_start, pipeline::WindowPlan};

/// Rows of open windows, and how far time has come.
#[derive(Debug)]
pub struct Windows {
    width: i64,
    /// The largest instant that each partition has told; none until it has told one.
    marks: Vec<Option<i64>>,
    watermark: Option<i64>,
    held: Vec<Held>,
}

/// Rows of one batch whose windows are open.
#[derive(Debug)]
struct Held {
    partition: usize,
    /// The windows' first instants, row by row.
    starts: Vec<i64>,
    /// The rows' offsets.
    offsets: Vec<u64>,
    rows: RecordBatch,
}

impl Windows {
    /// No open windows; the watermark is the committed one, where there is one.
    #[must_use]
    pub fn new(width: i64, partitions: usize, watermark: Option<i64>) -> Self {
        Self { width, marks: vec![None; partitions], watermark, held: Vec::new() }
    }

    /// How far time has come, in microseconds.
    #[must_use]
    pub const fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The lowest offset of a partition whose row is in an open window.
    #[must_use]
    pub fn lowest(&self, partition: usize) -> Option<u64> {
        let held = self.held.iter().filter(|held| held.partition == partition);
        held.flat_map(|held| held.offsets.iter().copied()).min()
    }

    /// Takes a batch of consecutive records from `first` on; answers how many of them are late.
    ///
    /// # Errors
    /// Where event time or watermark cannot be told.
    pub fn take(
        &mut self,
        plan: &WindowPlan,
        partition: usize,
        first: u64,
        rows: &RecordBatch,
    ) -> EngineResult<u64> {
        let fired_before = self.watermark.map(|watermark| window_start(watermark, self.width));
        let starts: Vec<i64> = plan
            .event_times(rows)?
            .into_iter()
            .map(|instant| window_start(instant, self.width))
            .collect();
        let open = |start: &i64| fired_before.is_none_or(|fired| *start >= fired);
        let late = starts.iter().filter(|start| !open(start)).count();
        let held = Held {
            partition,
            offsets: (first..).take(starts.len()).collect(),
            starts,
            rows: rows.clone(),
        };
        self.held.extend(held.keep(&open)?);
        let mark = self.marks[partition];
        self.marks[partition] = mark.max(plan.watermark(rows)?);
        // Until a partition has told again what it told before a restart, its rows of fired windows
        // are those that were emitted then.
        let told =
            self.watermark.is_none_or(|watermark| mark.is_some_and(|mark| mark >= watermark));
        Ok(if told { late as u64 } else { 0 })
    }

    /// Lets time come as far as all partitions have told; answers the rows of windows that fire.
    ///
    /// # Errors
    /// Where rows cannot be told apart.
    pub fn advance(&mut self) -> EngineResult<Option<RecordBatch>> {
        let told = self.marks.iter().copied().min().flatten();
        if told.is_none() || told <= self.watermark {
            return Ok(None);
        }
        self.watermark = told;
        let Some(fired) = told.map(|watermark| window_start(watermark, self.width)) else {
            return Ok(None);
        };
        let (mut fires, mut open) = (Vec::new(), Vec::new());
        for held in self.held.drain(..) {
            fires.extend(held.keep(&|start| *start < fired)?.map(|held| held.rows));
            open.extend(held.keep(&|start| *start >= fired)?);
        }
        self.held = open;
        match fires.first() {
            Some(rows) => Ok(Some(concat_batches(&rows.schema(), &fires)?)),
            None => Ok(None),
        }
    }
}

impl Held {
    /// The rows whose window is wanted, if there are any.
    fn keep(&self, wanted: &dyn Fn(&i64) -> bool) -> EngineResult<Option<Self>> {
        let mask: Vec<bool> = self.starts.iter().map(wanted).collect();
        if !mask.contains(&true) {
            return Ok(None);
        }
        let chosen = |at: &usize| mask[*at];
        Ok(Some(Self {
            partition: self.partition,
            starts: (0..mask.len()).filter(chosen).map(|at| self.starts[at]).collect(),
            offsets: (0..mask.len()).filter(chosen).map(|at| self.offsets[at]).collect(),
            rows: filter_record_batch(&self.rows, &BooleanArray::from(mask.clone()))?,
        }))
    }
}
