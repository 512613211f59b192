//! Runs pipelines: each stream is read and decoded once for all the pipelines over it.
//!
//! Of the streams that a pipeline reads together each partition is read and decoded by a task of its
//! own, a batch ahead; one task takes of these batches that of the partition that time has come least
//! far in, and one task per pipeline runs its dataflow and commits. Between them stand short queues, so
//! a slow table slows the reading and memory stays bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
};

use ingest::{clock::Clock, log::Log, topic::Topic};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use warehouse::{
    schema,
    table::Table,
    tail::{Tail, Tails},
};

use crate::{
    config::Settings,
    decode::{Decoder, union},
    error::PipelineError,
    metrics::Metrics,
    pipeline::Pipeline,
    states::States,
};

mod batch;
mod feed;
mod lander;
mod late;
mod offsets;
mod reader;
mod restart;
mod serve;

use feed::{Feed, Queue};
use lander::Lander;
pub use lander::check;
pub(crate) use lander::look_after;
use offsets::Offsets;
use reader::{Partition, Reader, Stream};
pub use restart::{Begin, restart};

/// The offset after the last record to land, for every partition of each stream.
pub type Ends = Offsets;

/// A pipeline, its table, and the rows that have not landed there.
#[derive(Clone, Debug)]
struct Line {
    pipeline: Arc<Pipeline>,
    table: Arc<dyn Table>,
    tail: Tail,
}

impl Line {
    /// Whether the table is an operator's own, not one that the platform itself reads.
    fn is_own(&self) -> bool {
        schema::TABLES.iter().all(|known| known.name != self.table.schema().name)
    }
}

/// What stands beside the tables that pipelines fill.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// Where they keep what they gather.
    pub states: Arc<States>,
    /// The rows that have not landed.
    pub tails: &'a Tails,
    /// The table that keeps rows which came after their window had closed; without one they are only
    /// counted.
    pub late: Option<Arc<dyn Table>>,
}

/// Streams that are read together, and the pipelines over them.
#[derive(Clone, Debug, Default)]
struct Group {
    topics: BTreeSet<Topic>,
    lines: Vec<Line>,
}

impl Group {
    fn add(&mut self, line: Line) {
        self.topics.extend(line.pipeline.topics());
        self.lines.push(line);
    }
}

/// Pipelines over the streams of one log.
#[derive(Debug)]
pub struct Runner {
    log: Arc<dyn Log>,
    world: World,
    groups: Vec<Group>,
}

/// What every task of a runner has.
#[derive(Clone)]
struct World {
    settings: Settings,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    states: Arc<States>,
    late: Option<Arc<dyn Table>>,
    /// Who writes files: as many at once as the machine has cores, for each needs memory of its own.
    writers: Arc<Semaphore>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// Until when streams are read.
#[derive(Clone, Debug)]
struct Until {
    /// Up to these offsets; where none are said, for ever.
    ends: Option<Ends>,
    /// Until told to stop; where nobody tells, up to the ends.
    stop: Option<watch::Receiver<bool>>,
}

impl Until {
    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| *stop.borrow())
    }
}

impl Runner {
    /// Pipelines with their tables, which were opened with their tails, and where they keep what
    /// they gather.
    ///
    /// # Errors
    /// Where a pipeline makes other columns than its table holds.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        settings: Settings,
        beside: Beside<'_>,
        pipelines: Vec<(Pipeline, Arc<dyn Table>)>,
    ) -> Result<Self, PipelineError> {
        let mut groups = Vec::new();
        for (pipeline, table) in pipelines {
            pipeline.check(&table.schema().arrow())?;
            let topics = pipeline.topics().into_iter().collect();
            let tail = beside.tails.of(table.schema());
            join(&mut groups, topics, Line { pipeline: Arc::new(pipeline), table, tail });
        }
        let Beside { states, late, .. } = beside;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let writers = Arc::new(Semaphore::new(cores));
        let world = World { settings, metrics, clock, states, late, writers };
        Ok(Self { log, world, groups })
    }

    /// The pipelines.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.groups.iter().flat_map(|group| &group.lines).map(|line| line.pipeline.as_ref())
    }

    /// Where the streams of these pipelines end now.
    ///
    /// # Errors
    /// Where the log is stopped.
    pub fn ends(&self) -> Result<Ends, PipelineError> {
        offsets::ends(self.log.as_ref(), self.groups.iter().flat_map(|group| &group.topics))
    }

    /// Lands everything before `ends`; a stream that is not named is landed to its present end.
    /// When it answers, every table's positions are there, whether rows came or not.
    ///
    /// # Errors
    /// The first pipeline's that fails; what the others have committed stays.
    pub async fn catch_up(&self, ends: &Ends) -> Result<(), PipelineError> {
        let mut until = self.ends()?;
        until.extend(ends.iter().map(|(topic, ends)| (*topic, ends.clone())));
        let mut tasks = JoinSet::new();
        for group in &self.groups {
            let (log, until) =
                (Arc::clone(&self.log), Until { ends: Some(until.clone()), stop: None });
            tasks.spawn(landing(log, group.clone(), self.world.clone(), until));
        }
        first_failure(tasks).await
    }

    /// Lands everything up to where the streams end now, but for the operator's own tables that are
    /// far behind the others, as new ones are: [`run`](Self::run) lands these, and nobody waits for
    /// them.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub async fn catch_up_abreast(&self) -> Result<(), PipelineError> {
        let until = Until { ends: Some(self.ends()?), stop: None };
        let mut tasks = JoinSet::new();
        for group in &self.groups {
            let log = Arc::clone(&self.log);
            tasks.spawn(landing_abreast(log, group.clone(), self.world.clone(), until.clone()));
        }
        first_failure(tasks).await
    }

    /// Lands what comes, until `stop` turns true; then commits what was read and answers.
    ///
    /// # Errors
    /// The first failure that does not pass by itself.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        let mut tasks = JoinSet::new();
        for group in &self.groups {
            let log = Arc::clone(&self.log);
            tasks.spawn(serving(log, group.clone(), self.world.clone(), stop.clone()));
        }
        first_failure(tasks).await
    }
}

/// Adds a pipeline to the groups: those whose streams it reads become one.
fn join(groups: &mut Vec<Group>, topics: BTreeSet<Topic>, line: Line) {
    let shared = |group: &mut Group| !group.topics.is_disjoint(&topics);
    let mut joined = Group { topics: topics.clone(), lines: Vec::new() };
    for group in groups.extract_if(.., shared) {
        joined.topics.extend(group.topics);
        joined.lines.extend(group.lines);
    }
    joined.lines.push(line);
    groups.push(joined);
}

/// A task of the runner. It is boxed by a plain function, so that the engine's futures are compiled
/// here, once, and not again in every crate that runs pipelines.
type Task = Pin<Box<dyn Future<Output = Result<(), PipelineError>> + Send>>;

fn landing(log: Arc<dyn Log>, group: Group, world: World, until: Until) -> Task {
    Box::pin(land(log, group, world, until))
}

fn landing_abreast(log: Arc<dyn Log>, group: Group, world: World, until: Until) -> Task {
    Box::pin(async move {
        let group = serve::abreast(&log, &group).await?;
        land(log, group, world, until).await
    })
}

fn serving(log: Arc<dyn Log>, group: Group, world: World, stop: watch::Receiver<bool>) -> Task {
    Box::pin(serve::serve(log, group, world, stop))
}

async fn first_failure(mut tasks: JoinSet<Result<(), PipelineError>>) -> Result<(), PipelineError> {
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(PipelineError::from).and_then(|result| result);
        if first.is_ok() {
            first = ended;
        }
    }
    first
}

/// Runs the pipelines of a group from what is committed.
async fn land(
    log: Arc<dyn Log>,
    group: Group,
    world: World,
    until: Until,
) -> Result<(), PipelineError> {
    let pipelines: Vec<&Pipeline> = group.lines.iter().map(|line| line.pipeline.as_ref()).collect();
    let looked_up: BTreeSet<Topic> =
        pipelines.iter().flat_map(|pipeline| pipeline.looked_up()).collect();
    let mut streams = BTreeMap::new();
    for topic in &group.topics {
        streams.insert(*topic, union(&pipelines, *topic)?);
    }
    let mut from: BTreeMap<Topic, Vec<u64>> = BTreeMap::new();
    let (mut queues, mut tasks) = (Vec::new(), JoinSet::new());
    for line in group.lines {
        let topics = line.pipeline.topics();
        let lander = Lander::new(Arc::clone(&log), world.clone(), line, &streams).await?;
        for (topic, positions) in lander.positions() {
            let lowest = from.entry(*topic).or_insert_with(|| positions.clone());
            for (lowest, position) in lowest.iter_mut().zip(positions) {
                *lowest = (*lowest).min(*position);
            }
        }
        let (to, batches) = mpsc::channel(world.settings.queued_batches);
        queues.push(Queue { topics, to });
        tasks.spawn(lander.run(batches));
    }
    let mut read = Vec::new();
    for (topic, columns) in streams {
        let from = from.remove(&topic).unwrap_or_default().into_iter();
        let partitions =
            from.map(|next| Ok(Partition::new(next, Decoder::new(topic, Arc::clone(&columns))?)));
        let partitions = partitions.collect::<Result<_, PipelineError>>()?;
        read.push(Stream { topic, looked_up: looked_up.contains(&topic), partitions });
    }
    let reader = Reader { log, streams: read, batch: world.settings.batch_records, until };
    let fed = Feed { reader, queues }.run().await;
    first_failure(tasks).await.and(fed)
}
