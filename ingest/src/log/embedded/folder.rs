//! The log's folder before the store opens it: whose it is, and what an interrupted start left.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use crate::error::LogError;

/// Held by the process that has the folder. Not the store's own lock, which is taken too late to
/// look at the journals before the store does.
const IN_USE: &str = "in-use";
/// The store's files of a start: its lock, its first journal, and the marker of a finished start.
const STORE_LOCK: &str = "lock";
const FIRST_JOURNAL: &str = "0.jnl";
const STARTED: &str = "version";
/// What the store makes only once the marker is synced.
const FIRST_KEYSPACE: &str = "keyspaces/0";

/// The right to the folder, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _locked: File,
}

/// Takes the folder, and makes it where there is none.
pub(super) fn claim(folder: &Path) -> Result<Claim, LogError> {
    let opened = |source: io::Error| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => LogError::ReadOnly { path: folder.to_path_buf() },
        _ => LogError::Open { path: folder.to_path_buf(), source: Box::new(source) },
    };
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).map_err(opened)?;
        // Else a power cut could take the folder with all that was synced in it.
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(opened)?;
        }
    }
    let file = touch(&folder.join(IN_USE)).map_err(opened)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => LogError::InUse { path: folder.to_path_buf() },
        TryLockError::Error(source) => opened(source),
    })?;
    finish_start(folder).map_err(opened)?;
    Ok(Claim { _locked: file })
}

/// The store cannot go on where its very first start was cut off. Nothing was ever written then, so
/// what is there is cleared, and the store starts again.
fn finish_start(folder: &Path) -> io::Result<()> {
    if folder.join(FIRST_KEYSPACE).exists() {
        // The store does not make its lock anew; ours holds already.
        return touch(&folder.join(STORE_LOCK)).map(drop);
    }
    for name in [STARTED, FIRST_JOURNAL, STORE_LOCK] {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn touch(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(false).open(path)
}
