//! Tables that take their time, and of which commits fail before and after they went through.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::array::RecordBatch;
use futures::FutureExt;
use warehouse::{
    error::WarehouseError,
    schema,
    table::{Pending, Positions, Table, model::ModelTable},
};

use crate::{
    faults::{Life, Machine, Planted},
    witness::Watching,
};

/// Commits on their way, in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    commits: BTreeMap<u64, (&'static str, Vec<RecordBatch>, Positions)>,
}

/// The tables; they outlive every process.
#[derive(Debug)]
pub struct Tables {
    tables: BTreeMap<&'static str, Arc<ModelTable>>,
    waiting: Mutex<Waiting>,
    watching: Watching,
}

impl Tables {
    /// Empty tables, watched.
    #[must_use]
    pub fn new(watching: Watching) -> Arc<Self> {
        let table = |table: &&'static schema::Table| (table.name, Arc::new(ModelTable::new(table)));
        let tables = schema::all().iter().map(table).collect();
        Arc::new(Self { tables, waiting: Mutex::default(), watching })
    }

    /// A table as it lies.
    ///
    /// # Panics
    /// Where there is none of that name.
    #[must_use]
    pub fn of(&self, name: &str) -> &Arc<ModelTable> {
        self.tables.get(name).expect("a table of the warehouse")
    }

    /// The power goes: of the commits on their way some are there, whole.
    pub fn power_cut(&self, machine: &Machine) {
        let commits = std::mem::take(&mut self.waiting().commits);
        for (name, rows, positions) in commits.into_values() {
            if machine.dice.once_in(2) {
                // Nobody hears of it.
                let _ = self.keep(name, rows, &positions);
            }
        }
    }

    fn keep(
        &self,
        name: &'static str,
        rows: Vec<RecordBatch>,
        positions: &Positions,
    ) -> Result<(), WarehouseError> {
        let moved = WarehouseError::Moved { table: name };
        self.watching.landed(name, &rows);
        self.of(name).commit(rows, positions).now_or_never().unwrap_or(Err(moved))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, name: &'static str, rows: Vec<RecordBatch>, positions: Positions) -> u64 {
        let mut waiting = self.waiting();
        waiting.next += 1;
        let number = waiting.next;
        waiting.commits.insert(number, (name, rows, positions));
        number
    }
}

/// A table as one process has it.
#[derive(Clone, Debug)]
pub struct NodeTable {
    /// What outlives the process.
    pub tables: Arc<Tables>,
    /// Which table.
    pub name: &'static str,
    /// Where the process runs.
    pub machine: Machine,
    /// Of the process.
    pub life: Life,
    /// The bug that is in, if one is.
    pub planted: Option<Planted>,
}

impl NodeTable {
    fn lasts(&self) -> Result<(), WarehouseError> {
        let moved = WarehouseError::Moved { table: self.name };
        if self.life.lasts() { Ok(()) } else { Err(moved) }
    }

    async fn one(&self, rows: Vec<RecordBatch>, reached: Positions) -> Result<(), WarehouseError> {
        let moved = WarehouseError::Moved { table: self.name };
        let number = self.tables.enqueue(self.name, rows, reached);
        self.machine.time.sleep(self.machine.write_time()).await;
        self.lasts()?;
        let found = self.tables.waiting().commits.remove(&number);
        let Some((_, rows, reached)) = found else { return Err(moved) };
        if self.machine.fails_once_in(40) {
            // What an attempt came to that was not answered is not known.
            if self.machine.dice.once_in(2) {
                self.tables.keep(self.name, rows, &reached)?;
            }
            return Err(moved);
        }
        self.tables.keep(self.name, rows, &reached)
    }
}

impl Table for NodeTable {
    fn schema(&self) -> &'static schema::Table {
        self.tables.of(self.name).schema()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        Box::pin(async move {
            self.machine.time.sleep(self.machine.dice.millis(0, 3)).await;
            self.lasts()?;
            self.tables.of(self.name).positions(applications).await
        })
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(async move {
            self.lasts()?;
            if self.planted == Some(Planted::CommitOffsetsApart) {
                self.one(rows, Positions::new()).await?;
                return self.one(Vec::new(), positions.clone()).await;
            }
            self.one(rows, positions.clone()).await
        })
    }
}
