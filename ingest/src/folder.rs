//! A folder of this machine that one process has at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

/// Locked by the process that has the folder.
pub const IN_USE: &str = "in-use";

/// The right to a folder, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    locked: File,
}

/// Why a folder is not to be had.
#[derive(Debug)]
pub enum Unclaimed {
    /// Another process has it.
    InUse,
    /// It cannot be made or locked.
    Failed(io::Error),
}

impl From<io::Error> for Unclaimed {
    fn from(source: io::Error) -> Self {
        Self::Failed(source)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that was forked and has not begun its program yet
        // holds the same open file. Where it fails, the process's end gives the folder back.
        let _ = self.locked.unlock();
    }
}

/// Takes a folder, and makes it where there is none.
///
/// # Errors
/// Where another process has it, or it cannot be made or locked.
pub fn claim(folder: &Path) -> Result<Claim, Unclaimed> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        // Else a power cut could take the folder with all that was synced in it.
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent)?;
        }
    }
    let locked = touch(&folder.join(IN_USE))?;
    locked.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Unclaimed::InUse,
        TryLockError::Error(source) => source.into(),
    })?;
    Ok(Claim { locked })
}

/// Takes a folder together with others who only read; none where nobody ever had it. It stays as it
/// is.
pub fn share(folder: &Path) -> Result<Option<Claim>, Unclaimed> {
    let locked = match File::open(folder.join(IN_USE)) {
        Ok(locked) => locked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    locked.try_lock_shared().map_err(|error| match error {
        TryLockError::WouldBlock => Unclaimed::InUse,
        TryLockError::Error(source) => source.into(),
    })?;
    Ok(Some(Claim { locked }))
}

/// A file, which is made where there is none.
///
/// # Errors
/// Where it cannot be made.
pub fn touch(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(false).open(path)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Where the disk does not take them.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_given_back_though_a_forked_child_has_its_files_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let claimed = claim(folder.path()).expect("claimed");
        assert!(matches!(claim(folder.path()), Err(Unclaimed::InUse)));
        // As a child between fork and exec: another descriptor of the same open file.
        let of_a_child = claimed.locked.try_clone().expect("a descriptor");
        drop(claimed);
        claim(folder.path()).expect("claimed again");
        drop(of_a_child);
    }

    #[test]
    fn readers_share_a_folder_and_nobody_takes_it_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(share(folder.path()).expect("nobody's").is_none());
        let claimed = claim(folder.path()).expect("claimed");
        assert!(matches!(share(folder.path()), Err(Unclaimed::InUse)));
        drop(claimed);
        let readers = [(), ()].map(|()| share(folder.path()).expect("shared").expect("a claim"));
        assert!(matches!(claim(folder.path()), Err(Unclaimed::InUse)));
        drop(readers);
        claim(folder.path()).expect("claimed again");
    }
}
