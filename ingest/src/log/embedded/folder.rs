//! The log's folder before the store opens it: whose it is.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use crate::{
    error::LogError,
    first_start::{self, touch},
};

/// Held by the process that has the folder. Not the store's own lock, which is taken too late to
/// look at the journals before the store does.
const IN_USE: &str = "in-use";

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
    first_start::finish(folder).map_err(opened)?;
    Ok(Claim { _locked: file })
}
