//! What a backup holds: its files, with their checksums.

use std::{
    fs, io,
    path::{Component, Path},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupError, failed, write};
use crate::topic::Topic;

/// The format that is written.
pub const FORMAT: u32 = 1;

/// Everything that a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How it is written.
    pub format: u32,
    /// When its newest cut was made.
    pub taken_at: DateTime<Utc>,
    /// Which vault's keys belong to it.
    pub keys: String,
    /// The streams' partitions.
    pub streams: Vec<Stream>,
    /// Small files, as of the newest backup.
    pub notes: Vec<Note>,
}

/// A partition of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The stream's name.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The first offset that the stream had left at the first backup.
    pub start: u64,
    /// The offset after its last record.
    pub end: u64,
    /// The files of its records, in order.
    pub segments: Vec<Segment>,
    /// Its last record, by which a later backup knows that it goes on with the same history.
    pub last: Option<Last>,
}

/// A record, by its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Where it stands.
    pub offset: u64,
    /// Its checksum (BLAKE3).
    pub checksum: String,
}

impl Last {
    /// A record's.
    #[must_use]
    pub fn of(offset: u64, bytes: &[u8]) -> Self {
        Self { offset, checksum: blake3::hash(bytes).to_hex().to_string() }
    }
}

/// A file of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it lies, below the backup's folder.
    pub file: String,
    /// The first offset that it covers.
    pub first: u64,
    /// The offset after the last that it covers.
    pub end: u64,
    /// How many records it has.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
    /// The newest record time in it.
    pub newest: DateTime<Utc>,
    /// Its checksum (BLAKE3).
    pub checksum: String,
}

/// A small file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it is called in a node's folder.
    pub name: String,
    /// Where it lies, below the backup's folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum (BLAKE3).
    pub checksum: String,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            format: FORMAT,
            taken_at: DateTime::default(),
            keys: String::new(),
            streams: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Manifest {
    /// The manifest in a file: its checksum, then itself.
    ///
    /// # Errors
    /// Where there is none, or it is damaged or of a later format.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let folder = path.parent().unwrap_or(path);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::None { path: folder.to_owned() });
            }
            Err(error) => return Err(failed("read", path)(error)),
        };
        let damaged = |reason: &str| BackupError::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let (checksum, json) = text.split_once('\n').ok_or_else(|| damaged("it is cut off"))?;
        if blake3::hash(json.as_bytes()).to_hex().as_str() != checksum {
            return Err(damaged("its checksum is another"));
        }
        let manifest: Self =
            serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        // A manifest that was made up must not have files of somewhere else read, or written anew.
        let is_inside = |file: &str| {
            Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
        };
        if !manifest.files().all(is_inside) {
            return Err(damaged("it names a file outside its folder"));
        }
        match manifest.format {
            FORMAT => Ok(manifest),
            format => Err(BackupError::Format { path: folder.to_owned(), format }),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), BackupError> {
        let json = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let json = json.map_err(failed("write", path))?;
        let checksum = blake3::hash(json.as_bytes()).to_hex();
        write(path, format!("{checksum}\n{json}").as_bytes())
    }

    /// A partition of a stream.
    #[must_use]
    pub fn stream(&self, topic: Topic, partition: u32) -> Option<&Stream> {
        let mut streams = self.streams.iter();
        streams.find(|of| of.stream == topic.name() && of.partition == partition)
    }

    /// The names of its files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let segments = self.streams.iter().flat_map(|stream| &stream.segments);
        let segments = segments.map(|segment| segment.file.as_str());
        segments.chain(self.notes.iter().map(|note| note.file.as_str()))
    }

    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> u64 {
        let segments = self.streams.iter().flat_map(|stream| &stream.segments);
        segments.fold(0, |sum: u64, segment| sum.saturating_add(segment.records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest as format 1 writes it; a version that cannot read it must not be released.
    const KEPT: &str = include_str!("../../tests/golden/backup/v1/manifest.json");

    fn read(json: &str) -> Result<Manifest, BackupError> {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, checksum) = (folder.path().join("manifest"), blake3::hash(json.as_bytes()));
        fs::write(&path, format!("{}\n{json}", checksum.to_hex())).expect("written");
        Manifest::read(&path)
    }

    #[test]
    fn format_1_is_readable_for_ever_and_written_so_that_it_was_readable_always() {
        let kept = read(KEPT).expect("format 1");
        assert_eq!((kept.format, kept.records()), (1, 3));
        let stream = kept.stream(Topic::Authorisations, 3).expect("a stream");
        assert_eq!((stream.start, stream.end, stream.segments[0].bytes), (2, 5, 1_207));
        let files = ["streams/authorisations/3/00000000000000000002", "notes/erasures"];
        assert_eq!(kept.files().collect::<Vec<_>>(), files);
        // Every field that the first version wanted is written still, with the same meaning.
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        let (old, new) = (value(KEPT), value(&serde_json::to_string(&kept).expect("JSON")));
        assert_eq!(new, old);
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_and_its_format_is_refused() {
        let more = KEPT.replacen("\"partition\": 3,", "\"partition\": 3, \"tier\": \"cold\",", 1);
        assert_eq!(read(&more).expect("format 1"), read(KEPT).expect("format 1"));
        let later = KEPT.replacen("\"format\": 1", "\"format\": 2", 1);
        assert!(matches!(read(&later), Err(BackupError::Format { format: 2, .. })));
    }
}
