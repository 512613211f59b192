//! Runs one pipeline over the batches of its stream, and commits rows and positions together.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use chrono::{DateTime, Utc};
use ingest::log::Log;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use warehouse::{error::WarehouseError, table::Positions};

use super::{Line, World, feed::Batch};
use crate::{error::PipelineError, window::Windows};

pub struct Lander {
    log: Arc<dyn Log>,
    world: World,
    line: Line,
    /// Where the pipeline's columns stand in the stream's batches.
    columns: Vec<usize>,
    /// The next offset of every partition.
    positions: Vec<u64>,
    windows: Option<Windows>,
    pending: Pending,
}

/// What was read and is not committed.
#[derive(Default)]
struct Pending {
    rows: Vec<RecordBatch>,
    records: u64,
    since: Option<Instant>,
    oldest: Option<DateTime<Utc>>,
}

impl Lander {
    /// A pipeline at the positions of its table's last commit.
    pub async fn new(
        log: Arc<dyn Log>,
        world: World,
        line: Line,
        columns: &SchemaRef,
        partitions: usize,
    ) -> Result<Self, PipelineError> {
        let name = &line.pipeline.name;
        let suffixes = (0..partitions).map(|partition| partition.to_string());
        let suffixes = suffixes.chain(["watermark".to_owned()]);
        let applications: Vec<_> = suffixes.map(|suffix| format!("{name}/{suffix}")).collect();
        let kept = line.table.positions(&applications).await;
        let kept = kept.map_err(|source| failed(name, "read the positions of", source))?;
        let kept = |suffix: &str| kept.get(&format!("{name}/{suffix}")).copied();
        let mut positions = Vec::with_capacity(partitions);
        for partition in 0..partitions {
            let position = kept(&partition.to_string()).unwrap_or(0);
            let position = u64::try_from(position).unwrap_or(0);
            let end = log.end(line.pipeline.topic, u32::try_from(partition).unwrap_or(u32::MAX))?;
            if position > end {
                return Err(PipelineError::Definition {
                    file: name.clone(),
                    reason: format!(
                        "its table holds {} up to offset {position} of partition {partition}, but the \
                         stream ends at {end}: the log is older than the table",
                        line.pipeline.topic
                    ),
                });
            }
            positions.push(position);
        }
        let window = line.pipeline.window.as_ref();
        let windows =
            window.map(|window| Windows::new(window.width, partitions, kept("watermark")));
        let input = line.pipeline.input.fields().iter();
        let columns = input.filter_map(|field| columns.index_of(field.name()).ok()).collect();
        Ok(Self { log, world, line, columns, positions, windows, pending: Pending::default() })
    }

    /// The next offset of every partition.
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Runs until the stream ends, and commits what is left.
    pub async fn run(
        mut self,
        mut batches: mpsc::Receiver<Arc<Batch>>,
    ) -> Result<(), PipelineError> {
        let interval = self.world.settings.commit_interval;
        loop {
            let batch = match self.pending.since {
                Some(since) => timeout_at(since + interval, batches.recv()).await,
                None => Ok(batches.recv().await),
            };
            match batch {
                Ok(Some(batch)) => {
                    self.take(&batch).await?;
                    let full = self.pending.records >= self.world.settings.commit_records;
                    let due = self.pending.since.is_some_and(|since| since.elapsed() >= interval);
                    if full || (due && !self.pending.rows.is_empty()) {
                        self.commit().await?;
                    } else if due {
                        self.pending.since = None;
                    }
                }
                Ok(None) => {
                    if self.pending.records > 0 {
                        self.commit().await?;
                    }
                    return Ok(());
                }
                // Positions alone are not worth a commit: reading again costs little.
                Err(_) if self.pending.rows.is_empty() => self.pending.since = None,
                Err(_) => self.commit().await?,
            }
        }
    }

    async fn take(&mut self, batch: &Batch) -> Result<(), PipelineError> {
        let position = self.positions[batch.partition];
        if batch.next <= position {
            return Ok(());
        }
        let skip = position.saturating_sub(batch.first);
        let (skip, first) = (usize::try_from(skip).unwrap_or(usize::MAX), batch.first + skip);
        let pipeline = Arc::clone(&self.line.pipeline);
        let rows =
            batch.rows.project(&self.columns).map_err(|source| pipeline.failed(source.into()))?;
        let rows = rows.slice(skip, rows.num_rows().saturating_sub(skip));
        let records = rows.num_rows() as u64;
        let rows = match (&mut self.windows, &pipeline.window) {
            (Some(windows), Some(plan)) => {
                let taken = windows.take(plan, batch.partition, first, &rows);
                let late = taken.map_err(|source| pipeline.failed(source))?;
                if late > 0 {
                    self.world.metrics.late(&pipeline.name, late);
                }
                windows.advance().map_err(|source| pipeline.failed(source))?
            }
            _ => Some(rows),
        };
        if let Some(rows) = rows {
            self.pending.rows.extend(pipeline.execute(rows).await?);
        }
        self.positions[batch.partition] = batch.next;
        self.pending.records += records;
        self.pending.since.get_or_insert_with(Instant::now);
        self.pending.oldest.get_or_insert(batch.recorded_at);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), PipelineError> {
        let pipeline = &self.line.pipeline;
        let rows = std::mem::take(&mut self.pending.rows);
        let positions = self.committed();
        let committed = self.line.table.commit(rows, &positions).await;
        committed.map_err(|source| failed(&pipeline.name, "commit to", source))?;
        let waited = self
            .pending
            .oldest
            .map_or(0, |oldest| (self.world.clock.now() - oldest).num_milliseconds().max(0));
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a wait are few")]
        self.world.metrics.landed(&pipeline.name, self.lag()?, waited as f64 / 1_000.0);
        self.pending = Pending::default();
        Ok(())
    }

    /// What stands in a commit: reading goes on at the lowest row of an open window.
    fn committed(&self) -> Positions {
        let name = &self.line.pipeline.name;
        let mut committed = Positions::new();
        for (partition, next) in self.positions.iter().enumerate() {
            let open = self.windows.as_ref().and_then(|windows| windows.lowest(partition));
            let position = i64::try_from(open.unwrap_or(*next)).unwrap_or(i64::MAX);
            committed.insert(format!("{name}/{partition}"), position);
        }
        if let Some(watermark) = self.windows.as_ref().and_then(Windows::watermark) {
            committed.insert(format!("{name}/watermark"), watermark);
        }
        committed
    }

    fn lag(&self) -> Result<u64, PipelineError> {
        let mut lag = 0_u64;
        for (partition, next) in (0_u32..).zip(&self.positions) {
            let end = self.log.end(self.line.pipeline.topic, partition)?;
            lag = lag.saturating_add(end.saturating_sub(*next));
        }
        Ok(lag)
    }
}

fn failed(pipeline: &str, attempted: &'static str, source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: pipeline.to_owned(), attempted, source }
}
