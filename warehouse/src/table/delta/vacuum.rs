//! Removing the files that nothing needs: merged away long ago, or never committed.

use std::{collections::HashSet, path::Path as Folder, time::SystemTime};

use chrono::{DateTime, Utc};
use deltalake::{DeltaTableError, Path};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::folder;
use crate::table::upkeep::{Upkeep, before};

/// Removes what the table's newest version does not name and no reader can still want; how many
/// files that were.
pub(super) async fn vacuum(
    table: &deltalake::DeltaTable,
    upkeep: &Upkeep,
    now: DateTime<Utc>,
) -> Result<usize, DeltaTableError> {
    let kept = kept(table, before(now, upkeep.keep_removed)).await?;
    let old = before(now, upkeep.keep_orphans);
    let store = table.object_store();
    let mut doomed: Vec<Path> = Vec::new();
    let mut listed = store.list(None);
    while let Some(file) = listed.next().await {
        let file = file?;
        let path = file.location.as_ref();
        let ours = path.ends_with(".parquet") && !path.starts_with('_');
        if ours && file.last_modified < old && !kept.contains(path) {
            doomed.push(file.location);
        }
    }
    drop(listed);
    let mut removed = delete(&store, doomed).await?;
    if let Some(folder) = folder(table.table_url()) {
        // What a killed process was writing has a name that the store never lists.
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, old.into(), 1)).await;
        removed += swept.unwrap_or(0);
    }
    Ok(removed)
}

/// Deletes files, many with one request where the storage can; how many that were.
pub(super) async fn delete(
    store: &dyn ObjectStore,
    files: Vec<Path>,
) -> Result<usize, DeltaTableError> {
    let files = futures::stream::iter(files.into_iter().map(Ok)).boxed();
    let deleted: Vec<Path> = store.delete_stream(files).try_collect().await?;
    Ok(deleted.len())
}

/// What the newest version names, and what was merged away since.
async fn kept(
    table: &deltalake::DeltaTable,
    since: DateTime<Utc>,
) -> Result<HashSet<String>, DeltaTableError> {
    let state = table.snapshot()?;
    let mut kept: HashSet<String> =
        state.log_data().iter().map(|file| file.object_store_path().to_string()).collect();
    let store = table.log_store();
    let mut removed = state.all_tombstones(store.as_ref());
    while let Some(file) = removed.try_next().await? {
        if file.deletion_timestamp().is_none_or(|at| at > since.timestamp_millis()) {
            kept.insert(file.path().into_owned());
        }
    }
    Ok(kept)
}

/// Removes `<name>#<number>`, as the local store names a file before it is whole.
fn sweep(folder: &Folder, old: SystemTime, deeper: u8) -> usize {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        let name = entry.file_name();
        let begun = name.to_str().and_then(|name| name.rsplit_once('#')).is_some_and(|(_, end)| {
            !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())
        });
        if about.is_dir() && deeper > 0 {
            removed += sweep(&entry.path(), old, deeper - 1);
        } else if begun && about.is_file() && about.modified().is_ok_and(|at| at < old) {
            removed += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    removed
}
