//! A copy of the streams in a folder of its own, that grows with each backup.
//!
//! A backup writes new files with the records that are new, and last, in one step, the manifest that names
//! all files with their checksums. Whatever the manifest does not name is of a backup that was cut off and
//! is cleared by the next one; whatever it names is never written again. So a backup that is cut off
//! anywhere leaves the one before it as it was.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::{folder, topic::Topic};

pub mod manifest;
pub mod segment;

use manifest::{Last, Manifest, Note, Segment, Stream};
use segment::Writer;

/// The manifest's file.
const MANIFEST: &str = "manifest";
/// Where records lie.
const STREAMS: &str = "streams";
/// Where small files lie, a folder for each backup.
const NOTES: &str = "notes";

/// A backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of it.
    #[error("cannot {attempted} {}", path.display())]
    File {
        /// What was attempted.
        attempted: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is none.
    #[error("{} holds no backup: there is no manifest", path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what the manifest says.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was written by a later version.
    #[error("{} is of format {format}, which this version does not read", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The streams and the backup do not go together.
    #[error("{topic}/{partition}: {reason}")]
    Stream {
        /// The stream.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// What is wrong.
        reason: String,
    },
}

pub(crate) fn failed(attempted: &'static str, path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { attempted, path: path.clone(), source }
}

/// A backup that is being written.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    manifest: Manifest,
}

impl Backup {
    /// Goes on with the backup in a folder, or begins one where there is none; what one that was cut off
    /// has left is cleared.
    ///
    /// # Errors
    /// Where the folder holds something else, or cannot be used.
    pub fn open(folder: &Path) -> Result<Self, BackupError> {
        let manifest = match Manifest::read(&folder.join(MANIFEST)) {
            Ok(manifest) => manifest,
            Err(BackupError::None { .. }) => Manifest::default(),
            Err(error) => return Err(error),
        };
        if manifest.streams.is_empty() {
            only_ours(folder)?;
        }
        fs::create_dir_all(folder.join(STREAMS)).map_err(failed("make", folder))?;
        fs::create_dir_all(folder.join(NOTES)).map_err(failed("make", folder))?;
        let backup = Self { folder: folder.to_owned(), manifest };
        backup.clear()?;
        Ok(backup)
    }

    /// What it holds already.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Removes what the manifest does not name.
    fn clear(&self) -> Result<(), BackupError> {
        let named: std::collections::BTreeSet<PathBuf> =
            self.manifest.files().map(|name| self.folder.join(name)).collect();
        for part in [STREAMS, NOTES] {
            for path in files_below(&self.folder.join(part))? {
                if !named.contains(&path) {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Up to where it has a partition; where it has nothing of it, nothing.
    #[must_use]
    pub fn end(&self, topic: Topic, partition: u32) -> Option<u64> {
        self.manifest.stream(topic, partition).map(|stream| stream.end)
    }

    /// Begins a file of records of a partition, the first of which stands at `first` or after.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn segment(&self, topic: Topic, partition: u32, first: u64) -> Result<Writer, BackupError> {
        let name = format!("{STREAMS}/{topic}-{partition}-{first:020}.records");
        Writer::create(&self.folder, name, first)
    }

    /// Takes the files of a partition's new records, which go up to `end`.
    pub fn take(
        &mut self,
        (topic, partition): (Topic, u32),
        (start, end): (u64, u64),
        segments: Vec<Segment>,
        last: Option<Last>,
    ) {
        let known = self.manifest.streams.iter_mut();
        let mut known = known.filter(|of| of.stream == topic.name() && of.partition == partition);
        if let Some(stream) = known.next() {
            stream.end = end;
            stream.segments.extend(segments);
            stream.last = last.or(stream.last.take());
            return;
        }
        let stream = topic.name().to_owned();
        self.manifest.streams.push(Stream { stream, partition, start, end, segments, last });
    }

    /// Writes the small files of this backup, then the manifest that names everything.
    ///
    /// # Errors
    /// Where a file cannot be written; the backup before this one holds then.
    pub fn finish(
        mut self,
        taken_at: DateTime<Utc>,
        keys: &str,
        notes: &[(String, Vec<u8>)],
    ) -> Result<Manifest, BackupError> {
        let below = format!("{NOTES}/{}", taken_at.timestamp_micros());
        self.manifest.notes.clear();
        for (name, bytes) in notes {
            let file = format!("{below}/{}", name.replace('/', "+"));
            let path = self.folder.join(&file);
            write(&path, bytes)?;
            let (checksum, bytes) = (blake3::hash(bytes).to_hex().to_string(), bytes.len() as u64);
            self.manifest.notes.push(Note { name: name.clone(), file, bytes, checksum });
        }
        self.manifest.taken_at = taken_at;
        self.manifest.keys = keys.to_owned();
        for part in [STREAMS, NOTES] {
            sync(&self.folder.join(part))?;
        }
        self.manifest.write(&self.folder.join(MANIFEST))?;
        self.clear()?;
        Ok(self.manifest)
    }
}

/// A backup as it lies there.
///
/// # Errors
/// Where there is none, or its manifest cannot be read.
pub fn read(folder: &Path) -> Result<Manifest, BackupError> {
    Manifest::read(&folder.join(MANIFEST))
}

/// Refuses a folder that holds something else than a backup that was cut off.
fn only_ours(folder: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", folder)(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed("read", folder))?.file_name();
        let ours = [STREAMS, NOTES, "manifest.part"].iter().any(|ours| name == **ours);
        if !ours {
            let reason = format!("it holds {} and no manifest", name.to_string_lossy());
            return Err(BackupError::Damaged { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.is_dir() {
            let below = files_below(&path)?;
            files.extend(below);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Writes a file and makes its folder, in one step, synced.
///
/// # Errors
/// Where it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).map_err(failed("write", &part))?;
    io::Write::write_all(&mut file, bytes).map_err(failed("write", &part))?;
    file.sync_all().map_err(failed("sync", &part))?;
    fs::rename(&part, path).map_err(failed("write", path))?;
    sync(folder)
}

/// Syncs what a folder names.
///
/// # Errors
/// Where it cannot be synced.
pub fn sync(folder: &Path) -> Result<(), BackupError> {
    folder::sync(folder).map_err(failed("sync", folder))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        record::{Position, Record, Stored, outside_id},
        wire::v1::{Event, Heartbeat},
    };

    fn record(offset: u64) -> Stored {
        let at = DateTime::from_timestamp(1_700_000_000, 0).expect("an instant");
        let at = at + TimeDelta::seconds(i64::try_from(offset).expect("few"));
        let record = Record {
            id: outside_id("test", &offset.to_string()),
            key: "k".into(),
            source: "test".into(),
            sequence: offset,
            event_time: at,
            recorded_at: at,
            event: Event::Heartbeat(Heartbeat { until: 7 }),
        };
        Stored { position: Position { partition: 0, offset }, record }
    }

    fn add(backup: &mut Backup, from: u64, end: u64) {
        let mut writer = backup.segment(Topic::Audit, 0, from).expect("a file");
        for offset in from..end {
            let stored = record(offset);
            let bytes = crate::wire::encode(&stored.record);
            writer.push(offset, stored.record.recorded_at, &bytes).expect("written");
        }
        let segments = writer.finish(end).expect("synced").into_iter().collect();
        backup.take((Topic::Audit, 0), (0, end), segments, None);
    }

    fn read_all(folder: &Path, manifest: &Manifest) -> Vec<u64> {
        let mut offsets = Vec::new();
        let stream = manifest.stream(Topic::Audit, 0).expect("the stream");
        for segment in &stream.segments {
            segment::check(folder, segment).expect("whole");
            segment::each(folder, segment, |offset, bytes| {
                assert_eq!(crate::wire::decode(bytes).expect("a record"), record(offset).record);
                offsets.push(offset);
                Ok::<_, BackupError>(true)
            })
            .expect("read");
        }
        offsets
    }

    #[test]
    fn a_backup_grows_and_one_that_is_cut_off_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let mut backup = Backup::open(folder.path()).expect("begun");
        add(&mut backup, 0, 100);
        backup.finish(now, "k", &[("a/b".into(), b"note".to_vec())]).expect("done");
        // Cut off after its records, before its manifest.
        let mut cut_off = Backup::open(folder.path()).expect("goes on");
        assert_eq!(cut_off.end(Topic::Audit, 0), Some(100));
        add(&mut cut_off, 100, 150);
        drop(cut_off);
        let manifest = read(folder.path()).expect("the first");
        assert_eq!(read_all(folder.path(), &manifest), (0..100).collect::<Vec<_>>());
        let mut again = Backup::open(folder.path()).expect("goes on");
        add(&mut again, 100, 160);
        let manifest = again.finish(now + TimeDelta::seconds(1), "k", &[]).expect("done");
        assert_eq!(read(folder.path()).expect("the second"), manifest);
        assert_eq!(read_all(folder.path(), &manifest), (0..160).collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut backup = Backup::open(folder.path()).expect("begun");
        add(&mut backup, 0, 100);
        let manifest = backup.finish(DateTime::default(), "k", &[]).expect("done");
        let segment = &manifest.streams[0].segments[0];
        let path = folder.path().join(&segment.file);
        let mut bytes = fs::read(&path).expect("read");
        bytes[40] ^= 1;
        fs::write(&path, &bytes).expect("written");
        assert!(matches!(segment::check(folder.path(), segment), Err(BackupError::Damaged { .. })));
        let path = folder.path().join(MANIFEST);
        let text = fs::read_to_string(&path).expect("read").replace("\"end\": 100", "\"end\": 99");
        fs::write(&path, text).expect("written");
        assert!(matches!(read(folder.path()), Err(BackupError::Damaged { .. })));
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("written");
        assert!(Backup::open(folder.path()).is_err());
        assert!(folder.path().join("thesis.txt").is_file());
    }
}
