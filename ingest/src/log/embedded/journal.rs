//! A look at the store's journals before the store opens them.
//!
//! A power cut may leave the last batch torn: it was never acknowledged, and is cut off. Anything else
//! that is broken was once synced, so the disk lost it; the store would cut off all that follows and
//! go on. Here it is refused instead, and nothing is touched.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3Default;

use super::block::unchecked;
use crate::error::LogError;

const BUFFER_BYTES: usize = 1 << 20;
/// Marks of the store's journal: of a batch's begin, of a record in it, and of its end.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
/// What closes a batch, the journal's version with it.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// A value that is put, a key that is removed, and bytes that are not compressed, as ours are not.
const PUT: u8 = 0;
const REMOVED: u8 = 1;
const PLAIN: u8 = 0;

/// A journal as it was found.
#[derive(Debug)]
pub(super) struct Journal {
    pub path: PathBuf,
    /// Where its whole batches end.
    pub whole: u64,
    pub rest: Rest,
}

/// What follows the whole batches of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// A last batch that was never acknowledged.
    Torn(Vec<u8>),
    /// What was synced once.
    Damaged,
}

/// Looks through every journal of the folder, and cuts off a torn last batch.
pub(super) fn check(folder: &Path) -> Result<(), LogError> {
    let opened =
        |source: io::Error| LogError::Open { path: folder.to_path_buf(), source: Box::new(source) };
    // The newest is the last: nothing is cut off where one before it is damaged.
    for Journal { path, whole, rest } in survey(folder).map_err(opened)? {
        match rest {
            Rest::Nothing => {}
            Rest::Damaged => return Err(LogError::DamagedJournal { path, at: whole }),
            Rest::Torn(rest) => {
                tracing::warn!(path = %path.display(), at = whole, "a torn last batch is cut off");
                cut(&path, whole, &rest).map_err(opened)?;
            }
        }
    }
    Ok(())
}

/// Looks through every journal of the folder, oldest first, and changes nothing.
pub(super) fn survey(folder: &Path) -> io::Result<Vec<Journal>> {
    let journals = journals(folder)?;
    let newest = journals.len().saturating_sub(1);
    let surveyed = journals.into_iter().enumerate().map(|(place, (_, path))| {
        let (whole, rest) = split(&path)?;
        let rest = if rest.is_empty() {
            Rest::Nothing
        } else if place < newest || holds_a_batch(&rest) {
            Rest::Damaged
        } else {
            Rest::Torn(rest)
        };
        Ok(Journal { path, whole, rest })
    });
    surveyed.collect()
}

/// The journals, oldest first.
fn journals(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".jnl").and_then(|number| number.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    Ok(journals)
}

/// Where the whole batches end, and what follows but for the zeros that a journal is made with.
fn split(path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut whole = 0;
    while let Some(batch) = read_batch(&mut reader, length - whole)? {
        whole += batch;
    }
    reader.seek(SeekFrom::Start(whole))?;
    let (mut rest, mut zeros) = (Vec::new(), 0);
    let mut part = vec![0; BUFFER_BYTES];
    loop {
        let read = reader.read(&mut part)?;
        if read == 0 {
            return Ok((whole, rest));
        }
        match part[..read].iter().rposition(|byte| *byte != 0) {
            None => zeros += read,
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend_from_slice(&part[..=last]);
                zeros = read - last - 1;
            }
        }
    }
}

/// The torn bytes stay beside the journal: somebody may want to know what they were.
fn cut(path: &Path, whole: u64, rest: &[u8]) -> io::Result<()> {
    let mut torn = File::create(path.with_extension("torn"))?;
    torn.write_all(rest)?;
    torn.sync_all()?;
    let journal = File::options().write(true).open(path)?;
    journal.set_len(whole)?;
    journal.sync_all()
}

fn holds_a_batch(rest: &[u8]) -> bool {
    (0..rest.len()).any(|at| rest[at] == START && starts_with_batch(&rest[at..]))
}

fn starts_with_batch(mut bytes: &[u8]) -> bool {
    let most = bytes.len() as u64;
    matches!(read_batch(&mut bytes, most), Ok(Some(_)))
}

/// How long the batch is that begins here; none where no whole batch does.
fn read_batch(reader: &mut impl Read, most: u64) -> io::Result<Option<u64>> {
    let mut batch = Batch { reader, left: most, hasher: Xxh3Default::new() };
    match batch.read() {
        Ok(true) => Ok(Some(most - batch.left)),
        Ok(false) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

struct Batch<'a, R> {
    reader: &'a mut R,
    left: u64,
    /// The store's own checksum of a batch is over all that stands in it.
    hasher: Xxh3Default,
}

impl<R: Read> Batch<'_, R> {
    fn read(&mut self) -> io::Result<bool> {
        if self.array::<1>()? != [START] {
            return Ok(false);
        }
        let records = u32::from_le_bytes(self.array()?);
        let _sequence: [u8; 8] = self.array()?;
        self.hasher.reset();
        for _ in 0..records {
            if self.array::<1>()? != [ITEM] || !self.item()? {
                return Ok(false);
            }
        }
        let checksum = self.hasher.digest().to_le_bytes();
        if records == 0 || self.array::<1>()? != [END] {
            return Ok(false);
        }
        Ok(self.array()? == checksum && self.array()? == TRAILER)
    }

    /// A row; of one that is put our own checksum tells whether it is whole.
    fn item(&mut self) -> io::Result<bool> {
        let [kind, compression] = self.array()?;
        let _keyspace: [u8; 8] = self.array()?;
        let key = u64::from(u16::from_le_bytes(self.array()?));
        let _length: [u8; 4] = self.array()?;
        let value = u64::from(u32::from_le_bytes(self.array()?));
        if !matches!(kind, PUT | REMOVED) || compression != PLAIN {
            return Ok(false);
        }
        let (key, value) = (self.bytes(key)?, self.bytes(value)?);
        Ok(kind == REMOVED || unchecked(&key, &value).is_some())
    }

    fn array<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.take(LENGTH as u64)?;
        self.reader.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        self.take(length)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.reader.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// A damaged length must not make us ask for memory that no file fills.
    fn take(&mut self, length: u64) -> io::Result<()> {
        self.left = self.left.checked_sub(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
