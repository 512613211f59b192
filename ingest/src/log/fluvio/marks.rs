//! How far each partition was read and what was then known of every outbox, kept beside the mirror.
//!
//! Only a shortcut: without it the partition is read from its beginning, and what the mirror has is
//! compared instead of written.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// What a reader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Fluvio's offset that is read next.
    pub next: u64,
    /// The id of the record before it.
    pub last: Option<String>,
    /// The mirror's end at that time.
    pub kept: u64,
    /// Of each outbox the sequence that comes next.
    pub outboxes: HashMap<String, u64>,
}

impl Mark {
    /// The sequence that comes next of an outbox.
    pub(super) fn wanted(&self, outbox: &str) -> u64 {
        self.outboxes.get(outbox).copied().unwrap_or(0)
    }

    pub(super) fn want(&mut self, outbox: &str, next: u64) {
        match self.outboxes.get_mut(outbox) {
            Some(wanted) => *wanted = next,
            None => drop(self.outboxes.insert(outbox.to_owned(), next)),
        }
    }
}

/// The mark of one partition.
#[derive(Clone, Debug)]
pub(super) struct MarkFile(PathBuf);

impl MarkFile {
    pub(super) fn of(folder: &Path, topic: Topic, partition: u32) -> Self {
        Self(folder.join(format!("{topic}-{partition}.mark")))
    }

    /// The mark, where it is one of a mirror that ends at `end`. One that a power cut tore says
    /// nothing, and so does one from which the mirror lost what came before it.
    pub(super) fn read(&self, end: u64) -> Mark {
        let text = fs::read(&self.0).unwrap_or_default();
        let mark: Option<Mark> = serde_json::from_slice(&text).ok();
        mark.filter(|mark| mark.kept <= end).unwrap_or_default()
    }

    pub(super) fn write(&self, mark: &Mark) -> io::Result<()> {
        let beside = self.0.with_extension("new");
        fs::write(&beside, serde_json::to_vec(mark)?)?;
        fs::rename(&beside, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_unless_the_mirror_is_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = MarkFile::of(folder.path(), Topic::Audit, 0);
        assert_eq!(file.read(0), Mark::default());
        let outboxes = HashMap::from([("A".to_owned(), 7)]);
        let mark = Mark { next: 12, last: Some("X".into()), kept: 10, outboxes };
        file.write(&mark).expect("written");
        assert_eq!(file.read(10), mark);
        assert_eq!(file.read(9), Mark::default());
        fs::write(&file.0, "{\"next\":1").expect("written");
        assert_eq!(file.read(10), Mark::default());
    }
}
