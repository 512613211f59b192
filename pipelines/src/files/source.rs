//! Reads a table's files: one of lines, or all of a folder in the order of their names.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{BooleanArray, RecordBatch, RecordBatchOptions},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    json::{ReaderBuilder, reader::Decoder},
};
use datafusion::parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::wrong;
use crate::{
    dataflow::time::RETRACT,
    dialect::{
        Connector, TableDefinition,
        connector::{Filesystem, local},
        format::{Format, JsonFormat},
    },
    error::PipelineError,
    pipeline::Pipeline,
};

/// A table's rows.
pub(super) struct Source {
    pipeline: String,
    files: VecDeque<PathBuf>,
    reader: Reader,
}

enum Reader {
    Lines(Box<Lines>),
    Parquet(Box<Parquet>),
}

impl Source {
    pub(super) fn open(
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
            Some(format @ (Format::Json(_) | Format::RawString)) => {
                let json = table.columns.iter().filter(|column| column.json);
                let json = json.map(|column| column.name.clone());
                let json = json.filter(|name| columns.index_of(name).is_ok()).collect();
                let lines = Lines::new(name.clone(), columns, json, Holds::of(format), most);
                let lines = lines.map_err(|error| pipeline.failed(error.into()))?;
                Reader::Lines(Box::new(lines))
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
    pub(super) fn read(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
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
        "table {table} is {name}; only single_file with JSON or raw_string, and filesystem with \
         these or Parquet, run over files"
    );
    wrong(pipeline, reason)
}

/// Reads lines of JSON.
struct Lines {
    pipeline: String,
    path: PathBuf,
    lines: Option<std::iter::Enumerate<std::io::Lines<BufReader<File>>>>,
    decoder: Decoder,
    columns: SchemaRef,
    /// The columns that hold the text of whatever JSON a line has there.
    json: Vec<String>,
    most: usize,
    holds: Holds,
}

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Row,
    Change,
    /// One value of JSON.
    Value,
    /// A text, which may be empty.
    Text,
}

impl Holds {
    const fn of(format: &Format) -> Self {
        match format {
            Format::Json(JsonFormat { unstructured: true, .. }) => Self::Value,
            Format::Json(JsonFormat { debezium: true, .. }) => Self::Change,
            Format::RawString => Self::Text,
            _ => Self::Row,
        }
    }
}

impl Lines {
    fn new(
        pipeline: String,
        columns: SchemaRef,
        json: Vec<String>,
        holds: Holds,
        most: usize,
    ) -> Result<Self, ArrowError> {
        // A line of changes is two rows at most; the decoder takes no more than it was told.
        let decoder = ReaderBuilder::new(Arc::clone(&columns)).with_batch_size(2 * most);
        Ok(Self {
            pipeline,
            path: PathBuf::new(),
            lines: None,
            decoder: decoder.build_decoder()?,
            columns,
            json,
            most,
            holds,
        })
    }

    fn begin(&mut self, path: PathBuf, file: File) {
        self.path = path;
        self.lines = Some(BufReader::new(file).lines().enumerate());
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let (mut back, mut first) = (Vec::new(), None);
        let read: Vec<_> = lines.by_ref().take(self.most).collect();
        for (at, line) in read {
            first.get_or_insert(at + 1);
            let line = line.map_err(|error| self.unreadable(at + 1, &error))?;
            if self.holds != Holds::Text && line.trim().is_empty() {
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
            self.lines = None;
            return Ok(None);
        };
        let batch = self.decoder.flush().map_err(|error| self.unreadable(first, &error))?;
        let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.columns)));
        self.with_back(batch, back).map(Some)
    }

    /// A line's rows, and whether each takes back an earlier one. They stay text, as a decimal has
    /// more digits than a float.
    fn rows<'a>(&self, line: &'a str) -> serde_json::Result<[(Option<Cow<'a, str>>, bool); 2]> {
        if matches!(self.holds, Holds::Value | Holds::Text) {
            let row = json!({"value": line}).to_string();
            return Ok([(None, true), (Some(row.into()), false)]);
        }
        if self.holds == Holds::Change {
            // What was there is taken back, what is there now comes.
            let change: Change<'a> = serde_json::from_str(line)?;
            let text =
                |row: Option<&'a RawValue>| row.map(|row| self.with_texts(row.get())).transpose();
            return Ok([(text(change.before)?, true), (text(change.after)?, false)]);
        }
        // The decoder would take several objects of a line, and what is no number if unread.
        serde_json::from_str::<IgnoredAny>(line)?;
        Ok([(None, true), (Some(self.with_texts(line)?), false)])
    }

    /// A row in which columns of JSON hold the text of what stands there, which the decoder takes.
    fn with_texts<'a>(&self, row: &'a str) -> serde_json::Result<Cow<'a, str>> {
        if self.json.is_empty() {
            return Ok(row.into());
        }
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(row)?;
        for name in &self.json {
            let Some(value) = fields.get_mut(name).filter(|value| value.get() != "null") else {
                continue;
            };
            *value = to_raw_value(value.get())?;
        }
        Ok(serde_json::to_string(&fields)?.into())
    }

    /// Rows of changes say which of them take back an earlier one.
    fn with_back(&self, batch: RecordBatch, back: Vec<bool>) -> Result<RecordBatch, PipelineError> {
        if self.holds != Holds::Change {
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
        wrong(&self.pipeline, format!("{} from line {line}: {error}", self.path.display()))
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
