//! Runs pipelines: each stream is read and decoded once for all the pipelines over it.
//!
//! One task per stream reads; one per pipeline runs its query and commits. Between them stand short
//! queues, so a slow table slows the reading and memory stays bounded.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use ingest::{clock::Clock, log::Log, topic::Topic};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use warehouse::table::Table;

use crate::{
    config::Settings,
    decode::{Decoder, union},
    error::PipelineError,
    metrics::Metrics,
    pipeline::Pipeline,
};

mod feed;
mod lander;

use feed::Feed;
use lander::Lander;

/// The offset after the last record to land, for every partition of each stream.
pub type Ends = BTreeMap<Topic, Vec<u64>>;

/// A pipeline and its table.
#[derive(Clone, Debug)]
struct Line {
    pipeline: Arc<Pipeline>,
    table: Arc<dyn Table>,
}

/// Pipelines over the streams of one log.
#[derive(Debug)]
pub struct Runner {
    log: Arc<dyn Log>,
    world: World,
    streams: BTreeMap<Topic, Vec<Line>>,
}

/// What every task of a runner has.
#[derive(Clone)]
struct World {
    settings: Settings,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// Until when a stream is read.
#[derive(Clone, Debug)]
enum Until {
    /// Up to these offsets.
    Ends(Vec<u64>),
    /// Until told to stop.
    Stopped(watch::Receiver<bool>),
}

impl Runner {
    /// Pipelines with their tables.
    ///
    /// # Errors
    /// Where a pipeline makes other columns than its table holds.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        settings: Settings,
        pipelines: Vec<(Pipeline, Arc<dyn Table>)>,
    ) -> Result<Self, PipelineError> {
        let mut streams: BTreeMap<Topic, Vec<Line>> = BTreeMap::new();
        for (pipeline, table) in pipelines {
            pipeline.check(&table.schema().arrow())?;
            let line = Line { pipeline: Arc::new(pipeline), table };
            streams.entry(line.pipeline.topic).or_default().push(line);
        }
        Ok(Self { log, world: World { settings, metrics, clock }, streams })
    }

    /// Where the streams of these pipelines end now.
    ///
    /// # Errors
    /// Where the log is stopped.
    pub fn ends(&self) -> Result<Ends, PipelineError> {
        let ends = |topic: &Topic| {
            let partitions = 0..self.log.partitions(*topic);
            let ends = partitions.map(|partition| self.log.end(*topic, partition));
            Ok((*topic, ends.collect::<Result<_, PipelineErrorOfLog>>()?))
        };
        self.streams.keys().map(ends).collect()
    }

    /// Lands everything before `ends`; a stream that is not named is landed to its present end.
    /// When it answers, every table's positions are there, whether rows came or not.
    ///
    /// # Errors
    /// The first pipeline's that fails; what the others have committed stays.
    pub async fn catch_up(&self, ends: &Ends) -> Result<(), PipelineError> {
        let present = self.ends()?;
        let mut tasks = JoinSet::new();
        for (topic, lines) in &self.streams {
            let ends = ends.get(topic).or_else(|| present.get(topic)).cloned();
            let until = Until::Ends(ends.unwrap_or_default());
            let log = Arc::clone(&self.log);
            tasks.spawn(landing(log, *topic, lines.clone(), self.world.clone(), until));
        }
        first_failure(tasks).await
    }

    /// Lands what comes, until `stop` turns true; then commits what was read and answers.
    ///
    /// # Errors
    /// The first failure that does not pass by itself.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        let mut tasks = JoinSet::new();
        for (topic, lines) in &self.streams {
            let log = Arc::clone(&self.log);
            tasks.spawn(serving(log, *topic, lines.clone(), self.world.clone(), stop.clone()));
        }
        first_failure(tasks).await
    }
}

type PipelineErrorOfLog = ingest::error::LogError;

/// A task of the runner. It is boxed by a plain function, so that the engine's futures are compiled
/// here, once, and not again in every crate that runs pipelines.
type Task = Pin<Box<dyn Future<Output = Result<(), PipelineError>> + Send>>;

fn landing(log: Arc<dyn Log>, topic: Topic, lines: Vec<Line>, world: World, until: Until) -> Task {
    Box::pin(stream(log, topic, lines, world, until))
}

fn serving(
    log: Arc<dyn Log>,
    topic: Topic,
    lines: Vec<Line>,
    world: World,
    stop: watch::Receiver<bool>,
) -> Task {
    Box::pin(serve(log, topic, lines, world, stop))
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

/// Runs a stream's pipelines, and starts them again from what is committed after a failure that may
/// pass.
async fn serve(
    log: Arc<dyn Log>,
    topic: Topic,
    lines: Vec<Line>,
    world: World,
    stop: watch::Receiver<bool>,
) -> Result<(), PipelineError> {
    let mut left = world.settings.restarts;
    loop {
        let until = Until::Stopped(stop.clone());
        let started = tokio::time::Instant::now();
        match stream(Arc::clone(&log), topic, lines.clone(), world.clone(), until).await {
            // A full disk has its time.
            Err(error) if error.retry() && (left > 0 || log.takes().is_err()) => {
                // What ran for long was healthy again in between.
                let healthy = world.settings.restart_pause.saturating_mul(60);
                let again = started.elapsed() > healthy || log.takes().is_err();
                left = if again { world.settings.restarts } else { left - 1 };
                tracing::warn!(%topic, %error, left, "pipelines start again");
                tokio::time::sleep(world.settings.restart_pause).await;
            }
            ended => return ended,
        }
    }
}

/// Runs the pipelines of one stream from what is committed.
async fn stream(
    log: Arc<dyn Log>,
    topic: Topic,
    lines: Vec<Line>,
    world: World,
    until: Until,
) -> Result<(), PipelineError> {
    let pipelines: Vec<&Pipeline> = lines.iter().map(|line| line.pipeline.as_ref()).collect();
    let columns = union(&pipelines)?;
    let partitions = usize::try_from(log.partitions(topic)).unwrap_or(usize::MAX);
    let mut from: Option<Vec<u64>> = None;
    let (mut queues, mut tasks) = (Vec::new(), JoinSet::new());
    for line in lines {
        let (log, world) = (Arc::clone(&log), world.clone());
        let lander = Lander::new(log, world.clone(), line, &columns, partitions).await?;
        let lowest = from.get_or_insert_with(|| lander.positions().to_vec());
        for (lowest, position) in lowest.iter_mut().zip(lander.positions()) {
            *lowest = (*lowest).min(*position);
        }
        let (queue, batches) = mpsc::channel(world.settings.queued_batches);
        queues.push(queue);
        tasks.spawn(lander.run(batches));
    }
    let feed = Feed {
        log,
        topic,
        decoder: Decoder::new(topic, columns)?,
        next: from.unwrap_or_default(),
        batch: world.settings.batch_records,
        queues,
    };
    let fed = feed.run(until).await;
    first_failure(tasks).await.and(fed)
}
