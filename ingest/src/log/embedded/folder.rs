//! The log's folder before the store opens it. It is claimed beforehand: the store's own lock is taken
//! too late to look at the journals first.

use std::{io, path::Path};

use crate::{
    error::LogError,
    first_start,
    folder::{self, Claim, Unclaimed},
};

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
