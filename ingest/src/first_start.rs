//! What an interrupted first start of a store left in its folder.

use std::{io, path::Path};

use crate::folder::touch;

/// The store's files of a start: its lock, its first journal, and the marker of a finished start.
const STORE_LOCK: &str = "lock";
const FIRST_JOURNAL: &str = "0.jnl";
const STARTED: &str = "version";
/// What the store makes only once the marker is synced.
const FIRST_KEYSPACE: &str = "keyspaces/0";

/// Whether the store of a folder ever was started: where not, nothing was written to it.
#[must_use]
pub fn happened(folder: &Path) -> bool {
    folder.join(FIRST_KEYSPACE).exists()
}

/// The store cannot go on where its very first start was cut off. Nothing was ever written then, so
/// what is there is cleared, and the store starts again. The caller alone has the folder.
///
/// # Errors
/// Where the folder cannot be written.
pub fn finish(folder: &Path) -> io::Result<()> {
    if happened(folder) {
        // The store does not make its lock anew; the caller's holds already.
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
