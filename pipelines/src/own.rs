//! An operator's own pipelines: files in a folder, each a table of the warehouse from then on.

use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use warehouse::schema::{self, Kind};

use crate::{
    catalogue::SOURCES,
    dialect::{
        Connector,
        connector::{FileSink, Filesystem, local},
    },
    error::PipelineError,
    pipeline::Pipeline,
    planner,
};

/// The `.sql` files of a folder, in the order of their names. A folder that is not there has none.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    paths
}

/// Plans every [file](files) of a folder and makes their tables known. A file that cannot be read or
/// run is told of and left out: a node does not stop for it.
pub async fn all(folder: &Path) -> Vec<Pipeline> {
    let mut pipelines = Vec::new();
    for path in files(folder) {
        match file(&path).await {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a pipeline of your own is left out");
            }
        }
    }
    pipelines
}

async fn file(path: &Path) -> Result<Pipeline, PipelineError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(&name, format!("cannot read it: {error}")))?;
    one(&name, &text).await
}

/// Plans one file of that name, and makes its table known, unless it fills a folder.
///
/// # Errors
/// Where it cannot be run, or fills something else than a table or a folder of its own.
pub async fn one(name: &str, text: &str) -> Result<Pipeline, PipelineError> {
    if schema::TABLES.iter().any(|known| known.name == name) {
        return Err(wrong(name, "a table of that name is the platform's own".into()));
    }
    let planned = planner::standalone(SOURCES, name, text).await?;
    let [pipeline] = <[Pipeline; 1]>::try_from(planned)
        .map_err(|_| wrong(name, "needs one sink and INSERT INTO it".into()))?;
    if let Some(input) = pipeline.inputs.iter().find(|input| input.topic().is_none()) {
        let (table, connector) = (&input.table.name, input.table.connector.name());
        let reason = format!("{table} is {connector}: a node reads connector = 'stream'");
        return Err(wrong(name, reason));
    }
    if pipeline.sink.name != name {
        return Err(wrong(name, "file and sink name different tables".into()));
    }
    let columns = columns(name, &pipeline.output)?;
    match &pipeline.sink.connector {
        Connector::Delta(FileSink { path, .. }) if path == name => {
            schema::add(name, columns).ok_or_else(|| {
                wrong(
                    name,
                    "its columns are not those that it began with: take another name".into(),
                )
            })?;
        }
        Connector::Delta(_) => {
            return Err(wrong(name, "sink and path name different tables".into()));
        }
        Connector::Filesystem(Filesystem::Sink(sink)) => check_folder(name, &pipeline, sink)?,
        other => {
            let (sink, other) = (&pipeline.sink.name, other.name());
            let reason =
                format!("{sink} is {other}: a node fills connector = 'delta' or 'filesystem'");
            return Err(wrong(name, reason));
        }
    }
    Ok(pipeline)
}

/// A node fills a folder that is the same wherever it was started from, with rows that stay.
fn check_folder(name: &str, pipeline: &Pipeline, sink: &FileSink) -> Result<(), PipelineError> {
    if !Path::new(local(&sink.path)).is_absolute() {
        let reason = format!("the path {} begins at no root: write all of it", sink.path);
        return Err(wrong(name, reason));
    }
    if pipeline.sink.is_updating() {
        let reason =
            "format = 'debezium_json' of a node's folder: group by a window, and write 'json'";
        return Err(wrong(name, reason.into()));
    }
    Ok(())
}

pub(crate) fn columns(
    name: &str,
    made: &Schema,
) -> Result<Vec<(String, Kind, bool)>, PipelineError> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let kind = Kind::of(field.data_type()).ok_or_else(|| {
            let reason = format!(
                "{} is {}; a table holds TEXT, INT, BIGINT, BOOLEAN, DOUBLE, DATE, TIMESTAMP(6), \
                 DECIMAL(18, 2) and DECIMAL(18, 3): write CAST({} AS …)",
                field.name(),
                field.data_type(),
                field.name(),
            );
            wrong(name, reason)
        })?;
        Ok((field.name().clone(), kind, field.is_nullable()))
    };
    made.fields().iter().map(column).collect()
}

fn wrong(file: &str, reason: String) -> PipelineError {
    PipelineError::Definition { file: file.to_owned(), reason }
}
