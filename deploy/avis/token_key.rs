//! The key that signs our tokens. It follows from the vault, which one process at a time can open; so a
//! node leaves it in its folder, for its owner alone, and tokens can be issued while the node runs.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use connectors::access::Tokens;
use ingest::{clock::Clock, vault::Vault};

use crate::failure::Failure;

/// Where it lies in a node's folder: beside the keys that it follows from, and as secret.
const FILE: &str = "token-key";

/// Leaves a node's key in its folder.
///
/// # Errors
/// Where the file cannot be written.
pub fn keep(folder: &Path, vault: &Vault) -> Result<(), Failure> {
    let (path, key) = (folder.join(FILE), Tokens::key(vault));
    if fs::read(&path).is_ok_and(|kept| kept == key) {
        return Ok(());
    }
    let failed = |source| Failure::Folder { path: path.clone(), source };
    let part = folder.join(format!("{FILE}.part"));
    // One that was left by a crash may be readable for others.
    let _ = fs::remove_file(&part);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let mut file = made.map_err(failed)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)
}

/// The tokens of a node, whether it runs or not.
///
/// # Errors
/// Where the vault cannot be opened for another reason than that the node runs, or a running node has left
/// no key.
pub fn tokens(folder: &Path, clock: Arc<dyn Clock>) -> Result<Tokens, Failure> {
    match Vault::open(&folder.join("keys")) {
        Ok(vault) => {
            keep(folder, &vault)?;
            Ok(Tokens::of(&vault, clock))
        }
        Err(error) if error.is_in_use() => {
            let path = folder.join(FILE);
            let kept = fs::read(&path);
            let kept = kept.map_err(|source| Failure::Read { path: path.clone(), source })?;
            let damaged = |_| {
                let path = path.display();
                Failure::State(format!("{path} is no key; it is written when the node starts"))
            };
            Ok(Tokens::signed_by(&kept.try_into().map_err(damaged)?, clock))
        }
        Err(error) => Err(error.into()),
    }
}

/// The tokens of a node whose keys another process has, or will.
///
/// # Errors
/// Where the folder has no keys: they are made by the role connectors, when it starts.
pub fn followed(folder: &Path, clock: Arc<dyn Clock>) -> Result<Tokens, Failure> {
    Ok(Tokens::of(&Vault::follow(&folder.join("keys"))?, clock))
}
