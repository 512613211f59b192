//! The stream `settlements` into its tables: each closing as statements with their lines, each payment
//! order and bank file as new states.
//!
//! It is no SQL file, since a statement needs the ones before it and the contracts as they were known.
//! It lands like one: rows and the next offset in one commit, so a crash at any instant leaves tables
//! that go on as if nothing had been. Computing a record's rows again gives the same rows.
//!
//! **Invariant:** statements of a closing enter their table only after all benefit lines up to its
//! offsets have landed.

use std::{collections::BTreeMap, sync::Arc};

use domain::{period::Month, settlement::StatementState};
use ingest::{
    log::{Log, next_batch},
    record::Stored,
    topic::Topic,
    wire::{self, v1::Event},
};
use warehouse::{
    error::WarehouseError,
    session::Session,
    settlement::{
        self, Closed, Closing, Ledger,
        bank::Outcome,
        kept::{self, Change, Place},
    },
    table::{Positions, Table},
};

use crate::{error::PipelineError, runner::look_after};

/// The closings of a stream, in its order: which month, which correction, from and up to where.
#[derive(Clone, Debug, Default)]
pub struct Closings {
    all: Vec<Closing>,
}

impl Closings {
    /// Every closing of the stream.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub async fn read(log: &Arc<dyn Log>) -> Result<Self, PipelineError> {
        let mut closings = Self::default();
        ingest::log::replay(log, Topic::Settlements, |stored| {
            closings.take(&stored);
            Ok::<(), PipelineError>(())
        })
        .await?;
        Ok(closings)
    }

    fn take(&mut self, stored: &Stored) -> Option<&Closing> {
        let Event::PeriodClosed(event) = &stored.record.event else { return None };
        let closed = Closed { at: wire::instant(event.closed_at)?, offset: stored.position.offset };
        let draft = self.draft(Month::parse(&event.period)?, event.end_offsets.clone());
        self.all.push(Closing { closed: Some(closed), ..draft });
        self.all.last()
    }

    /// All of them, in the order in which they were closed.
    #[must_use]
    pub fn all(&self) -> &[Closing] {
        &self.all
    }

    /// Those of a month: its closing, then its corrections.
    pub fn of(&self, period: Month) -> impl DoubleEndedIterator<Item = &Closing> {
        self.all.iter().filter(move |closing| closing.period == period)
    }

    /// Those before the first that goes beyond some offsets, one per partition.
    #[must_use]
    pub fn until(mut self, ends: &[u64]) -> Self {
        let is_within = |closing: &&Closing| {
            let mut each = closing.end_offsets.iter().enumerate();
            each.all(|(partition, end)| ends.get(partition).is_some_and(|last| end <= last))
        };
        let within = self.all.iter().take_while(is_within).count();
        self.all.truncate(within);
        self
    }

    /// What the month's next closing would hold if it ended at these offsets.
    #[must_use]
    pub fn draft(&self, period: Month, end_offsets: Vec<u64>) -> Closing {
        let before = self.of(period).last();
        Closing {
            period,
            correction: before.map_or(0, |before| before.correction + 1),
            from_offsets: before.map(|before| before.end_offsets.clone()).unwrap_or_default(),
            end_offsets,
            closed: None,
        }
    }
}

/// Who brings the stream into its tables.
#[derive(Debug)]
pub struct Settlements {
    log: Arc<dyn Log>,
    statements: Arc<dyn Table>,
    lines: Arc<dyn Table>,
}

impl Settlements {
    /// Over a stream and its two tables.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, statements: Arc<dyn Table>, lines: Arc<dyn Table>) -> Self {
        Self { log, statements, lines }
    }

    /// Brings the tables up to the stream's end; `session` gives the warehouse as it is by then.
    ///
    /// # Errors
    /// Where benefit lines or contracts have not landed yet, which [`is_early`] knows, or a part fails.
    pub async fn catch_up<E: From<PipelineError>>(
        &self,
        session: impl Fn() -> Result<Session, E>,
    ) -> Result<(), E> {
        let mut closings = Closings::default();
        let done = [next(&self.lines).await?, next(&self.statements).await?];
        let end = self.log.end(Topic::Settlements, 0).map_err(PipelineError::from)?;
        // Whatever was known at a closing was on the stream before it.
        let known = self.log.end(Topic::RegistryChanges, 0).map_err(PipelineError::from)?;
        let start = self.log.start(Topic::Settlements, 0).map_err(PipelineError::from)?;
        let mut offsets = start..end;
        loop {
            let batch = next_batch(&self.log, Topic::Settlements, 0, &mut offsets).await;
            let Some(batch) = batch.map_err(PipelineError::from)? else { return Ok(()) };
            for stored in batch {
                let closing = closings.take(&stored).cloned();
                if done.iter().all(|done| stored.position.offset < *done) {
                    continue;
                }
                let session = session()?;
                if closing.is_some() {
                    settlement::contracts_landed(&session, known).await.map_err(unsettled)?;
                }
                self.land(&session, closing.as_ref(), &stored, done).await?;
            }
        }
    }

    /// Lets the two tables be looked after, where that is due; whoever keeps them open calls it between
    /// two looks.
    pub async fn look_after(&self) {
        for table in [&self.statements, &self.lines] {
            look_after(table.as_ref()).await;
        }
    }

    /// Lands one record in whichever of the two tables lacks it: the lines first, so that a statement
    /// that is there has them.
    async fn land(
        &self,
        session: &Session,
        closing: Option<&Closing>,
        stored: &Stored,
        [lines_done, statements_done]: [u64; 2],
    ) -> Result<(), PipelineError> {
        let offset = stored.position.offset;
        let at = match closing.and_then(|closing| closing.closed) {
            Some(closed) => closed.at,
            None => stored.record.recorded_at,
        };
        let place = Place { offset, recorded_at: at };
        let (statements, lines) = match closing {
            Some(closing) => {
                let ledger = Ledger::before(session, Some(offset)).await.map_err(unsettled)?;
                let made =
                    settlement::compute(session, closing, &ledger).await.map_err(unsettled)?;
                let statements = kept::statement_rows(&made, closing, place).map_err(unsettled)?;
                (vec![statements], vec![kept::line_rows(&made, place).map_err(unsettled)?])
            }
            None => {
                let changes = changes(&stored.record.event);
                let rows = kept::change_rows(session, &changes, place).await.map_err(unsettled)?;
                (rows, Vec::new())
            }
        };
        if offset >= lines_done {
            commit(&self.lines, lines, offset).await?;
        }
        if offset >= statements_done {
            commit(&self.statements, statements, offset).await?;
        }
        Ok(())
    }
}

fn unsettled(source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: kept::STATEMENTS.to_owned(), attempted: "settle", source }
}

/// Whether the tables can be brought up to date a little later: what they are made of still lands.
#[must_use]
pub const fn is_early(error: &PipelineError) -> bool {
    matches!(error, PipelineError::Table { source: WarehouseError::NotLanded { .. }, .. })
}

/// The new states that a record tells of; a closing tells of none.
fn changes(event: &Event) -> Vec<Change> {
    match event {
        Event::StatementsSent(event) => {
            let sent = |statement: &String| Change {
                statement: statement.clone(),
                state: StatementState::Sent,
                reason: None,
            };
            event.statements.iter().map(sent).collect()
        }
        Event::BankFileRead(event) => {
            // One state per statement; what was said last holds.
            let mut last = BTreeMap::new();
            for told in &event.told {
                let Some(outcome) = Outcome::parse(&told.outcome) else { continue };
                let reason = outcome.is_refusal().then(|| told.reason.clone());
                let (statement, state) = (told.statement.clone(), outcome.state());
                last.insert(statement.clone(), Change { statement, state, reason });
            }
            last.into_values().collect()
        }
        _ => Vec::new(),
    }
}

fn application(table: &Arc<dyn Table>) -> String {
    format!("{}/0", table.schema().name)
}

async fn next(table: &Arc<dyn Table>) -> Result<u64, PipelineError> {
    let application = application(table);
    let positions = table.positions(std::slice::from_ref(&application)).await;
    let positions = positions.map_err(|source| failed(table, "open", source))?;
    Ok(positions.get(&application).and_then(|next| u64::try_from(*next).ok()).unwrap_or(0))
}

async fn commit(
    table: &Arc<dyn Table>,
    rows: Vec<arrow::array::RecordBatch>,
    offset: u64,
) -> Result<(), PipelineError> {
    let next = i64::try_from(offset + 1).unwrap_or(i64::MAX);
    let rows = rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
    let committed = table.commit(rows, &Positions::from([(application(table), next)])).await;
    committed.map_err(|source| failed(table, "commit to", source))
}

fn failed(
    table: &Arc<dyn Table>,
    attempted: &'static str,
    source: WarehouseError,
) -> PipelineError {
    PipelineError::Table { pipeline: table.schema().name.to_owned(), attempted, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_beyond_some_offsets_is_left_out() {
        let month = |text: &str| Month::parse(text).expect("a month");
        let mut closings = Closings::default();
        for (period, ends) in [("2025-01", [5, 3]), ("2025-02", [7, 3]), ("2025-01", [7, 4])] {
            let closing = closings.draft(month(period), ends.to_vec());
            closings.all.push(closing);
        }
        let until = |ends: &[u64]| closings.clone().until(ends).all().len();
        assert_eq!((until(&[7, 4]), until(&[9, 9])), (3, 3));
        assert_eq!((until(&[7, 3]), until(&[6, 9])), (2, 1));
        // A partition that nobody speaks of has nothing before its end.
        assert_eq!((until(&[9]), until(&[])), (0, 0));
        // What is left out is of the month's next closing.
        let draft = closings.until(&[7, 3]).draft(month("2025-01"), vec![7, 3]);
        assert_eq!((draft.correction, draft.from_offsets), (1, vec![5, 3]));
    }
}
