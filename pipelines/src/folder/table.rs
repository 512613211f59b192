//! A folder as a table that a runner fills: rows and positions enter it in one commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::{
    array::RecordBatch,
    compute::{CastOptions, cast_with_options},
};
use warehouse::{
    error::WarehouseError,
    schema,
    table::{Pending, Positions, Table, fit},
};

use super::Folder;
use crate::{error::PipelineError, own, pipeline::Pipeline};

/// A folder that a node's pipeline fills. Queries do not see it.
#[derive(Debug)]
pub struct FolderTable {
    schema: &'static schema::Table,
    folder: Mutex<Folder>,
}

impl FolderTable {
    /// The folder of a pipeline, if it fills one.
    ///
    /// # Errors
    /// Where the folder holds anything else, or cannot be used.
    pub fn of(pipeline: &Pipeline) -> Result<Option<Self>, PipelineError> {
        if pipeline.folder().is_none() {
            return Ok(None);
        }
        let columns = own::columns(&pipeline.name, &pipeline.output)?;
        let schema = schema::unlisted(&pipeline.name, columns);
        let folder = Mutex::new(Folder::open(pipeline)?);
        Ok(Some(Self { schema, folder }))
    }

    fn folder(&self) -> MutexGuard<'_, Folder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All in one step, so that who is dropped meanwhile leaves nothing that lands later.
    fn append(&self, rows: &[RecordBatch], positions: &Positions) -> Result<(), WarehouseError> {
        let mut folder = self.folder();
        let mut aside = folder.begin()?;
        for batch in rows {
            let batch = self.as_made(&fit(batch, self.schema)?, &folder)?;
            folder.write(&mut aside, &batch)?;
        }
        folder.commit(aside, positions)
    }

    /// Rows of the table as their pipeline made them: an instant has no zone in the dialect.
    fn as_made(&self, rows: &RecordBatch, folder: &Folder) -> Result<RecordBatch, WarehouseError> {
        let wrong = |error: arrow::error::ArrowError| WarehouseError::Rows {
            table: self.schema.name,
            reason: error.to_string(),
        };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns = Vec::with_capacity(rows.num_columns());
        for field in folder.columns.fields() {
            let place = self.schema.arrow().index_of(field.name()).map_err(wrong)?;
            let made = cast_with_options(rows.column(place), field.data_type(), &strict);
            columns.push(made.map_err(wrong)?);
        }
        RecordBatch::try_new(Arc::clone(&folder.columns), columns).map_err(wrong)
    }
}

impl Table for FolderTable {
    fn schema(&self) -> &'static schema::Table {
        self.schema
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        let positions = self.folder().positions().map(|all| {
            let known = |id: &String| Some((id.clone(), *all.get(id)?));
            applications.iter().filter_map(known).collect::<Positions>()
        });
        Box::pin(std::future::ready(positions))
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(async move { self.append(&rows, positions) })
    }
}
