//! One node of a dataflow.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as EngineResult;

use super::{
    instant::Held, join, join::Join, lookup, lookup::Lookup, session, session::Sessions,
    stage::Stage, updating, updating::Updating, windowed, windowed::Windowed,
};

/// What a node does, as planned.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Brings inputs together.
    Union,
    /// A query without state.
    Stage(Stage),
    /// Aggregates over windows of fixed width.
    Windowed(Arc<windowed::Plan>),
    /// Aggregates over sessions.
    Session(Arc<session::Plan>),
    /// A query over whole windows of so many inputs.
    Held(Stage, usize),
    /// Aggregates that are told again when they change.
    Updating(Arc<updating::Plan>),
    /// A join without windows.
    Join(Arc<join::Plan>),
    /// A join with the newest rows of a table.
    Lookup(Arc<lookup::Plan>),
}

/// What a node does, with what it has gathered.
#[derive(Debug)]
pub enum Operator {
    /// Brings inputs together.
    Union,
    /// A query without state.
    Stage(Stage),
    /// Aggregates over windows of fixed width.
    Windowed(Windowed),
    /// Aggregates over sessions.
    Session(Sessions),
    /// A query over whole windows.
    Held(Held),
    /// Aggregates that are told again when they change.
    Updating(Updating),
    /// A join without windows.
    Join(Join),
    /// A join with the newest rows of a table.
    Lookup(Lookup),
}

/// Rows of an operator under the names of its parts.
pub type Parts = Vec<(String, RecordBatch)>;

impl Plan {
    /// The operator, with nothing gathered.
    ///
    /// # Errors
    /// Where a key's type cannot be one.
    pub fn start(&self) -> EngineResult<Operator> {
        Ok(match self {
            Self::Union => Operator::Union,
            Self::Stage(stage) => Operator::Stage(stage.clone()),
            Self::Windowed(plan) => Operator::Windowed(Windowed::new(Arc::clone(plan))),
            Self::Session(plan) => Operator::Session(Sessions::new(Arc::clone(plan))?),
            Self::Held(stage, inputs) => Operator::Held(Held::new(stage.clone(), *inputs)),
            Self::Updating(plan) => Operator::Updating(Updating::new(Arc::clone(plan))?),
            Self::Join(plan) => Operator::Join(Join::new(Arc::clone(plan))?),
            Self::Lookup(plan) => Operator::Lookup(Lookup::new(Arc::clone(plan))?),
        })
    }

    /// Whether it gathers anything.
    #[must_use]
    pub const fn is_stateful(&self) -> bool {
        !matches!(self, Self::Union | Self::Stage(_))
    }
}

impl Operator {
    /// Takes rows of an input; the rows that come out at once.
    ///
    /// # Errors
    /// Where its query fails.
    pub async fn take(
        &mut self,
        input: usize,
        rows: RecordBatch,
    ) -> EngineResult<Vec<RecordBatch>> {
        match self {
            Self::Union => Ok(vec![rows]),
            Self::Stage(stage) => stage.run(vec![vec![rows]]).await,
            Self::Windowed(windowed) => windowed.take(&rows).map(|()| Vec::new()),
            Self::Session(sessions) => sessions.take(&rows).map(|()| Vec::new()),
            Self::Held(held) => held.take(input, &rows).map(|()| Vec::new()),
            Self::Updating(updating) => updating.take(&rows).map(|()| Vec::new()),
            Self::Join(join) => join.take(input, &rows).await,
            Self::Lookup(lookup) => lookup.take(input, &rows).await,
        }
    }

    /// Lets time come to an instant: the rows that come out, and up to which instant no row will
    /// come out any more.
    ///
    /// # Errors
    /// Where its query fails.
    pub async fn advance(&mut self, watermark: i64) -> EngineResult<(Vec<RecordBatch>, i64)> {
        match self {
            Self::Union | Self::Stage(_) | Self::Lookup(_) => Ok((Vec::new(), watermark)),
            Self::Windowed(windowed) => windowed.advance(watermark),
            Self::Session(sessions) => sessions.advance(watermark),
            Self::Held(held) => Ok((held.advance(watermark).await?, watermark)),
            Self::Updating(updating) => {
                updating.advance(watermark);
                Ok((Vec::new(), watermark))
            }
            Self::Join(join) => {
                join.advance(watermark);
                Ok((Vec::new(), watermark))
            }
        }
    }

    /// What changed and has not been told.
    ///
    /// # Errors
    /// Where its query fails.
    pub fn flush(&mut self) -> EngineResult<Vec<RecordBatch>> {
        match self {
            Self::Updating(updating) => updating.flush(),
            _ => Ok(Vec::new()),
        }
    }

    /// What it has gathered.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub fn save(&mut self) -> EngineResult<Parts> {
        match self {
            Self::Union | Self::Stage(_) => Ok(Vec::new()),
            Self::Windowed(windowed) => windowed.save(),
            Self::Session(sessions) => sessions.save(),
            Self::Held(held) => held.save(),
            Self::Updating(updating) => updating.save(),
            Self::Join(join) => join.save(),
            Self::Lookup(lookup) => lookup.save(),
        }
    }

    /// Takes up what was saved, at the watermark of then.
    ///
    /// # Errors
    /// Where it is not of this query.
    pub fn load(&mut self, parts: Parts, watermark: Option<i64>) -> EngineResult<()> {
        match self {
            Self::Union | Self::Stage(_) if parts.is_empty() => Ok(()),
            Self::Union | Self::Stage(_) => super::state::other("an operator without state"),
            Self::Windowed(windowed) => windowed.load(parts, watermark),
            Self::Session(sessions) => sessions.load(parts, watermark),
            Self::Held(held) => held.load(parts),
            Self::Updating(updating) => updating.load(parts),
            Self::Join(join) => join.load(parts),
            Self::Lookup(lookup) => lookup.load(parts),
        }
    }

    /// The rows that came late since this was asked last.
    pub fn take_late(&mut self) -> Vec<RecordBatch> {
        match self {
            Self::Windowed(windowed) => windowed.take_late(),
            Self::Session(sessions) => sessions.take_late(),
            _ => Vec::new(),
        }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Union | Self::Stage(_) => 0,
            Self::Windowed(windowed) => windowed.size(),
            Self::Session(sessions) => sessions.size(),
            Self::Held(held) => held.size(),
            Self::Updating(updating) => updating.size(),
            Self::Join(join) => join.size(),
            Self::Lookup(lookup) => lookup.size(),
        }
    }
}
