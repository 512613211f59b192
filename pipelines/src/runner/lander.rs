//! Runs one pipeline over the batches of its streams: rows are in its table's tail as they come, and
//! are committed now and then, with positions and state.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use chrono::{DateTime, Utc};
use ingest::{
    clock::{Clock as _, SystemClock},
    log::Log,
    topic::Topic,
    traces::{Step, Trace},
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use warehouse::{
    error::WarehouseError,
    table::{Positions, Table},
    tail::{Fill, Lot},
};

use super::{
    Line, World,
    batch::Batch,
    late::LateRows,
    offsets::{self, Offsets, applications, number_of},
};
use crate::{
    dataflow::{Flow, state::State},
    error::PipelineError,
    pipeline::Pipeline,
    states::{Landed, States},
};

/// Traces that wait for one commit, at the most: where no row comes, none is told of for long.
const MOST_TRACES: usize = 4_096;

pub struct Lander {
    log: Arc<dyn Log>,
    world: World,
    line: Line,
    flow: Flow,
    /// Where the columns of each of the flow's sources stand in its stream's batches.
    columns: Vec<(Topic, Vec<usize>)>,
    positions: Offsets,
    /// The highest number that was taken by a state.
    state: u64,
    /// The bytes of that state as it was kept.
    state_bytes: usize,
    /// The states that a power cut may put the table back to.
    landed: Landed,
    pending: Pending,
    /// Rows that came too late, where they are kept.
    late: Option<LateRows>,
    /// A commit on its way.
    landing: Option<JoinHandle<Result<(), PipelineError>>>,
    /// The table is looked after while rows go on.
    upkeep: Option<JoinHandle<()>>,
    /// The pipeline's queries are executed here alone.
    _turn: OwnedMutexGuard<()>,
}

/// What was read and is not committed; its rows are in the tail.
#[derive(Default)]
struct Pending {
    records: u64,
    since: Option<Instant>,
    oldest: Option<DateTime<Utc>>,
    /// Whether rows wait, not positions alone.
    rows: bool,
    /// The traces of what was read, and since when queries see it.
    traces: Vec<(Trace, Instant)>,
}

impl Pending {
    /// Notes the traces of a batch's rows but the first few.
    fn sees(&mut self, batch: &Batch, skip: usize) {
        let first = batch.offsets.get(skip).copied().unwrap_or(batch.next);
        let read = batch.traces.iter().filter(|(offset, _)| *offset >= first);
        let (now, room) = (Instant::now(), MOST_TRACES.saturating_sub(self.traces.len()));
        self.traces.extend(read.map(|(_, trace)| (*trace, now)).take(room));
    }
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
        // What an earlier run still lands is waited for; what it left in memory comes again.
        line.tail.idle().await;
        line.tail.clear();
        let committed = committed(log.as_ref(), &pipeline, line.table.as_ref()).await?;
        let (positions, mut state) = committed;
        line.tail.stands(&applications(&pipeline, &positions));
        let landed = Landed::begin(state, Instant::now());
        let of = |topic: Option<Topic>| topic.and_then(|topic| positions.get(&topic));
        let partitions = pipeline.inputs.iter().map(|input| of(input.topic()).map_or(0, Vec::len));
        let partitions: Vec<usize> = partitions.collect();
        let flow = Flow::start(&pipeline.blueprint, &partitions);
        let mut flow = flow.map_err(|source| pipeline.failed(source))?;
        if pipeline.blueprint.is_stateful() {
            if state > 0 {
                flow.load(kept_state(&world.states, &pipeline, state)?)
                    .map_err(|source| pipeline.failed(source))?;
            }
            // An attempt of which nobody knows how it ended may land still, with its state's
            // number.
            let newest = world.states.newest(&pipeline.name);
            state = state.max(newest.map_err(|source| unread(&pipeline, source))?);
        }
        let mut columns = Vec::new();
        for input in &pipeline.inputs {
            let Some(topic) = input.topic() else { continue };
            let fields = input.columns.fields().iter();
            let places = fields.filter_map(|field| streams[&topic].index_of(field.name()).ok());
            columns.push((topic, places.collect()));
        }
        let late = match &world.late {
            Some(table) => {
                let (pipeline, table) = (Arc::clone(&pipeline), Arc::clone(table));
                Some(LateRows::open(log.as_ref(), pipeline, table).await?)
            }
            None => None,
        };
        let (pending, upkeep) = (Pending::default(), None);
        let lander = Self {
            log,
            world,
            line,
            flow,
            columns,
            positions,
            state,
            state_bytes: 0,
            landed,
            pending,
            late,
            landing: None,
            upkeep,
            _turn: turn,
        };
        lander.world.metrics.begins(
            &lander.line.pipeline.name,
            offsets::lag(lander.log.as_ref(), &lander.positions)?,
        );
        Ok(lander)
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
            let due = self.pending.since.unwrap_or_else(Instant::now) + interval;
            match timeout_at(due, batches.recv()).await {
                Ok(Some(batch)) => {
                    let over = self.take(&batch).await?;
                    if over || due <= Instant::now() {
                        self.settle().await?;
                    }
                }
                Ok(None) => {
                    if self.pending.records > 0 {
                        self.commit().await?;
                    }
                    self.landed().await?;
                    return match self.upkeep {
                        Some(upkeep) => Ok(upkeep.await?),
                        None => Ok(()),
                    };
                }
                Err(_) => self.settle().await?,
            }
        }
    }

    /// Commits the rows there are. Positions alone are not worth a commit: reading again costs
    /// little.
    ///
    /// Where the last commit is still on its way, since storage is slow or the table is looked after,
    /// the time alone begins no other one: that would wait for it, and as all tables of a stream are
    /// read together and seen together, all of them would stand still.
    async fn settle(&mut self) -> Result<(), PipelineError> {
        if self.landing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.landed().await?;
        }
        let (fill, settings) = (self.line.tail.fill(), &self.world.settings);
        let many = self.pending.records >= settings.commit_records;
        let can_wait = self.landing.is_some() && !many && !fill.over;
        if !can_wait && (many || fill.rows > 0) {
            self.commit().await?;
        }
        self.pending.since = None;
        self.look_after();
        Ok(())
    }

    /// Lets the table be looked after, unless it is already. Commits wait for it, rows do not: until
    /// then they are in the tail.
    fn look_after(&mut self) {
        if self.upkeep.as_ref().is_some_and(|upkeep| !upkeep.is_finished()) {
            return;
        }
        let (table, late) = (Arc::clone(&self.line.table), self.world.late.clone());
        self.upkeep = Some(tokio::spawn(async move {
            look_after(table.as_ref()).await;
            // It is one table of all pipelines: whoever comes first when it is due does it.
            if let Some(late) = late {
                look_after(late.as_ref()).await;
            }
        }));
    }

    /// Takes a batch; answers whether so much waits that it is time to commit.
    async fn take(&mut self, batch: &Batch) -> Result<bool, PipelineError> {
        let Some(position) =
            self.positions.get_mut(&batch.topic).and_then(|of| of.get_mut(batch.partition))
        else {
            return Ok(false);
        };
        if batch.next <= *position {
            return Ok(false);
        }
        let skip = batch.offsets.partition_point(|offset| offset < position);
        *position = batch.next;
        // Of the first rows the late ones are kept already: a crash came before the table's commit.
        let known = self.late.as_ref().map_or(0, |late| late.kept(batch.topic, batch.partition));
        let known = batch.offsets.partition_point(|offset| *offset < known).max(skip);
        let mut made = self.pass(batch, skip..known, false).await?;
        made.extend(self.pass(batch, known..batch.offsets.len(), true).await?);
        self.pending.records += (batch.offsets.len() - skip) as u64;
        self.pending.since.get_or_insert_with(Instant::now);
        self.pending.oldest.get_or_insert(batch.recorded_at);
        let fill = self.append(&made, &applications(&self.line.pipeline, &self.positions))?;
        self.pending.sees(batch, skip);
        self.seen(batch.recorded_at, fill);
        let many = self.pending.records >= self.world.settings.commit_records;
        Ok(fill.over || (many && self.landed.bytes() < self.world.settings.states_bytes))
    }

    /// Tells that queries see what a batch gave, and that rows wait to land.
    fn seen(&mut self, recorded_at: DateTime<Utc>, fill: Fill) {
        let (metrics, name) = (&self.world.metrics, &self.line.pipeline.name);
        let now = self.world.clock.now();
        metrics.visible(name, (now - recorded_at).to_std().unwrap_or_default());
        if fill.rows > 0 && !self.pending.rows {
            self.pending.rows = true;
            metrics.waiting_since(name, Some(now));
        }
    }

    /// Passes some rows of a batch through the flow; what comes out. Late rows are kept if they are to
    /// be.
    async fn pass(
        &mut self,
        batch: &Batch,
        rows: Range<usize>,
        keep_late: bool,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        let mut made = Vec::new();
        if rows.is_empty() {
            return Ok(made);
        }
        let pipeline = Arc::clone(&self.line.pipeline);
        let failed = |source| pipeline.failed(source);
        for (source, (topic, columns)) in self.columns.iter().enumerate() {
            if *topic != batch.topic {
                continue;
            }
            let taken = batch.rows.project(columns).map_err(|source| failed(source.into()))?;
            let taken = taken.slice(rows.start, rows.len());
            made.extend(self.flow.take(source, batch.partition, taken).await.map_err(failed)?);
        }
        let late = self.flow.take_late();
        let count: usize = late.iter().map(RecordBatch::num_rows).sum();
        if count > 0 {
            self.world.metrics.late(&pipeline.name, count as u64);
        }
        if let Some(kept) = self.late.as_mut().filter(|_| keep_late) {
            kept.take(&late)?;
        }
        Ok(made)
    }

    /// Begins to commit what waits. Rows go on coming meanwhile: what is committed was taken at one
    /// instant.
    async fn commit(&mut self) -> Result<(), PipelineError> {
        self.landed().await?;
        self.thin_out().await?;
        let pipeline = Arc::clone(&self.line.pipeline);
        let made = self.flow.flush().await.map_err(|source| pipeline.failed(source))?;
        let mut reached = applications(&pipeline, &self.positions);
        if pipeline.blueprint.is_stateful() {
            self.keep_state(&pipeline)?;
            reached.insert(state_application(&pipeline), number_of(self.state));
        }
        self.append(&made, &reached)?;
        if let Some(late) = &mut self.late {
            late.commit(&self.positions).await?;
        }
        let Some(lot) = self.line.tail.begin().await else { return Ok(()) };
        let Pending { oldest, traces, .. } = std::mem::take(&mut self.pending);
        let (world, line) = (self.world.clone(), self.line.clone());
        let landing = land(
            world,
            line,
            lot,
            self.landed.oldest(Instant::now()),
            offsets::lag(self.log.as_ref(), &self.positions)?,
            oldest,
            traces,
        );
        self.landing = Some(tokio::spawn(landing));
        Ok(())
    }

    /// Waits until the commit that was begun is there.
    async fn landed(&mut self) -> Result<(), PipelineError> {
        if let Some(landing) = self.landing.take() {
            landing.await??;
            // No state was kept since it began.
            if self.line.pipeline.blueprint.is_stateful() {
                self.landed.add(self.state, self.state_bytes, Instant::now());
            }
        }
        Ok(())
    }

    /// Lets older states go where they have become many: once the table is on the disk, no power cut
    /// puts it back before its newest commit.
    async fn thin_out(&mut self) -> Result<(), PipelineError> {
        if self.landed.kept_bytes() <= self.world.settings.states_bytes {
            return Ok(());
        }
        let name = &self.line.pipeline.name;
        let synced = self.line.table.sync().await;
        synced.map_err(|source| failed(name, "sync", source))?;
        self.landed.synced();
        self.world.states.forget_before(name, self.landed.oldest(Instant::now()));
        Ok(())
    }

    /// From here on queries see the rows.
    fn append(&self, rows: &[RecordBatch], reached: &Positions) -> Result<Fill, PipelineError> {
        let appended = self.line.tail.append(rows, reached);
        appended.map_err(|source| failed(&self.line.pipeline.name, "add rows to", source))
    }

    /// Keeps what has been gathered under the next number, which nobody has had.
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
        (self.state, self.state_bytes) = (next, state.len());
        Ok(())
    }
}

/// Commits what a pipeline's tail held, lets go of states before the oldest that may be needed, and
/// says how that went.
async fn land(
    world: World,
    line: Line,
    lot: Lot,
    oldest_state: u64,
    lag: u64,
    oldest: Option<DateTime<Utc>>,
    traces: Vec<(Trace, Instant)>,
) -> Result<(), PipelineError> {
    let name = &line.pipeline.name;
    // It is never closed.
    let writing = world.writers.acquire().await.ok();
    let landed = lot.land(line.table.as_ref()).await;
    landed.map_err(|source| failed(name, "commit to", source))?;
    drop(writing);
    for (trace, seen) in traces {
        trace.tell(Step::read(format!("land {name}"), seen.elapsed()));
    }
    world.states.forget_before(name, oldest_state);
    let waited = oldest.map_or(0, |oldest| (world.clock.now() - oldest).num_milliseconds().max(0));
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a wait are few")]
    world.metrics.landed(name, lag, waited as f64 / 1_000.0);
    // What came meanwhile has waited since then at most.
    let more = (line.tail.fill().rows > 0).then(|| world.clock.now());
    world.metrics.waiting_since(name, more);
    Ok(())
}

/// Where a pipeline's table says that reading goes on, and the number of the state of then.
pub async fn committed(
    log: &dyn Log,
    pipeline: &Pipeline,
    table: &dyn Table,
) -> Result<(Offsets, u64), PipelineError> {
    // A stream may have let go of its beginning; what is there still is read.
    let start = |topic, partition| log.start(topic, partition);
    let mut from = offsets::each(log, &pipeline.topics(), start)?;
    let mut names: Vec<String> = applications(pipeline, &from).into_keys().collect();
    names.push(state_application(pipeline));
    let kept = table.positions(&names).await;
    let kept = kept.map_err(|source| failed(&pipeline.name, "read the positions of", source))?;
    offsets::take_up(pipeline, &mut from, &kept);
    for (topic, positions) in &from {
        for (partition, position) in (0_u32..).zip(positions) {
            let end = log.end(*topic, partition)?;
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

/// Whether a pipeline can go on where its table is: its streams reach that far, and what it had gathered
/// by then is there.
///
/// # Errors
/// Where it cannot, or nobody can say.
pub async fn check(
    log: &dyn Log,
    states: &States,
    pipeline: &Pipeline,
    table: &dyn Table,
) -> Result<(), PipelineError> {
    let (_, state) = committed(log, pipeline, table).await?;
    if pipeline.blueprint.is_stateful() && state > 0 {
        kept_state(states, pipeline, state)?;
    }
    Ok(())
}

fn kept_state(states: &States, pipeline: &Pipeline, number: u64) -> Result<State, PipelineError> {
    let kept = states.kept(&pipeline.name, number);
    let bytes = kept
        .map_err(|source| unread(pipeline, source))?
        .ok_or_else(|| PipelineError::StateMissing { pipeline: pipeline.name.clone(), number })?;
    State::decode(&bytes, pipeline.query).map_err(|source| pipeline.failed(source))
}

fn unread(pipeline: &Pipeline, source: std::io::Error) -> PipelineError {
    PipelineError::State { pipeline: pipeline.name.clone(), attempted: "read", source }
}

fn state_application(pipeline: &Pipeline) -> String {
    format!("{}/state", pipeline.name)
}

/// Lets a table be looked after, where that is due. It costs no rows; the next turn tries again.
pub async fn look_after(table: &dyn Table) {
    if let Err(error) = table.maintain(SystemClock.now()).await {
        tracing::warn!(table = table.schema().name, %error, "a table is not looked after");
    }
}

pub fn failed(pipeline: &str, attempted: &'static str, source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: pipeline.to_owned(), attempted, source }
}
