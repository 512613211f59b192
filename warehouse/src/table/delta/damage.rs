//! What a power cut leaves of a table in a folder: neither its files nor its log are synced, so the
//! disk may have the names of the newest and nothing in them yet.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use deltalake::DeltaTableError;

/// Takes entries without content from the log's end: their commits are as never made, and what they
/// held is landed again. The first entry stays, since there is no table without it.
pub(super) fn cut_empty_entries(folder: &Path, table: &str) {
    let Ok(entries) = entries(folder) else { return };
    let newest = entries.range(1..).rev().take_while(|(_, is_empty)| **is_empty);
    for (version, _) in newest {
        tracing::warn!(table, version, "a commit is not on the disk; its rows are landed again");
        // One that stays counts as a commit of nothing.
        let _ = fs::remove_file(log(folder).join(format!("{version:020}.json")));
    }
}

/// Whether a table in a folder cannot be read, lacks a commit, or a file of its newest version is
/// missing or cut.
pub(super) fn is_damaged(
    folder: &Path,
    found: &Result<deltalake::DeltaTable, DeltaTableError>,
) -> bool {
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
    let Ok(state) = table.snapshot() else { return true };
    lacks_a_commit(folder)
        || state.log_data().iter().any(|file| {
            let length = fs::metadata(folder.join(file.path().as_ref())).map(|found| found.len());
            length.ok().and_then(|length| i64::try_from(length).ok()) != Some(file.size())
        })
}

/// Whether an entry has no content and a later one has: positions went on, and rows are missing.
fn lacks_a_commit(folder: &Path) -> bool {
    let Ok(entries) = entries(folder) else { return false };
    entries.into_values().skip_while(|is_empty| !is_empty).any(|is_empty| !is_empty)
}

/// The entries after the log's last checkpoint, by version, and whether each is without content.
fn entries(folder: &Path) -> io::Result<BTreeMap<u64, bool>> {
    let (mut entries, mut covered) = (BTreeMap::new(), None::<u64>);
    for entry in fs::read_dir(log(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((version, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        // Somebody else may have taken it away meanwhile.
        let (Ok(version), Ok(about)) = (version.parse::<u64>(), entry.metadata()) else { continue };
        match kind {
            "json" => {
                entries.insert(version, about.len() == 0);
            }
            // Without content it is passed over by readers, too.
            "checkpoint.parquet" if about.len() > 0 => covered = covered.max(Some(version)),
            _ => {}
        }
    }
    Ok(match covered {
        Some(covered) => entries.split_off(&covered.saturating_add(1)),
        None => entries,
    })
}

fn log(folder: &Path) -> PathBuf {
    folder.join("_delta_log")
}
