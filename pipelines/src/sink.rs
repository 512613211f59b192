//! Where rows go: a table that takes rows and positions in one commit.

use std::{collections::BTreeMap, fmt, pin::Pin};

use arrow::{array::RecordBatch, datatypes::SchemaRef};

/// Where reading goes on, by application id. A version never goes back.
pub type Positions = BTreeMap<String, i64>;

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// A table refused or failed.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct SinkError {
    /// Whether the same may succeed later without anybody acting.
    pub retry: bool,
    /// What the table said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A table that pipelines write to.
pub trait Sink: Send + Sync + fmt::Debug + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// Its columns.
    fn schema(&self) -> SchemaRef;

    /// The positions of its last commit.
    fn positions(&self) -> Pending<'_, Positions>;

    /// Adds rows and moves positions, whole or not at all.
    fn commit(&self, rows: Vec<RecordBatch>, positions: Positions) -> Pending<'_, ()>;
}
