//! Runs a file over files: sources and sinks are `single_file`, and the run ends with the sources.
//!
//! This is how an analyst tries a pipeline before a cluster or a node runs it, and how the dialect's
//! own tests are run.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
    json::{ReaderBuilder, WriterBuilder, reader::Decoder, writer::LineDelimited},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{json, value::RawValue};

use crate::{
    dataflow::{Flow, state::State, time::RETRACT},
    dialect::{
        Connector, TableDefinition,
        format::{Format, JsonFormat},
    },
    error::PipelineError,
    pipeline::{Input, Pipeline},
    planner,
};
use values::Values;

mod values;

/// How a file is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Lines of a source read at once.
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
    /// Its file.
    pub path: PathBuf,
    /// Lines of it.
    pub lines: u64,
    /// Rows that came after their window had closed.
    pub late: u64,
}

/// What a run answers in the end.
pub type Run<'a> = Pin<Box<dyn Future<Output = Result<Vec<Written>, PipelineError>> + Send + 'a>>;

/// Runs every query of a file to the end of its sources.
///
/// # Errors
/// Where the file does not plan, reads or fills something else than files, or a line is not what its
/// source declares.
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
    let partitions = vec![1; pipeline.inputs.len()];
    let start = || Flow::start(&pipeline.blueprint, &partitions).map_err(failed);
    let inputs = pipeline.inputs.iter();
    let open = |input: &Input| Source::open(pipeline, input, settings.batch);
    let sources = inputs.map(open);
    let mut sources =
        sources.collect::<Result<Vec<_>, _>>()?.into_iter().map(Some).collect::<Vec<_>>();
    let (mut flow, mut sink) = (start()?, Sink::create(pipeline)?);
    let mut late = 0;
    while sources.iter().any(Option::is_some) {
        for (at, open) in sources.iter_mut().enumerate() {
            let Some(source) = open else { continue };
            let made = match source.read(settings.batch)? {
                Some(rows) => flow.take(at, 0, rows).await,
                None => {
                    *open = None;
                    flow.end(at).await
                }
            };
            sink.write(&made.map_err(failed)?)?;
            late += flow.take_late().iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
            if settings.kept != Kept::Not {
                sink.write(&flow.flush().await.map_err(failed)?)?;
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
    sink.write(&flow.flush().await.map_err(failed)?)?;
    sink.finish(late)
}

fn wrong(pipeline: &str, reason: String) -> PipelineError {
    PipelineError::Definition { file: pipeline.to_owned(), reason }
}

/// The path and the form of a table's file.
fn file_of<'a>(
    pipeline: &Pipeline,
    table: &'a TableDefinition,
) -> Result<(&'a str, &'a JsonFormat), PipelineError> {
    match (&table.connector, &table.format) {
        (Connector::SingleFile(file), Some(Format::Json(format))) => Ok((&file.path, format)),
        (other, _) => {
            let (table, name) = (&table.name, other.name());
            let reason =
                format!("table {table} is {name}; only single_file with JSON runs over files");
            Err(wrong(&pipeline.name, reason))
        }
    }
}

/// A source's lines.
struct Source {
    pipeline: String,
    path: String,
    lines: std::iter::Enumerate<std::io::Lines<BufReader<File>>>,
    decoder: Decoder,
    columns: SchemaRef,
    debezium: bool,
    /// Whether a line is one value, whatever it holds.
    unstructured: bool,
    ended: bool,
}

impl Source {
    fn open(pipeline: &Pipeline, input: &Input, most: usize) -> Result<Self, PipelineError> {
        let (columns, (path, format)) = (&input.columns, file_of(pipeline, &input.table)?);
        let file = File::open(path)
            .map_err(|error| wrong(&pipeline.name, format!("cannot read {path}: {error}")))?;
        // A line of changes is two rows at most; the decoder takes no more than it was told.
        let decoder = ReaderBuilder::new(Arc::clone(columns)).with_batch_size(2 * most);
        let decoder = decoder.build_decoder();
        let decoder = decoder.map_err(|error| pipeline.failed(error.into()))?;
        Ok(Self {
            pipeline: pipeline.name.clone(),
            path: path.to_owned(),
            lines: BufReader::new(file).lines().enumerate(),
            decoder,
            columns: Arc::clone(columns),
            debezium: format.debezium,
            unstructured: format.unstructured,
            ended: false,
        })
    }

    /// The next rows; none at the end.
    fn read(&mut self, most: usize) -> Result<Option<RecordBatch>, PipelineError> {
        if self.ended {
            return Ok(None);
        }
        let (mut back, mut first) = (Vec::new(), None);
        let read: Vec<_> = self.lines.by_ref().take(most).collect();
        for (at, line) in read {
            first.get_or_insert(at + 1);
            let line = line.map_err(|error| self.unreadable(at + 1, &error))?;
            if line.trim().is_empty() {
                continue;
            }
            let rows = self.rows(&line).map_err(|error| self.unreadable(at + 1, &error))?;
            for (row, retract) in rows {
                let Some(row) = row else { continue };
                let decoded = self.decoder.decode(row.as_bytes());
                decoded.map_err(|error| self.unreadable(at + 1, &error))?;
                back.push(retract);
            }
        }
        let Some(first) = first else {
            self.ended = true;
            return Ok(None);
        };
        let batch = self.decoder.flush().map_err(|error| self.unreadable(first, &error))?;
        let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.columns)));
        self.with_back(batch, back).map(Some)
    }

    /// A line's rows, and whether each takes back an earlier one. They stay text, as a decimal has
    /// more digits than a float.
    fn rows<'a>(&self, line: &'a str) -> serde_json::Result<[(Option<Cow<'a, str>>, bool); 2]> {
        if self.unstructured {
            let row = json!({"value": line}).to_string();
            return Ok([(None, true), (Some(row.into()), false)]);
        }
        if self.debezium {
            // What was there is taken back, what is there now comes.
            let change: Change<'a> = serde_json::from_str(line)?;
            let text = |row: Option<&'a RawValue>| row.map(|row| row.get().into());
            return Ok([(text(change.before), true), (text(change.after), false)]);
        }
        // The decoder would take several objects of a line, and what is no number if unread.
        serde_json::from_str::<IgnoredAny>(line)?;
        Ok([(None, true), (Some(line.into()), false)])
    }

    /// Rows of changes say which of them take back an earlier one.
    fn with_back(&self, batch: RecordBatch, back: Vec<bool>) -> Result<RecordBatch, PipelineError> {
        if !self.debezium {
            return Ok(batch);
        }
        let field = Field::new(RETRACT, DataType::Boolean, false);
        let fields =
            batch.schema().fields().iter().cloned().chain([Arc::new(field)]).collect::<Vec<_>>();
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(BooleanArray::from(back)));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| self.unreadable(0, &error))
    }

    fn unreadable(&self, line: usize, error: &dyn std::fmt::Display) -> PipelineError {
        wrong(&self.pipeline, format!("{} from line {line}: {error}", self.path))
    }
}

/// A debezium line.
#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

/// A sink's lines.
struct Sink {
    pipeline: String,
    table: String,
    path: PathBuf,
    file: BufWriter<File>,
    debezium: bool,
    values: Values,
    lines: u64,
}

impl Sink {
    fn create(pipeline: &Pipeline) -> Result<Self, PipelineError> {
        let (path, format) = file_of(pipeline, &pipeline.sink)?;
        let file = File::create(path)
            .map_err(|error| wrong(&pipeline.name, format!("cannot write {path}: {error}")))?;
        Ok(Self {
            pipeline: pipeline.name.clone(),
            table: pipeline.sink.name.clone(),
            path: PathBuf::from(path),
            file: BufWriter::new(file),
            debezium: format.debezium,
            values: Values::of(format),
            lines: 0,
        })
    }

    fn write(&mut self, rows: &[RecordBatch]) -> Result<(), PipelineError> {
        for batch in rows {
            let back = batch.column_by_name(RETRACT).map(|back| back.as_boolean().clone());
            for (row, line) in self.text(batch)?.lines().enumerate() {
                let retract = back.as_ref().is_some_and(|back| back.value(row));
                let written = match (self.debezium, retract) {
                    (false, _) => writeln!(self.file, "{line}"),
                    (true, false) => {
                        writeln!(self.file, r#"{{"before":null,"after":{line},"op":"c"}}"#)
                    }
                    (true, true) => {
                        writeln!(self.file, r#"{{"before":{line},"after":null,"op":"d"}}"#)
                    }
                };
                written.map_err(|error| self.unwritten(&error))?;
                self.lines += 1;
            }
        }
        Ok(())
    }

    /// Rows as lines.
    fn text(&self, batch: &RecordBatch) -> Result<String, PipelineError> {
        let visible = batch.schema().fields().iter().position(|field| field.name() == RETRACT);
        let columns: Vec<usize> = (0..visible.unwrap_or(batch.num_columns())).collect();
        let rows = batch.project(&columns).map_err(|error| self.unwritten(&error))?;
        // As on a cluster, what is NULL is written, too.
        let writer = WriterBuilder::new().with_explicit_nulls(true);
        let writer = writer.with_encoder_factory(Arc::new(self.values));
        let mut writer = writer.build::<_, LineDelimited>(Vec::new());
        let written = writer.write(&rows).and_then(|()| writer.finish());
        written.map_err(|error| self.unwritten(&error))?;
        String::from_utf8(writer.into_inner()).map_err(|error| self.unwritten(&error))
    }

    fn finish(mut self, late: u64) -> Result<Written, PipelineError> {
        self.file.flush().map_err(|error| self.unwritten(&error))?;
        Ok(Written { table: self.table, path: self.path, lines: self.lines, late })
    }

    fn unwritten(&self, error: &dyn std::fmt::Display) -> PipelineError {
        wrong(&self.pipeline, format!("cannot write {}: {error}", self.path.display()))
    }
}
