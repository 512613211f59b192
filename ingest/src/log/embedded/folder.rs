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
    locked: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that was forked and has not begun its program yet holds
        // the same open file. Where it fails, the process's end gives the folder back.
        let _ = self.locked.unlock();
    }
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
    Ok(Claim { locked: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_given_back_though_a_forked_child_has_its_files_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let claimed = claim(folder.path()).expect("claimed");
        assert!(matches!(claim(folder.path()), Err(LogError::InUse { .. })));
        // As a child between fork and exec: another descriptor of the same open file.
        let of_a_child = claimed.locked.try_clone().expect("a descriptor");
        drop(claimed);
        claim(folder.path()).expect("claimed again");
        drop(of_a_child);
    }
}
