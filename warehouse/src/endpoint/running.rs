//! A statement that runs: within its bounds, until it is done, stopped or cancelled.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::DataFusionError,
    execution::context::SQLOptions,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, coop::CooperativeExec, execute_stream},
    prelude::SessionContext,
    sql::{parser, sqlparser::ast::Statement},
};
use futures::{Stream, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use super::{Endpoint, Entry, Tell, statement};
use crate::{access::Reader, table::Pending};

/// Batches that are computed before anybody takes them.
const AHEAD: usize = 2;

/// Why a statement ended without its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("{0}")]
    Failed(#[from] DataFusionError),
    #[error("the statement ran longer than {} ms and was stopped", .0.as_millis())]
    TimedOut(Duration),
    #[error("the statement was cancelled")]
    Cancelled,
    #[error(
        "the answer has more than {0} rows, which is the most that this role may take; add a LIMIT or a condition"
    )]
    TooMany(u64),
}

/// Batches of an answer as they come.
pub(crate) type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch, Stopped>> + Send>>;

/// What bounds a statement while it runs.
pub(crate) struct Bounds {
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// Rows that it may answer with.
    pub(crate) rows: Option<u64>,
    /// Changes when it is to be cancelled.
    pub(crate) cancel: watch::Receiver<u64>,
}

/// Plans a statement that reads; a plan that does anything else is refused here too, so that what a
/// list of statements overlooks does not run.
pub(crate) fn plan<'a>(
    context: &'a SessionContext,
    statement: Statement,
) -> Pin<Box<dyn Future<Output = Result<LogicalPlan, DataFusionError>> + Send + 'a>> {
    Box::pin(async move {
        let statement = parser::Statement::Statement(Box::new(statement));
        let plan = context.state().statement_to_plan(statement).await?;
        let reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        reading.verify_plan(&plan)?;
        Ok(plan)
    })
}

/// An answer that is computed elsewhere; whoever drops it ends that.
pub(crate) struct Answer {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: AbortHandle,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    /// Begins to answer a plan, on the threads that are there for it: a statement that is long at one
    /// thing keeps nobody at the door waiting.
    pub(crate) fn run<'a>(
        &'a self,
        context: &'a SessionContext,
        plan: LogicalPlan,
    ) -> Pending<'a, Answer> {
        Box::pin(async move {
            let own = context.clone();
            let begun = self.executor.spawn(async move {
                let plan = own.execute_logical_plan(plan).await?.create_physical_plan().await?;
                execute_stream(yielding(plan)?, own.task_ctx())
            });
            let joined = |error| DataFusionError::ExecutionJoin(Box::new(error));
            let mut answer = begun.await.map_err(joined)??;
            let (sender, batches) = mpsc::channel(AHEAD);
            let task = self.executor.spawn(async move {
                while let Some(batch) = answer.next().await {
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
            });
            Ok(Answer { batches, task: task.abort_handle() })
        })
    }
}

/// A plan of which every part gives way now and then: a join may go on for hours without reading
/// anything, and could not be stopped.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let wrapped = plan.transform_up(|part| {
        Ok(match part.children().is_empty() {
            // What reads does so already.
            true => Transformed::no(part),
            false => Transformed::yes(Arc::new(CooperativeExec::new(part))),
        })
    });
    Ok(wrapped?.data)
}

/// The batches of an answer within bounds; what it was is noted when it ends.
pub(crate) fn bounded(answer: Answer, bounds: Bounds, note: Note) -> Batches {
    let deadline = Instant::now() + bounds.timeout;
    let begun = Some((answer, bounds, note, 0_u64));
    Box::pin(futures::stream::unfold(begun, move |state| async move {
        let (mut answer, mut bounds, note, rows) = state?;
        let next = tokio::select! {
            biased;
            // A sender that is gone is a connection that is gone.
            _ = bounds.cancel.changed() => Err(Stopped::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(Stopped::TimedOut(bounds.timeout)),
            next = answer.batches.recv() => Ok(next),
        };
        let batch = match next {
            Err(stopped) => Err(stopped),
            Ok(None) => {
                note.ended(rows, "answered");
                return None;
            }
            Ok(Some(batch)) => batch.map_err(Stopped::from),
        };
        let batch = batch.and_then(|batch| {
            let rows = rows + batch.num_rows() as u64;
            match bounds.rows {
                Some(most) if rows > most => Err(Stopped::TooMany(most)),
                _ => Ok(batch),
            }
        });
        match batch {
            Ok(batch) => {
                let rows = rows + batch.num_rows() as u64;
                Some((Ok(batch), Some((answer, bounds, note, rows))))
            }
            Err(stopped) => {
                note.ended(rows, stopped.outcome());
                Some((Err(stopped), None))
            }
        }
    }))
}

impl Stopped {
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed out",
            Self::Cancelled => "cancelled",
            Self::TooMany(_) => "too many rows",
        }
    }
}

/// One entry of the query log: who asked what, without values, and how it ended.
pub(crate) struct Note {
    tell: Tell,
    reader: Reader,
    door: &'static str,
    text: Arc<str>,
    begun: Instant,
    is_told: AtomicBool,
}

impl Note {
    /// Tells how it ended, once.
    pub(crate) fn ended(&self, rows: u64, outcome: &'static str) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::info!(
            target: "avis::queries",
            reader = %self.reader.name,
            role = self.reader.view.code(),
            door = self.door,
            milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            rows,
            outcome,
            statement = %self.text,
        );
        (self.tell)(&Entry { reader: &self.reader, statement: &self.text, outcome });
    }
}

impl Drop for Note {
    /// Whoever leaves in the middle of an answer has read, too.
    fn drop(&mut self) {
        self.ended(0, "abandoned");
    }
}

impl Endpoint {
    /// Begins the note of a statement.
    pub(crate) fn note(&self, reader: &Reader, door: &'static str, asked: &Statement) -> Note {
        Note {
            tell: Arc::clone(&self.tell),
            reader: reader.clone(),
            door,
            text: statement::without_values(asked).into(),
            begun: Instant::now(),
            is_told: AtomicBool::new(false),
        }
    }

    /// The bounds of a reader's statement.
    pub(crate) fn bounds(
        &self,
        reader: &Reader,
        timeout: Option<Duration>,
        cancel: watch::Receiver<u64>,
    ) -> Bounds {
        // A client may ask for less time, not for more.
        let timeout = timeout.map_or(self.limits.timeout, |asked| asked.min(self.limits.timeout));
        Bounds { timeout, rows: self.rows(reader), cancel }
    }
}

/// The schema of an answer.
pub(crate) fn schema_of(plan: &LogicalPlan) -> SchemaRef {
    Arc::new(plan.schema().as_arrow().clone())
}
