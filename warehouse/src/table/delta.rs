//! A table as Delta Lake keeps it: Parquet files, and a log of whole commits.

use std::time::Instant;

use arrow::array::RecordBatch;
use deltalake::{
    DeltaTableBuilder, DeltaTableError, TableProperty,
    kernel::{Transaction, engine::arrow_conversion::TryIntoKernel, transaction::CommitProperties},
    operations::create::CreateBuilder,
    parquet::{
        basic::{Compression, ZstdLevel},
        file::properties::WriterProperties,
    },
    writer::{DeltaWriter, RecordBatchWriter},
};
use tokio::sync::Mutex;
use url::Url;

use super::{Pending, Positions, Table, fit};
use crate::{error::WarehouseError, metrics::Metrics, schema};

/// Commits between two checkpoints of the table's log.
const CHECKPOINT_EVERY: &str = "100";

/// A Delta table and its one writer.
#[derive(Debug)]
pub struct DeltaTable {
    schema: &'static schema::Table,
    /// One commit at a time.
    table: Mutex<deltalake::DeltaTable>,
    metrics: Metrics,
}

impl DeltaTable {
    /// Opens the table below the warehouse's address, and makes it where there is none.
    ///
    /// A table of which a file is missing or cut, as a power cut can leave it, is removed and
    /// begins anew: it is made again from the streams.
    ///
    /// # Errors
    /// Where it can be neither opened nor made.
    pub fn open<'a>(
        root: &'a Url,
        schema: &'static schema::Table,
        metrics: Metrics,
    ) -> Pending<'a, Self> {
        Box::pin(async move {
            let open = |source| WarehouseError::Open { table: schema.name, source };
            let address = address(root, schema.name)?;
            let mut found = load(&address).await;
            if let (Ok(folder), true) = (address.to_file_path(), is_damaged(&found)) {
                tracing::warn!(table = schema.name, "the table is damaged; it is made again");
                // What cannot be removed cannot be opened either, and that is said below.
                let _ = std::fs::remove_dir_all(&folder);
                found = load(&address).await;
            }
            let table = match found {
                Ok(table) => table,
                Err(DeltaTableError::NotATable(_)) => {
                    create(&address, schema).await.map_err(open)?
                }
                Err(source) => return Err(open(source)),
            };
            Ok(Self { schema, table: Mutex::new(table), metrics })
        })
    }

    async fn append(
        &self,
        rows: Vec<RecordBatch>,
        positions: &Positions,
    ) -> Result<(), WarehouseError> {
        let mut held = self.table.lock().await;
        let started = Instant::now();
        let table = self.schema.name;
        let commit = |source| WarehouseError::Commit { table, source };
        let transactions = positions.iter().map(|(id, next)| Transaction::new(id, *next));
        // No retry on a conflict: a second writer has been here, and what it wrote must be read
        // before anything is written again.
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_application_transactions(transactions.collect());
        let mut writer = RecordBatchWriter::for_table(&held)
            .map_err(commit)?
            .with_writer_properties(parquet())
            .with_commit_properties(properties);
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            writer.write(fit(batch, self.schema)?).await.map_err(commit)?;
        }
        writer.flush_and_commit(&mut held).await.map_err(commit)?;
        let files = held.snapshot().map_err(commit)?.log_data().num_files();
        self.metrics.committed(table, started.elapsed(), files);
        Ok(())
    }
}

impl Table for DeltaTable {
    fn schema(&self) -> &'static schema::Table {
        self.schema
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        Box::pin(async move {
            let held = self.table.lock().await;
            let mut positions = Positions::new();
            for application in applications {
                let found = position(&held, application).await;
                let found = found
                    .map_err(|source| WarehouseError::Open { table: self.schema.name, source })?;
                positions.extend(found.map(|at| (application.clone(), at)));
            }
            Ok(positions)
        })
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(self.append(rows, positions))
    }
}

/// The position that a table's newest commit has of an application.
pub(crate) async fn position(
    table: &deltalake::DeltaTable,
    application: &str,
) -> Result<Option<i64>, DeltaTableError> {
    table.snapshot()?.transaction_version(table.log_store().as_ref(), application).await
}

/// The address of a table below the warehouse's.
pub(crate) fn address(root: &Url, table: &str) -> Result<Url, WarehouseError> {
    let mut root = root.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    root.join(&format!("{table}/")).map_err(|_| WarehouseError::Address(root.to_string()))
}

/// A table as its newest commit has it.
pub(crate) async fn load(address: &Url) -> Result<deltalake::DeltaTable, DeltaTableError> {
    if let Ok(folder) = address.to_file_path()
        && !folder.join("_delta_log").is_dir()
    {
        return Err(DeltaTableError::NotATable(address.to_string()));
    }
    DeltaTableBuilder::from_url(address.clone())?.load().await
}

/// Whether a table in a folder cannot be read, or a file of its newest version is missing or cut.
fn is_damaged(found: &Result<deltalake::DeltaTable, DeltaTableError>) -> bool {
    let table = match found {
        Ok(table) => table,
        // What cannot be reached now may be whole.
        Err(
            DeltaTableError::NotATable(_)
            | DeltaTableError::ObjectStore { .. }
            | DeltaTableError::Io { .. },
        ) => return false,
        Err(_) => return true,
    };
    let Ok(folder) = table.table_url().to_file_path() else { return false };
    let Ok(state) = table.snapshot() else { return true };
    state.log_data().iter().any(|file| {
        let length = std::fs::metadata(folder.join(file.path().as_ref())).map(|found| found.len());
        length.ok().and_then(|length| i64::try_from(length).ok()) != Some(file.size())
    })
}

async fn create(
    address: &Url,
    schema: &'static schema::Table,
) -> Result<deltalake::DeltaTable, DeltaTableError> {
    let columns: deltalake::kernel::StructType = schema.arrow().as_ref().try_into_kernel()?;
    let partitions: &[&str] = if schema.by_date { &["date"] } else { &[] };
    CreateBuilder::new()
        .with_location(address.as_str())
        .with_table_name(schema.name)
        .with_comment(schema.about)
        .with_columns(columns.fields().cloned())
        .with_partition_columns(partitions.iter().copied())
        .with_configuration_property(TableProperty::CheckpointInterval, Some(CHECKPOINT_EVERY))
        .await
}

fn parquet() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("avis".into())
        .build()
}
