//! Reads a table: a file of lines, all files of a folder in the order of their names, or a topic.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::{CastOptions, cast_with_options},
    datatypes::SchemaRef,
    error::ArrowError,
};
use datafusion::parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};

use super::{rows::Rows, topic::Topic, wrong};
use crate::{
    dialect::{
        Connector, TableDefinition,
        connector::{Filesystem, local},
        format::Format,
    },
    error::PipelineError,
    pipeline::Pipeline,
};

/// A table's rows.
pub(super) enum Source {
    Files(Files),
    Topic(Box<Topic>),
}

/// The rows of files.
pub(super) struct Files {
    pipeline: String,
    files: VecDeque<PathBuf>,
    reader: Reader,
}

enum Reader {
    Lines(Box<Lines>),
    Parquet(Box<Parquet>),
}

impl Source {
    pub(super) async fn open(
        pipeline: &Pipeline,
        table: &TableDefinition,
        columns: SchemaRef,
        most: usize,
    ) -> Result<Self, PipelineError> {
        let (Connector::Fluvio(fluvio), Some(Format::Json(_) | Format::RawString)) =
            (&table.connector, &table.format)
        else {
            return Files::open(pipeline, table, columns, most).map(Self::Files);
        };
        let rows = Rows::new(table, columns, most);
        let rows = rows.map_err(|error| pipeline.failed(error.into()))?;
        let opened = Topic::open(&pipeline.name, fluvio, rows, most);
        Ok(Self::Topic(Box::new(Box::pin(opened).await?)))
    }

    /// How many partitions it has; files are one.
    pub(super) fn partitions(&self) -> usize {
        match self {
            Self::Files(_) => 1,
            Self::Topic(topic) => topic.partitions(),
        }
    }

    /// The next rows, and their partition; none at the end.
    pub(super) async fn read(&mut self) -> Result<Option<(usize, RecordBatch)>, PipelineError> {
        match self {
            Self::Files(files) => Ok(files.read()?.map(|rows| (0, rows))),
            Self::Topic(topic) => Box::pin(topic.read()).await,
        }
    }
}

impl Files {
    fn open(
        pipeline: &Pipeline,
        table: &TableDefinition,
        columns: SchemaRef,
        most: usize,
    ) -> Result<Self, PipelineError> {
        let name = pipeline.name.clone();
        let files = match &table.connector {
            Connector::SingleFile(file) => VecDeque::from([PathBuf::from(&file.path)]),
            Connector::Filesystem(Filesystem::Source(folder)) => files(&name, local(&folder.path))?,
            other => return Err(elsewhere(&name, table, other)),
        };
        let reader = match &table.format {
            Some(Format::Json(_) | Format::RawString) => {
                let rows = Rows::new(table, columns, most);
                let rows = rows.map_err(|error| pipeline.failed(error.into()))?;
                let (pipeline, path) = (name.clone(), PathBuf::new());
                Reader::Lines(Box::new(Lines { pipeline, path, lines: None, rows, most }))
            }
            Some(Format::Parquet(_)) => {
                let pipeline = name.clone();
                Reader::Parquet(Box::new(Parquet { pipeline, columns, most, open: None }))
            }
            _ => return Err(elsewhere(&name, table, &table.connector)),
        };
        Ok(Self { pipeline: name, files, reader })
    }

    /// The next rows, of one file; none at the end.
    fn read(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        loop {
            let rows = match &mut self.reader {
                Reader::Lines(lines) => lines.read()?,
                Reader::Parquet(parquet) => parquet.read()?,
            };
            if rows.is_some() {
                return Ok(rows);
            }
            let Some(path) = self.files.pop_front() else { return Ok(None) };
            let file = File::open(&path).map_err(|error| {
                wrong(&self.pipeline, format!("cannot read {}: {error}", path.display()))
            })?;
            match &mut self.reader {
                Reader::Lines(lines) => lines.begin(path, file),
                Reader::Parquet(parquet) => parquet.begin(path, file)?,
            }
        }
    }
}

/// The files that lie in a folder, in the order of their names. As on a cluster, not those of folders
/// in it.
fn files(pipeline: &str, folder: &str) -> Result<VecDeque<PathBuf>, PipelineError> {
    let listed = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    let listed = listed();
    let listed =
        listed.map_err(|error| wrong(pipeline, format!("cannot read {folder}: {error}")))?;
    Ok(listed.into())
}

fn elsewhere(pipeline: &str, table: &TableDefinition, connector: &Connector) -> PipelineError {
    let (table, name) = (&table.name, connector.name());
    let reason = format!(
        "table {table} is {name}; a run reads single_file and fluvio with JSON or raw_string, and \
         filesystem with these or Parquet"
    );
    wrong(pipeline, reason)
}

/// Reads lines.
struct Lines {
    pipeline: String,
    path: PathBuf,
    lines: Option<std::iter::Enumerate<std::io::Lines<BufReader<File>>>>,
    rows: Rows,
    most: usize,
}

impl Lines {
    fn begin(&mut self, path: PathBuf, file: File) {
        self.path = path;
        self.lines = Some(BufReader::new(file).lines().enumerate());
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut first = None;
        let read: Vec<_> = lines.by_ref().take(self.most).collect();
        for (at, line) in read {
            first.get_or_insert(at + 1);
            let line = line.map_err(|error| self.unreadable(at + 1, &error))?;
            if self.rows.passes_over(&line) {
                continue;
            }
            let taken = self.rows.take(&line);
            taken.map_err(|error| self.unreadable(at + 1, &error))?;
        }
        let Some(first) = first else {
            self.lines = None;
            return Ok(None);
        };
        let rows = self.rows.flush();
        rows.map(Some).map_err(|error| self.unreadable(first, &error))
    }

    fn unreadable(&self, line: usize, error: &dyn std::fmt::Display) -> PipelineError {
        wrong(&self.pipeline, format!("{} from line {line}: {error}", self.path.display()))
    }
}

/// Reads Parquet: the declared columns by their names, cast.
struct Parquet {
    pipeline: String,
    columns: SchemaRef,
    most: usize,
    open: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl Parquet {
    fn begin(&mut self, path: PathBuf, file: File) -> Result<(), PipelineError> {
        let failed = |error: &dyn std::fmt::Display| unreadable(&self.pipeline, &path, error);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        let mut wanted = Vec::with_capacity(self.columns.fields().len());
        for field in self.columns.fields() {
            wanted.push(builder.schema().index_of(field.name()).map_err(|error| failed(&error))?);
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader = builder.with_projection(mask).with_batch_size(self.most).build();
        let reader = reader.map_err(|error| failed(&error))?;
        self.open = Some((path, reader));
        Ok(())
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some((path, reader)) = &mut self.open else { return Ok(None) };
        let Some(rows) = reader.next() else {
            self.open = None;
            return Ok(None);
        };
        let rows = rows.and_then(|rows| as_declared(&rows, &self.columns));
        rows.map(Some).map_err(|error| unreadable(&self.pipeline, path, &error))
    }
}

fn as_declared(rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    // A value that does not fit is an error, never a silent NULL.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let mut made = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        let held = rows.column(rows.schema().index_of(field.name())?);
        made.push(cast_with_options(held, field.data_type(), &strict)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(columns), made, &options)
}

fn unreadable(pipeline: &str, path: &Path, error: &dyn std::fmt::Display) -> PipelineError {
    wrong(pipeline, format!("{}: {error}", path.display()))
}
