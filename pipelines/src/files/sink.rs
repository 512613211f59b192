//! Writes a table's rows: to a file of lines or to Redis as they come, or to a folder, where its files
//! appear whole at the end.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow::array::RecordBatch;
use warehouse::{error::WarehouseError, table::Positions};

use super::{Written, lines::Lines, wrong};
use crate::{
    dialect::{
        Connector,
        connector::{Filesystem, Redis, RedisTable},
        format::Format,
    },
    error::PipelineError,
    folder::{Aside, Folder},
    pipeline::Pipeline,
    redis::Writer,
};

/// A sink.
pub(super) struct Sink {
    pipeline: String,
    table: String,
    path: PathBuf,
    rows: u64,
    to: To,
}

enum To {
    File(BufWriter<File>, Lines),
    Folder(Box<Folder>, Box<Aside>),
    Redis(Box<Writer>),
}

impl Sink {
    pub(super) async fn create(pipeline: &Pipeline) -> Result<Self, PipelineError> {
        let (sink, name) = (&pipeline.sink, pipeline.name.clone());
        let (path, to) = match (&sink.connector, &sink.format) {
            (Connector::SingleFile(file), Some(Format::Json(format))) => {
                let created = File::create(&file.path);
                let created = created.map_err(|error| unwritten(&name, &file.path, &error))?;
                let lines = Lines::of(format, &pipeline.output);
                (PathBuf::from(&file.path), To::File(BufWriter::new(created), lines))
            }
            (Connector::Filesystem(Filesystem::Sink(_)), _) => {
                let folder = Folder::open(pipeline)?;
                let path = folder.path().to_owned();
                if folder.commits() > 0 {
                    let path = path.display();
                    let reason =
                        format!("{path} has what an earlier run wrote: name another folder");
                    return Err(wrong(&name, reason));
                }
                let aside = folder.begin().map_err(|source| failed(&name, source))?;
                (path, To::Folder(Box::new(folder), Box::new(aside)))
            }
            (
                Connector::Redis(Redis { connection, table: RedisTable::Sink(target) }),
                Some(Format::Json(format)),
            ) => {
                let lines = Lines::of(format, &pipeline.output);
                let writer = Writer::open(connection, target.clone(), lines).await;
                let writer = writer.map_err(|error| unwritten(&name, &sink.name, &error))?;
                (format!("redis {}", writer.address()).into(), To::Redis(Box::new(writer)))
            }
            (other, _) => {
                let (table, other) = (&sink.name, other.name());
                let reason = format!(
                    "table {table} is {other}; only single_file and redis with JSON, and \
                     filesystem, are filled when files are read"
                );
                return Err(wrong(&name, reason));
            }
        };
        Ok(Self { pipeline: name, table: sink.name.clone(), path, rows: 0, to })
    }

    pub(super) async fn write(&mut self, rows: &[RecordBatch]) -> Result<(), PipelineError> {
        for batch in rows {
            match &mut self.to {
                To::File(file, lines) => {
                    let written = lines.write(batch, file);
                    written.map_err(|error| unwritten(&self.pipeline, &self.path, &error))?;
                }
                To::Folder(folder, aside) => {
                    let written = folder.write(aside, batch);
                    written.map_err(|source| failed(&self.pipeline, source))?;
                }
                To::Redis(writer) => {
                    let written = writer.write(batch).await;
                    written.map_err(|error| unwritten(&self.pipeline, &self.table, &error))?;
                }
            }
            self.rows += batch.num_rows() as u64;
        }
        Ok(())
    }

    pub(super) fn finish(self, late: u64) -> Result<Written, PipelineError> {
        let pipeline = self.pipeline;
        match self.to {
            To::File(mut file, _) => {
                file.flush().map_err(|error| unwritten(&pipeline, &self.path, &error))?;
            }
            To::Folder(mut folder, aside) => {
                let committed = folder.commit(*aside, &Positions::new());
                committed.map_err(|source| failed(&pipeline, source))?;
            }
            To::Redis(_) => {}
        }
        Ok(Written { table: self.table, path: self.path, lines: self.rows, late })
    }
}

fn unwritten(
    pipeline: &str,
    path: impl AsRef<Path>,
    error: &dyn std::fmt::Display,
) -> PipelineError {
    wrong(pipeline, format!("cannot write {}: {error}", path.as_ref().display()))
}

fn failed(pipeline: &str, source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: pipeline.to_owned(), attempted: "write", source }
}
