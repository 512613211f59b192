//! Notes beside a node's streams: files of one JSON object a line, that outlive a restored backup.

use std::{io::ErrorKind, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use warehouse::file;

use crate::failure::Failure;

/// Adds a note; it is synced when this returns.
///
/// # Errors
/// Where the file cannot be written.
pub fn add(path: &Path, note: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(note).map_err(std::io::Error::from)?;
    Ok(file::append_line(path, &line)?)
}

/// All notes; none where there is no file. A line that was cut off has nothing done behind it, and is
/// passed over.
///
/// # Errors
/// Where the file cannot be read.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Failure::Read { path: path.to_owned(), source }),
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
