//! Brings what was written to the disk itself, for who cannot have it made again from the streams.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Syncs files below a folder, and the folders that name them.
pub(super) fn sync(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    let mut folders = BTreeSet::from([folder]);
    for file in files {
        match File::open(file) {
            Ok(file) => file.sync_all()?,
            // What is in another file now and gone needs no disk.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        folders.extend(file.ancestors().skip(1).take_while(|above| above.starts_with(folder)));
    }
    folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Every file below a folder.
pub(super) fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            kind.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_folders_are_found_and_one_that_is_gone_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, day) = (folder.path().join("_delta_log"), folder.path().join("date=2025-01-01"));
        for (folder, name) in [(&log, "0.json"), (&log, "1.json"), (&day, "a.parquet")] {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(folder.join(name), name).expect("a file");
        }
        let mut found = all(folder.path()).expect("files");
        found.sort();
        assert_eq!(found, [log.join("0.json"), log.join("1.json"), day.join("a.parquet")]);
        sync(folder.path(), &found).expect("synced");
        fs::remove_file(log.join("0.json")).expect("removed");
        sync(folder.path(), &found).expect("synced");
        assert!(sync(&folder.path().join("elsewhere"), &[]).is_err());
    }
}
