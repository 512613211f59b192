//! The log's folder before the store opens it. It is claimed beforehand: the store's own lock is taken
//! too late to look at the journals first.

use std::{io, path::Path};

use crate::{
    error::LogError,
    first_start,
    folder::{self, Claim, Unclaimed},
};

/// Shares the folder with others who read it, while nobody writes; none where nobody ever did. It stays
/// as it is.
pub(super) fn share(folder: &Path) -> Result<Option<Claim>, LogError> {
    if !folder.is_dir() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(LogError::Open { path: folder.to_path_buf(), source: Box::new(source) });
    }
    folder::share(folder).map_err(|unclaimed| match unclaimed {
        Unclaimed::InUse => LogError::InUse { path: folder.to_path_buf() },
        Unclaimed::Failed(source) => {
            LogError::Open { path: folder.to_path_buf(), source: Box::new(source) }
        }
    })
}

/// Takes the folder, and makes it where there is none.
pub(super) fn claim(folder: &Path) -> Result<Claim, LogError> {
    let opened = |source: io::Error| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => LogError::ReadOnly { path: folder.to_path_buf() },
        _ => LogError::Open { path: folder.to_path_buf(), source: Box::new(source) },
    };
    let claimed = folder::claim(folder).map_err(|unclaimed| match unclaimed {
        Unclaimed::InUse => LogError::InUse { path: folder.to_path_buf() },
        Unclaimed::Failed(source) => opened(source),
    })?;
    first_start::finish(folder).map_err(opened)?;
    Ok(claimed)
}
