//! Runs a file over files: sources and sinks are `single_file` or `filesystem`, and the run ends with the
//! sources. A source may be a topic of a Fluvio cluster, too, which ends where it ended at the start.
//! What the run makes may go to `redis`, and its rows be looked up there.
//!
//! This is how an analyst tries a pipeline before a cluster or a node runs it, and how the dialect's
//! own tests are run.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, Schema},
};
use datafusion::common::Result as EngineResult;

use crate::{
    dataflow::{Flow, state::State, time::RETRACT},
    dialect::Connector,
    error::PipelineError,
    pipeline::Pipeline,
    planner,
};
use sink::Sink;
use source::Source;

pub(crate) mod lines;
pub(crate) mod rows;
mod sink;
mod source;
mod topic;
mod values;

/// How a file is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Lines, or records, of a source read at once.
    pub batch: usize,
    /// What happens with everything gathered after each batch.
    pub kept: Kept,
}

/// What happens with what is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It stays in memory.
    Not,
    /// It is saved, as at every commit, and the same flow goes on.
    Saved,
    /// It is saved and taken up by a new flow, as after a crash.
    Restored,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 1_024, kept: Kept::Not }
    }
}

/// What a run wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The sink's table.
    pub table: String,
    /// Its file or folder; of Redis the word, and where it was asked first.
    pub path: PathBuf,
    /// Rows in it, each a line where it is JSON.
    pub lines: u64,
    /// Rows that came after their window had closed.
    pub late: u64,
}

/// What a run answers in the end.
pub type Run<'a> = Pin<Box<dyn Future<Output = Result<Vec<Written>, PipelineError>> + Send + 'a>>;

/// Runs every query of a file to the end of its sources.
///
/// # Errors
/// Where the file does not plan, reads something else than files and topics, fills something else than
/// files, or a line or record is not what its source declares; and where a cluster does not answer.
pub fn run<'a>(name: &'a str, text: &'a str, settings: Settings) -> Run<'a> {
    Box::pin(async move {
        let mut written = Vec::new();
        for pipeline in planner::standalone(&[], name, text).await? {
            written.push(one(&pipeline, settings).await?);
        }
        Ok(written)
    })
}

async fn one(pipeline: &Pipeline, settings: Settings) -> Result<Written, PipelineError> {
    let _turn = Arc::clone(&pipeline.turn).lock_owned().await;
    let failed = |source| pipeline.failed(source);
    let mut read = read(pipeline, settings.batch).await?;
    let mut partitions = vec![1; pipeline.inputs.len()];
    for table in &read {
        for (input, _) in &table.inputs {
            partitions[*input] = table.source.partitions();
        }
    }
    let start = || Flow::start(&pipeline.blueprint, &partitions).map_err(failed);
    let (mut flow, mut sink) = (start()?, Sink::create(pipeline).await?);
    let mut late = 0;
    while read.iter().any(|table| !table.ended) {
        for table in read.iter_mut().filter(|table| !table.ended) {
            let rows = table.source.read().await?;
            table.ended = rows.is_none();
            for (input, columns) in &table.inputs {
                let made = match &rows {
                    Some((partition, rows)) => {
                        let rows = seen(rows, columns).map_err(failed)?;
                        flow.take(*input, *partition, rows).await
                    }
                    None => flow.end(*input).await,
                };
                sink.write(&made.map_err(failed)?).await?;
            }
            late += flow.take_late().iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
            if settings.kept != Kept::Not {
                sink.write(&flow.flush().await.map_err(failed)?).await?;
                let state = flow.save().and_then(|state| state.encode(pipeline.query));
                let state = state.and_then(|state| State::decode(&state, pipeline.query));
                let state = state.map_err(failed)?;
                if settings.kept == Kept::Restored {
                    flow = start()?;
                    flow.load(state).map_err(failed)?;
                }
            }
        }
    }
    sink.write(&flow.flush().await.map_err(failed)?).await?;
    sink.finish(late)
}

/// A table that is read, once, however often the query names it.
struct Read {
    source: Source,
    ended: bool,
    /// The flow's sources that it feeds, each with the names of its columns.
    inputs: Vec<(usize, Vec<String>)>,
}

/// The tables that a pipeline reads.
async fn read(pipeline: &Pipeline, most: usize) -> Result<Vec<Read>, PipelineError> {
    let mut tables: Vec<&str> = Vec::new();
    for input in &pipeline.inputs {
        // Its rows are asked for one by one, where they are looked up.
        let is_asked = matches!(input.table.connector, Connector::Redis(_));
        if !is_asked && !tables.contains(&input.table.name.as_str()) {
            tables.push(&input.table.name);
        }
    }
    let mut read = Vec::with_capacity(tables.len());
    for table in tables {
        let of = pipeline.inputs.iter().enumerate();
        let of: Vec<_> = of.filter(|(_, input)| input.table.name == table).collect();
        let mut columns: Vec<FieldRef> = Vec::new();
        for field in of.iter().flat_map(|(_, input)| input.columns.fields()) {
            if columns.iter().all(|known| known.name() != field.name()) {
                columns.push(Arc::clone(field));
            }
        }
        let Some((_, first)) = of.first() else { continue };
        let columns = Arc::new(Schema::new(columns));
        let source = Source::open(pipeline, &first.table, columns, most).await?;
        let inputs = of.iter().map(|(at, input)| {
            let names = input.columns.fields().iter().map(|field| field.name().clone());
            (*at, names.collect())
        });
        read.push(Read { source, ended: false, inputs: inputs.collect() });
    }
    Ok(read)
}

/// The columns of a table's rows that one of the flow's sources reads.
fn seen(rows: &RecordBatch, columns: &[String]) -> EngineResult<RecordBatch> {
    let schema = rows.schema();
    let hidden = schema.index_of(RETRACT).ok();
    let places = columns.iter().map(|name| schema.index_of(name));
    let mut places = places.collect::<Result<Vec<usize>, _>>()?;
    places.extend(hidden);
    Ok(rows.project(&places)?)
}

fn wrong(pipeline: &str, reason: String) -> PipelineError {
    PipelineError::Definition { file: pipeline.to_owned(), reason }
}
