//! The model table: the contract in memory, for simulation and for the suite.

use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;

use super::{Pending, Positions, Table, fit};
use crate::schema;

/// A table in memory.
#[derive(Debug)]
pub struct ModelTable {
    schema: &'static schema::Table,
    state: Mutex<(Vec<RecordBatch>, Positions)>,
}

impl ModelTable {
    /// An empty table.
    #[must_use]
    pub fn new(schema: &'static schema::Table) -> Self {
        Self { schema, state: Mutex::default() }
    }

    /// Every row, in the order of commits.
    #[must_use]
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Table for ModelTable {
    fn schema(&self) -> &'static schema::Table {
        self.schema
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |id: &String| Some((id.clone(), *state.1.get(id)?));
        let positions = applications.iter().filter_map(known).collect();
        Box::pin(std::future::ready(Ok(positions)))
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        let fitted: Result<Vec<_>, _> = rows.iter().map(|batch| fit(batch, self.schema)).collect();
        let committed = fitted.map(|rows| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0.extend(rows);
            state.1.extend(positions.clone());
        });
        Box::pin(std::future::ready(committed))
    }
}
