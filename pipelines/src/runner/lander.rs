//! Runs one pipeline over the batches of its streams, and commits rows, positions and state together.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use chrono::{DateTime, Utc};
use ingest::{log::Log, topic::Topic};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    time::{Instant, timeout_at},
};
use warehouse::{error::WarehouseError, table::Positions};

use super::{
    Line, World,
    feed::{Batch, number},
};
use crate::{
    dataflow::{Flow, state::State},
    error::PipelineError,
    pipeline::Pipeline,
};

/// The next offset of every partition, by stream.
type Offsets = BTreeMap<Topic, Vec<u64>>;

pub struct Lander {
    log: Arc<dyn Log>,
    world: World,
    line: Line,
    flow: Flow,
    /// Where the columns of each of the flow's sources stand in its stream's batches.
    columns: Vec<(Topic, Vec<usize>)>,
    positions: Offsets,
    /// The number of the state that is committed.
    state: u64,
    pending: Pending,
    /// The pipeline's queries are executed here alone.
    _turn: OwnedMutexGuard<()>,
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
    /// A pipeline at the positions of its table's last commit, with the state of then.
    pub async fn new(
        log: Arc<dyn Log>,
        world: World,
        line: Line,
        streams: &BTreeMap<Topic, SchemaRef>,
    ) -> Result<Self, PipelineError> {
        let turn = Arc::clone(&line.pipeline.turn).lock_owned().await;
        let pipeline = Arc::clone(&line.pipeline);
        let (positions, state) = committed(log.as_ref(), &line).await?;
        let of = |topic: Option<Topic>| topic.and_then(|topic| positions.get(&topic));
        let partitions = pipeline.inputs.iter().map(|input| of(input.topic()).map_or(0, Vec::len));
        let partitions: Vec<usize> = partitions.collect();
        let flow = Flow::start(&pipeline.blueprint, &partitions);
        let mut flow = flow.map_err(|source| pipeline.failed(source))?;
        if state > 0 && pipeline.blueprint.is_stateful() {
            flow.load(kept_state(&world, &pipeline, state)?)
                .map_err(|source| pipeline.failed(source))?;
        }
        let mut columns = Vec::new();
        for input in &pipeline.inputs {
            let Some(topic) = input.topic() else { continue };
            let fields = input.columns.fields().iter();
            let places = fields.filter_map(|field| streams[&topic].index_of(field.name()).ok());
            columns.push((topic, places.collect()));
        }
        let pending = Pending::default();
        Ok(Self { log, world, line, flow, columns, positions, state, pending, _turn: turn })
    }

    /// The next offset of every partition, by stream.
    pub const fn positions(&self) -> &Offsets {
        &self.positions
    }

    /// Runs until the streams end, and commits what is left.
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
        let Some(position) =
            self.positions.get_mut(&batch.topic).and_then(|of| of.get_mut(batch.partition))
        else {
            return Ok(());
        };
        if batch.next <= *position {
            return Ok(());
        }
        let skip = batch.offsets.partition_point(|offset| offset < position);
        *position = batch.next;
        let pipeline = Arc::clone(&self.line.pipeline);
        let failed = |source| pipeline.failed(source);
        for (source, (topic, columns)) in self.columns.iter().enumerate() {
            if *topic != batch.topic {
                continue;
            }
            let rows = batch.rows.project(columns).map_err(|source| failed(source.into()))?;
            let rows = rows.slice(skip, rows.num_rows() - skip);
            let made = self.flow.take(source, batch.partition, rows).await.map_err(failed)?;
            self.pending.rows.extend(made);
        }
        let late = self.flow.take_late();
        if late > 0 {
            self.world.metrics.late(&pipeline.name, late);
        }
        self.pending.records += (batch.offsets.len() - skip) as u64;
        self.pending.since.get_or_insert_with(Instant::now);
        self.pending.oldest.get_or_insert(batch.recorded_at);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), PipelineError> {
        let pipeline = Arc::clone(&self.line.pipeline);
        self.pending
            .rows
            .extend(self.flow.flush().await.map_err(|source| pipeline.failed(source))?);
        let mut committed = applications(&pipeline, &self.positions);
        if pipeline.blueprint.is_stateful() {
            self.keep_state(&pipeline)?;
            committed.insert(state_application(&pipeline), number_of(self.state));
        }
        let rows = std::mem::take(&mut self.pending.rows);
        let landed = self.line.table.commit(rows, &committed).await;
        landed.map_err(|source| failed(&pipeline.name, "commit to", source))?;
        self.world.states.forget_before(&pipeline.name, self.state);
        let waited = self
            .pending
            .oldest
            .map_or(0, |oldest| (self.world.clock.now() - oldest).num_milliseconds().max(0));
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a wait are few")]
        self.world.metrics.landed(&pipeline.name, self.lag()?, waited as f64 / 1_000.0);
        self.pending = Pending::default();
        Ok(())
    }

    /// Keeps what has been gathered under the next number.
    fn keep_state(&mut self, pipeline: &Pipeline) -> Result<(), PipelineError> {
        let (bytes, most) = (self.flow.size(), self.world.settings.state_bytes);
        if bytes > most {
            let pipeline = pipeline.name.clone();
            return Err(PipelineError::StateTooLarge { pipeline, bytes, most });
        }
        let state = self.flow.save().and_then(|state| state.encode(pipeline.query));
        let state = state.map_err(|source| pipeline.failed(source))?;
        let next = self.state + 1;
        self.world.states.keep(&pipeline.name, next, &state).map_err(|source| {
            let pipeline = pipeline.name.clone();
            PipelineError::State { pipeline, attempted: "keep", source }
        })?;
        self.state = next;
        Ok(())
    }

    fn lag(&self) -> Result<u64, PipelineError> {
        let mut lag = 0_u64;
        for (topic, positions) in &self.positions {
            for (partition, next) in (0_u32..).zip(positions) {
                lag = lag.saturating_add(self.log.end(*topic, partition)?.saturating_sub(*next));
            }
        }
        Ok(lag)
    }
}

/// Where a pipeline's table says that reading goes on, and the number of the state of then.
async fn committed(log: &dyn Log, line: &Line) -> Result<(Offsets, u64), PipelineError> {
    let pipeline = &line.pipeline;
    let mut from = Offsets::new();
    for topic in pipeline.topics() {
        // A stream may have let go of its beginning; what is there still is read.
        let partitions = 0..log.partitions(topic);
        let starts = partitions.map(|partition| log.start(topic, partition));
        from.insert(topic, starts.collect::<Result<_, ingest::error::LogError>>()?);
    }
    let mut names: Vec<String> = applications(pipeline, &from).into_keys().collect();
    names.push(state_application(pipeline));
    let kept = line.table.positions(&names).await;
    let kept = kept.map_err(|source| failed(&pipeline.name, "read the positions of", source))?;
    for (topic, positions) in &mut from {
        for (partition, position) in positions.iter_mut().enumerate() {
            let Some(kept) = kept.get(&application(pipeline, *topic, partition)) else { continue };
            *position = u64::try_from(*kept).unwrap_or(0);
            let end = log.end(*topic, number(partition))?;
            if *position > end {
                return Err(PipelineError::Definition {
                    file: pipeline.name.clone(),
                    reason: format!(
                        "its table holds {topic} up to offset {position} of partition {partition}, \
                         but the stream ends at {end}: the log is older than the table",
                    ),
                });
            }
        }
    }
    let state = kept.get(&state_application(pipeline)).copied().unwrap_or(0);
    Ok((from, u64::try_from(state).unwrap_or(0)))
}

fn kept_state(world: &World, pipeline: &Pipeline, number: u64) -> Result<State, PipelineError> {
    let failed = |source| {
        let pipeline = pipeline.name.clone();
        PipelineError::State { pipeline, attempted: "read", source }
    };
    let kept = world.states.kept(&pipeline.name, number).map_err(failed)?;
    let bytes = kept
        .ok_or_else(|| PipelineError::StateMissing { pipeline: pipeline.name.clone(), number })?;
    State::decode(&bytes, pipeline.query).map_err(|source| pipeline.failed(source))
}

/// What stands in a commit for the positions: `<pipeline>/<partition>`, with the stream between
/// where there are several.
fn applications(pipeline: &Pipeline, positions: &Offsets) -> Positions {
    let mut applications = Positions::new();
    for (topic, positions) in positions {
        for (partition, next) in positions.iter().enumerate() {
            applications.insert(application(pipeline, *topic, partition), number_of(*next));
        }
    }
    applications
}

fn application(pipeline: &Pipeline, topic: Topic, partition: usize) -> String {
    match pipeline.topics().len() {
        1 => format!("{}/{partition}", pipeline.name),
        _ => format!("{}/{topic}/{partition}", pipeline.name),
    }
}

fn state_application(pipeline: &Pipeline) -> String {
    format!("{}/state", pipeline.name)
}

fn number_of(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn failed(pipeline: &str, attempted: &'static str, source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: pipeline.to_owned(), attempted, source }
}
