//! Files that people pull: whole, or not there.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::error::WarehouseError;

/// Writes a file and makes its folder; who reads it sees the old file or the new one, never a part.
///
/// # Errors
/// Where the folder or the file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WarehouseError> {
    let failed = |source| WarehouseError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let mut file = File::create(&beside).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    drop(file);
    fs::rename(&beside, path).map_err(failed)
}
