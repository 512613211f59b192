//! Files that people pull: whole, or not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::error::WarehouseError;

/// A file's SHA-256, in hexadecimal.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds a line to a file and makes it where there is none. A line that was cut off before ends first, so
/// that it spoils no other.
///
/// # Errors
/// Where the file cannot be written.
pub fn append_line(path: &Path, line: &str) -> Result<(), WarehouseError> {
    let failed = |source| WarehouseError::Write { path: path.to_owned(), source };
    let is_new = !path.exists();
    let options = OpenOptions::new().create(true).append(true).read(true).open(path);
    let mut file = options.map_err(failed)?;
    let mut last = [b'\n'];
    if file.metadata().map_err(failed)?.len() > 0 {
        file.seek(SeekFrom::End(-1)).map_err(failed)?;
        file.read_exact(&mut last).map_err(failed)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{before}{line}\n").as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    match path.parent().filter(|_| is_new) {
        Some(folder) => File::open(folder).and_then(|of| of.sync_all()).map_err(failed),
        None => Ok(()),
    }
}

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
