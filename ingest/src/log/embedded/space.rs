//! Whether the disk takes more. Looked at before every write: a write that fails half-way stops the
//! log until it is opened again, one that is refused beforehand costs nothing.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use crate::error::LogError;

/// The disk under a folder.
#[derive(Debug)]
pub(super) struct Space {
    path: PathBuf,
    folder: File,
    /// What has to stay free: the store's own tables and journals grow beside what is appended.
    reserve: u64,
}

/// Why nothing is taken: by the disk now, or by the log any more.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    Full { path: PathBuf, free: u64, reserve: u64 },
    ReadOnly { path: PathBuf },
    Stopped { sync_failed: bool },
}

impl Space {
    pub(super) fn of(path: &Path, reserve: u64) -> std::io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), folder: File::open(path)?, reserve })
    }

    /// Refuses what would not fit beside the reserve.
    pub(super) fn has_room_for(&self, bytes: usize) -> Result<(), Refused> {
        self.has(self.reserve.saturating_add(bytes as u64))
    }

    /// Refuses to let go of anything, which makes room in the end and takes a little first, where
    /// half of the reserve is gone.
    pub(super) fn has_room_to_remove(&self) -> Result<(), Refused> {
        self.has(self.reserve / 2)
    }

    fn has(&self, needed: u64) -> Result<(), Refused> {
        // A disk that does not tell is tried.
        let Ok(disk) = fstatvfs(&self.folder) else { return Ok(()) };
        if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(Refused::ReadOnly { path: self.path.clone() });
        }
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            let (path, reserve) = (self.path.clone(), self.reserve);
            return Err(Refused::Full { path, free, reserve });
        }
        Ok(())
    }
}

impl Refused {
    /// Why, as metrics have it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "disk_full",
            Self::ReadOnly { .. } => "read_only",
            Self::Stopped { .. } => "stopped",
        }
    }
}

impl From<Refused> for LogError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full { path, free, reserve } => Self::DiskFull { path, free, reserve },
            Refused::ReadOnly { path } => Self::ReadOnly { path },
            Refused::Stopped { sync_failed } => Self::Stopped { sync_failed },
        }
    }
}
