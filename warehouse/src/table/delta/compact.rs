//! Merging files: the same rows in fewer of them, sorted anew.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, NaiveDate};
use datafusion::{
    error::DataFusionError,
    execution::{SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext, col},
};
use deltalake::{
    DeltaTableError,
    kernel::{Action, LogicalFileView},
};
use futures::StreamExt;

use super::files::{Files, other};
use crate::{schema, table::upkeep::File};

/// What a merge may keep in memory; the rest of its sorting lies in temporary files.
const MEMORY_BYTES: usize = 192 << 20;

/// A file as planning sees it.
pub(super) fn seen(file: &LogicalFileView) -> File {
    let values: HashMap<String, Option<String>> = file.partition_values_map();
    let date = values.get("date").and_then(|date| date.as_ref()?.parse::<NaiveDate>().ok());
    File {
        date,
        bytes: u64::try_from(file.size()).unwrap_or(0),
        written: DateTime::from_timestamp_millis(file.modification_time()).unwrap_or_default(),
    }
}

/// Writes the rows of some files into new ones, and says what the log has to tell.
///
/// Nothing of it is seen before the log tells; what was written is an orphan until then.
pub(super) async fn merge(
    table: &deltalake::DeltaTable,
    schema: &'static schema::Table,
    files: &Files,
    merged: &[&LogicalFileView],
) -> Result<Vec<Action>, DeltaTableError> {
    let expected: Option<u64> =
        merged.iter().map(|file| file.num_records().map(|count| count as u64)).sum();
    let about = expected.unwrap_or(0);
    let paths: Vec<String> = merged.iter().map(|file| file.path().to_string()).collect();
    let rows = sorted(table, schema, paths).await.map_err(|error| other(Box::new(error)))?;
    let rows = rows.map(|batch| batch.map_err(|error| other(Box::new(error))));
    let (added, count) = files.put(rows, about).await?;
    if expected.is_some_and(|expected| expected != count) {
        let reason = format!("{about} rows were to be merged, and {count} came");
        return Err(DeltaTableError::Generic(reason));
    }
    let removed = merged.iter().map(|file| Action::Remove(file.remove_action(false)));
    let added = added.into_iter().map(|mut file| {
        file.data_change = false;
        Action::Add(file)
    });
    Ok(removed.chain(added).collect())
}

async fn sorted(
    table: &deltalake::DeltaTable,
    schema: &'static schema::Table,
    paths: Vec<String>,
) -> Result<datafusion::physical_plan::SendableRecordBatchStream, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc()?;
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .set_str("datafusion.execution.time_zone", "UTC")
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    let provider = table.table_provider().with_session(Arc::new(state.clone()));
    let provider = provider.with_file_paths(paths).build().await?;
    let columns: Vec<_> = schema.columns.iter().map(|column| col(column.name)).collect();
    let order = schema.order().into_iter().map(|name| col(name).sort(true, true)).collect();
    let context = SessionContext::new_with_state(state);
    let rows = context.read_table(Arc::new(provider))?.select(columns)?.sort(order)?;
    rows.execute_stream().await
}
