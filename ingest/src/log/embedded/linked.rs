//! A stopped log's files under a folder of its own, so that the store may write there.
//!
//! Tables and files of blocks are never changed once they are written, and are most of a log: they
//! are linked by name, which works across disks, and from one that takes no writes; damaged ones are
//! made good (`mended`). The lists of tables are small and copied, and so are the journals, as far as
//! they are whole.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use tempfile::TempDir;

use super::{
    journal::{Journal, Rest},
    mended::{Mended, mend},
};
use crate::{
    first_start,
    folder::{Claim, IN_USE, Unclaimed, claim, share},
};

/// Where the store keeps its streams, each in a folder that has a number for a name.
pub(super) const KEYSPACES: &str = "keyspaces";
/// What the streams are called, and how they are kept.
pub(super) const NAMES: &str = "0";
const VERSION: &str = "version";
const LOCK: &str = "lock";
/// A folder without a journal would be taken for one without records.
const EMPTY_JOURNAL: &str = "0.jnl";

/// What the names of these folders begin with, in the system's folder for what is temporary.
const PREFIX: &str = "avis-log-";

/// A folder that is removed in the end, by the next reader where this one is killed.
#[derive(Debug)]
pub(super) struct Linked {
    folder: TempDir,
    mended: Vec<Mended>,
    /// Says that somebody reads; given back when the folder is gone.
    _claim: Claim,
}

impl Linked {
    /// Of a log, with its journals up to the first that is not whole, and the streams that are
    /// `wanted`.
    pub(super) fn of(
        log: &Path,
        journals: &[Journal],
        wanted: impl Fn(&OsStr) -> bool,
    ) -> io::Result<Self> {
        let log = log.canonicalize()?;
        let (folder, claim) = fresh(&std::env::temp_dir())?;
        let (own, mut mended) = (folder.path(), Vec::new());
        if !first_start::happened(&log) {
            return Ok(Self { folder, mended, _claim: claim });
        }
        std::fs::copy(log.join(VERSION), own.join(VERSION))?;
        File::create(own.join(LOCK))?;
        if journals.is_empty() {
            File::create(own.join(EMPTY_JOURNAL))?;
        }
        for journal in journals {
            let name = journal.path.file_name().unwrap_or_default();
            let mut whole = File::open(&journal.path)?.take(journal.whole);
            io::copy(&mut whole, &mut File::create(own.join(name))?)?;
            if journal.rest != Rest::Nothing {
                break;
            }
        }
        for name in keyspaces(&log)?.iter().filter(|name| wanted(name)) {
            let place = Path::new(KEYSPACES).join(name);
            link(&log.join(&place), &own.join(&place))?;
            let files = mend(own, &place)?;
            // Who lacks a name would be taken for a stream that was given up.
            if name == NAMES && files.iter().any(|file| !file.lost.is_empty()) {
                let reason = "what the streams are called is damaged";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            mended.extend(files);
        }
        Ok(Self { folder, mended, _claim: claim })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The files that are not linked, as they are not what was written.
    pub(super) fn mended(&self) -> &[Mended] {
        &self.mended
    }
}

/// The folders of a log's streams, by name.
pub(super) fn keyspaces(log: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(log.join(KEYSPACES))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

/// A folder that nobody else has or can look into, under a name that was never given before: who finds
/// one left over removes no other by it. What killed readers left is removed first.
fn fresh(temporary: &Path) -> io::Result<(TempDir, Claim)> {
    remove_left_over(temporary);
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700));
    loop {
        let folder = builder.tempdir_in(temporary)?;
        match claim(folder.path()) {
            Ok(claim) if folder.path().join(IN_USE).exists() => return Ok((folder, claim)),
            // Before it was locked another reader took it for left over.
            Ok(_) | Err(Unclaimed::InUse) => {}
            Err(Unclaimed::Failed(error)) => return Err(error),
        }
    }
}

/// Removes this user's folders that no reader has locked any more.
fn remove_left_over(temporary: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten() {
        let is_named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_ours = |of: std::fs::Metadata| of.is_dir() && of.uid() == user;
        if !is_named || !entry.metadata().is_ok_and(is_ours) {
            continue;
        }
        // One that was never locked is just being made.
        if let Ok(Some(_claim)) = share(&entry.path()) {
            // What cannot be removed takes room and does no other harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A stream's folder: its lists are copied, its tables and files of blocks linked.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            std::fs::copy(entry.path(), to)?;
            continue;
        }
        std::fs::create_dir(&to)?;
        for table in std::fs::read_dir(entry.path())? {
            let table = table?;
            symlink(table.path(), to.join(table.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_readers_alone_and_its_name_is_given_once() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (first, claimed) = fresh(temporary.path()).expect("a folder");
        let mode = first.path().metadata().expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let name = first.path().to_path_buf();
        drop((first, claimed));
        assert!(!name.exists());
        let (second, _claimed) = fresh(temporary.path()).expect("a folder");
        assert_ne!(second.path(), name);
    }
}
