//! The files of a table: sorted rows, statistics on what queries filter by, and bloom filters.

use std::num::NonZeroU64;

use arrow::{
    array::RecordBatch,
    compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
    error::ArrowError,
};
use deltalake::{
    DeltaTableError, ObjectStore,
    datafile::writer::{DeltaWriter, WriterConfig},
    kernel::Add,
    parquet::{
        basic::{Compression, ZstdLevel},
        file::properties::{WriterProperties, WriterPropertiesBuilder},
        schema::types::ColumnPath,
    },
    table::config::TablePropertiesExt,
};
use futures::{Stream, StreamExt};
use std::sync::Arc;

use crate::schema;

/// Rows of a row group: few enough that sorted groups can be skipped.
const GROUP_ROWS: usize = 1 << 18;
/// Rows from which on a bloom filter is worth its bytes.
const BLOOM_ROWS: u64 = 8_192;
/// How often a bloom filter says that a value may be there when it is not.
const BLOOM_WRONG: f64 = 0.01;

/// Writes the files of one table.
#[derive(Debug)]
pub(super) struct Files {
    store: Arc<dyn ObjectStore>,
    schema: &'static schema::Table,
    config: WriterConfig,
}

impl Files {
    /// The files of a table as it was loaded.
    pub(super) fn of(
        table: &deltalake::DeltaTable,
        schema: &'static schema::Table,
        file_bytes: u64,
    ) -> Result<Self, DeltaTableError> {
        let partitions: &[&str] = if schema.by_date { &["date"] } else { &[] };
        let indexed = schema.indexed().into_iter().map(str::to_owned).collect();
        let config = WriterConfig::new(
            schema.arrow(),
            partitions.iter().map(|name| (*name).to_owned()).collect(),
            None,
            NonZeroU64::new(file_bytes),
            None,
            table.snapshot()?.table_config().num_indexed_cols(),
            Some(indexed),
        );
        Ok(Self { store: table.object_store(), schema, config })
    }

    /// Writes rows that fit, sorted; no rows make no file.
    pub(super) async fn write(&self, rows: Vec<RecordBatch>) -> Result<Vec<Add>, DeltaTableError> {
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if count == 0 {
            return Ok(Vec::new());
        }
        let schema = self.schema;
        let sorting = tokio::task::spawn_blocking(move || sorted(&rows, schema));
        let sorted = sorting.await.map_err(|error| other(Box::new(error)))??;
        let (added, _) = self.put(futures::stream::iter([Ok(sorted)]), count as u64).await?;
        Ok(added)
    }

    /// Writes rows that come sorted, and says how many came.
    pub(super) async fn put(
        &self,
        mut rows: impl Stream<Item = Result<RecordBatch, DeltaTableError>> + Unpin,
        about: u64,
    ) -> Result<(Vec<Add>, u64), DeltaTableError> {
        let properties = properties(self.schema, about);
        let mut writer = DeltaWriter::new(Arc::clone(&self.store), self.config.clone())
            .with_writer_properties(properties);
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let written = match batch {
                Ok(batch) => {
                    count += batch.num_rows() as u64;
                    writer.write(&batch).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                // What was begun is of no use; what is left of it goes with the next vacuum.
                let _ = writer.abort().await;
                return Err(error);
            }
        }
        Ok((writer.close().await?, count))
    }
}

/// All rows as one batch in the table's order.
fn sorted(
    rows: &[RecordBatch],
    schema: &'static schema::Table,
) -> Result<RecordBatch, DeltaTableError> {
    let whole = || -> Result<RecordBatch, ArrowError> {
        let all = concat_batches(&schema.arrow(), rows)?;
        let by = schema.order().into_iter().filter_map(|name| all.column_by_name(name));
        let by: Vec<_> =
            by.map(|column| SortColumn { values: Arc::clone(column), options: None }).collect();
        take_record_batch(&all, &lexsort_to_indices(&by, None)?)
    };
    whole().map_err(|source| DeltaTableError::Arrow { source })
}

fn properties(schema: &schema::Table, rows: u64) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by("avis".into());
    if rows >= BLOOM_ROWS {
        let most = rows.min(GROUP_ROWS as u64);
        for name in schema.looked_up() {
            properties = bloom(properties, name, most);
        }
    }
    properties.build()
}

fn bloom(properties: WriterPropertiesBuilder, name: &str, values: u64) -> WriterPropertiesBuilder {
    let column = || ColumnPath::from(name);
    properties
        .set_column_bloom_filter_enabled(column(), true)
        .set_column_bloom_filter_fpp(column(), BLOOM_WRONG)
        .set_column_bloom_filter_max_ndv(column(), values)
}

/// What another library said, as the table format's error.
pub(super) fn other(source: Box<dyn std::error::Error + Send + Sync>) -> DeltaTableError {
    DeltaTableError::GenericError { source }
}
