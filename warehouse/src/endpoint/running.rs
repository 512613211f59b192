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
    common::ParamValues,
    error::DataFusionError,
    execution::TaskContext,
    logical_expr::LogicalPlan,
    physical_plan::{SendableRecordBatchStream, execute_stream},
    prelude::SessionContext,
    sql::{parser, sqlparser::ast::Statement},
};
use futures::{Stream, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Endpoint, Entry, Tell,
    statement::{self, Asked, Refused},
    stopping::{Wanted, stoppable},
    wide,
};
use crate::{
    access::Reader,
    metrics::{Metrics, Ongoing},
    session::{are_given, plain, reading},
};

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
    timeout: Duration,
    /// Until when that is.
    deadline: Instant,
    /// Rows that it may answer with.
    rows: Option<u64>,
    /// Changes when it is to be cancelled.
    cancel: watch::Receiver<u64>,
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
        reading().verify_plan(&plan)?;
        wide::check(&plan)?;
        Ok(plan)
    })
}

/// What is asked at a door, and within which bounds.
pub(crate) struct Question<'a> {
    /// By whom.
    pub(crate) reader: &'a Reader,
    /// Which door.
    pub(crate) door: &'static str,
    /// What.
    pub(crate) statement: &'a Statement,
    /// With which values.
    pub(crate) parameters: ParamValues,
    /// Within what.
    pub(crate) bounds: Bounds,
}

impl Endpoint {
    /// Answers a question: the schema, and the batches as they come. From its planning on it is worked
    /// on by the threads that are there for it, so that one that is long at one thing keeps nobody at
    /// the door waiting; whoever drops the answer ends that.
    pub(crate) async fn answer(
        &self,
        context: SessionContext,
        question: Question<'_>,
    ) -> Result<(SchemaRef, Batches), Stopped> {
        let Question { reader, door, statement, parameters, mut bounds } = question;
        let note = self.note(reader, door, statement);
        let (waiting, until) = (Arc::new(()), bounds.deadline);
        let wanted = Wanted { by: Arc::downgrade(&waiting), until };
        let mut beginning = JoinSet::new();
        beginning.spawn_on(begin(context, statement.clone(), parameters, wanted), &self.executor);
        let begun = match bounds.within(beginning.join_next()).await {
            Ok(Some(Ok(begun))) => begun.map_err(Stopped::from),
            Ok(Some(Err(error))) => Err(DataFusionError::ExecutionJoin(Box::new(error)).into()),
            Ok(None) => Err(Stopped::Cancelled),
            Err(stopped) => Err(stopped),
        };
        let mut answer = begun.inspect_err(|stopped| note.ended(0, stopped.outcome()))?;
        let schema = answer.schema();
        let (sender, batches) = mpsc::channel(AHEAD);
        let mut working = JoinSet::new();
        working.spawn_on(
            async move {
                let work = async {
                    while let Some(batch) = answer.next().await {
                        if sender.send(batch).await.is_err() {
                            break;
                        }
                    }
                };
                // Who takes nothing any more, as of a cursor, keeps no thread and no memory for ever.
                let _ = tokio::time::timeout_at(until, work).await;
            },
            &self.executor,
        );
        let answer = Answer { batches, working, _waiting: waiting };
        Ok((schema, bounded(answer, bounds, note)))
    }
}

/// Plans a statement and begins to answer it.
fn begin(
    context: SessionContext,
    statement: Statement,
    parameters: ParamValues,
    wanted: Wanted,
) -> Pin<Box<dyn Future<Output = Result<SendableRecordBatchStream, DataFusionError>> + Send>> {
    Box::pin(async move {
        let plan = with_parameters(plan(&context, statement).await?, parameters)?;
        let plan = context.execute_logical_plan(plan).await?.create_physical_plan().await?;
        let config = context.copied_config();
        let at_once = wide::at_once(&plan, config.batch_size())?;
        let task = TaskContext::from(&context).with_session_config(config.with_batch_size(at_once));
        let plan = stoppable(plan, &wanted, at_once)?;
        Ok(plain::stream(execute_stream(plan, Arc::new(task))?))
    })
}

/// A plan with its parameters; one without takes none.
fn with_parameters(
    plan: LogicalPlan,
    parameters: ParamValues,
) -> Result<LogicalPlan, DataFusionError> {
    if are_given(&parameters) { plan.with_param_values(parameters) } else { Ok(plan) }
}

/// What comes of a question, who works on it, and that it is waited for.
struct Answer {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    working: JoinSet<()>,
    _waiting: Arc<()>,
}

impl Answer {
    /// The next batch. That no more come is the end only where whoever works has come to it: one that
    /// panicked, or whose runtime is gone, sends nothing more either.
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        let error = self.working.join_next().await?.err()?;
        Some(Err(DataFusionError::ExecutionJoin(Box::new(error))))
    }
}

impl Bounds {
    /// Waits for something, but not beyond the bounds.
    async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            // A sender that is gone is a connection that is gone.
            _ = self.cancel.changed() => Err(Stopped::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(Stopped::TimedOut(self.timeout)),
            // Whoever works stops at the deadline, too: what comes then is not all of it.
            done = work => match Instant::now() < self.deadline {
                true => Ok(done),
                false => Err(Stopped::TimedOut(self.timeout)),
            },
        }
    }
}

/// The batches of an answer within bounds; how it ended is noted.
fn bounded(answer: Answer, bounds: Bounds, note: Note) -> Batches {
    let begun = Some((answer, bounds, note, 0_u64));
    Box::pin(futures::stream::unfold(begun, move |state| async move {
        let (mut answer, mut bounds, note, before) = state?;
        let next = bounds.within(answer.next()).await;
        let batch = match next {
            Err(stopped) => Err(stopped),
            Ok(None) => {
                note.ended(before, "answered");
                return None;
            }
            Ok(Some(batch)) => batch.map_err(Stopped::from),
        };
        let rows = before + batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let batch = match bounds.rows {
            Some(most) if rows > most => Err(Stopped::TooMany(most)),
            _ => batch,
        };
        match batch {
            Ok(batch) => Some((Ok(batch), Some((answer, bounds, note, rows)))),
            Err(stopped) => {
                note.ended(before, stopped.outcome());
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
    metrics: Metrics,
    _answering: Ongoing,
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
        self.metrics.answered(self.door, outcome, self.begun.elapsed());
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
    /// Sorts a statement into what may be asked; what is refused is noted.
    pub(crate) fn sorted(
        &self,
        reader: &Reader,
        door: &'static str,
        statement: Statement,
    ) -> Result<Asked, Refused> {
        let text = statement::without_values(&statement);
        let sorted = statement::asked(statement);
        if sorted.is_err() {
            self.noted(reader, door, text).ended(0, "refused");
        }
        sorted
    }

    /// The columns of what a plan will answer. Its types are final only after analysis, which fails where
    /// the values of parameters have to tell them.
    pub(crate) fn schema_of(&self, plan: &LogicalPlan) -> SchemaRef {
        let options = self.base.config_options();
        let analysed = self.base.analyzer().execute_and_check(plan.clone(), options, |_, _| ());
        plain::schema(analysed.as_ref().unwrap_or(plan).schema().as_arrow())
    }

    /// Begins the note of a statement.
    pub(crate) fn note(&self, reader: &Reader, door: &'static str, asked: &Statement) -> Note {
        self.noted(reader, door, statement::without_values(asked))
    }

    fn noted(&self, reader: &Reader, door: &'static str, text: String) -> Note {
        Note {
            tell: Arc::clone(&self.tell),
            reader: reader.clone(),
            door,
            text: text.into(),
            begun: Instant::now(),
            is_told: AtomicBool::new(false),
            metrics: self.metrics.clone(),
            _answering: self.metrics.asked(),
        }
    }

    /// The bounds of a reader's statement that begins now.
    pub(crate) fn bounds(
        &self,
        reader: &Reader,
        timeout: Option<Duration>,
        cancel: watch::Receiver<u64>,
    ) -> Bounds {
        // A client may ask for less time, not for more.
        let timeout = timeout.map_or(self.limits.timeout, |asked| asked.min(self.limits.timeout));
        Bounds { timeout, deadline: Instant::now() + timeout, rows: self.rows(reader), cancel }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_not_told_as_complete() {
        let (sender, batches) = mpsc::channel(AHEAD);
        let mut working = JoinSet::new();
        working.spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        working.abort_all();
        let mut answer = Answer { batches, working, _waiting: Arc::new(()) };
        let cut = answer.next().await;
        assert!(matches!(cut, Some(Err(DataFusionError::ExecutionJoin(_)))), "{cut:?}");
    }
}
