//! How far the log was acknowledged, kept beside the store.
//!
//! The store takes a damaged journal for one that ends there, and goes on. What it then lacks would be
//! missing in silence, and its offsets would be given a second time. So the ends are written after
//! every sync and compared at the next opening. They need no sync of their own: ends of before are a
//! lower bound as well.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::topic::Topic;

const NAME: &str = "ends";

/// The end of every partition.
pub(super) type Known = HashMap<(Topic, u32), u64>;

/// What the file holds; none where there is none, or one that a power cut tore. Nothing is changed.
pub(super) fn known(folder: &Path) -> io::Result<Option<Known>> {
    match std::fs::read_to_string(folder.join(NAME)) {
        Ok(text) => Ok(parse(&text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The file of the ends.
#[derive(Debug)]
pub(super) struct Ends {
    file: File,
    length: usize,
}

impl Ends {
    /// Opens the file, and reads what it holds. A file that a power cut tore says nothing.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Known)> {
        let path = folder.join(NAME);
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let text = String::from_utf8(std::fs::read(&path)?).unwrap_or_default();
        let known = parse(&text).unwrap_or_default();
        Ok((Self { file, length: text.len() }, known))
    }

    /// Writes the ends over those of before.
    pub(super) fn write(
        &mut self,
        ends: impl Iterator<Item = (Topic, u32, u64)>,
    ) -> io::Result<()> {
        let lines: String =
            ends.map(|(topic, partition, end)| format!("{topic} {partition} {end}\n")).collect();
        let mut text = format!("{}\n{lines}", blake3::hash(lines.as_bytes()).to_hex());
        // In one write, over everything that stood there.
        let length = text.len();
        text.extend(std::iter::repeat_n('\n', self.length.saturating_sub(length)));
        self.length = text.len();
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// Makes the ends as safe as the records, at a regular end.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn parse(text: &str) -> Option<Known> {
    let (hash, lines) = text.split_once('\n')?;
    let kept = lines.trim_end_matches('\n');
    let kept = if kept.is_empty() { String::new() } else { format!("{kept}\n") };
    if blake3::hash(kept.as_bytes()).to_hex().as_str() != hash {
        return None;
    }
    let ends = kept.lines().map(|line| {
        let mut words = line.split(' ');
        let topic = Topic::parse(words.next()?)?;
        let partition = words.next()?.parse().ok()?;
        Some(((topic, partition), words.next()?.parse().ok()?))
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_and_torn_ones_say_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ends, known) = Ends::open(folder.path()).expect("opened");
        assert!(known.is_empty());
        let many = [(Topic::Audit, 0, 1_000), (Topic::Authorisations, 3, 7)];
        ends.write(many.into_iter()).expect("written");
        ends.write([(Topic::Audit, 0, 1_001)].into_iter()).expect("written");
        let (_, known) = Ends::open(folder.path()).expect("opened");
        assert_eq!(known, HashMap::from([((Topic::Audit, 0), 1_001)]));
        let path = folder.path().join(NAME);
        let torn = std::fs::read_to_string(&path).expect("read").replace("1001", "1002");
        std::fs::write(&path, torn).expect("written");
        assert!(Ends::open(folder.path()).expect("opened").1.is_empty());
    }
}
