//! A file of records: one after the other, each behind its offset and length, compressed as a whole.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{BackupError, failed, manifest::Segment, sync};

/// What a file begins with.
const MAGIC: &[u8; 8] = b"avisrec1";
const COMPRESSION_LEVEL: i32 = 3;
/// What no record has: a damaged length must not make us ask for memory.
const MOST_RECORD_BYTES: u32 = 256 << 20;
/// Records' bytes of one file: one that is damaged costs no more.
const FULL_BYTES: u64 = 512 << 20;

/// A file that is being written.
pub struct Writer {
    path: PathBuf,
    name: String,
    first: u64,
    records: u64,
    plain: u64,
    newest: DateTime<Utc>,
    encoder: zstd::stream::write::Encoder<'static, Hashed>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is written is hashed on its way.
struct Hashed {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    pub(super) fn create(folder: &Path, name: String, first: u64) -> Result<Self, BackupError> {
        let path = folder.join(&name);
        let file = File::create(&path).map_err(failed("write", &path))?;
        let mut hashed =
            Hashed { file: BufWriter::new(file), hasher: blake3::Hasher::new(), bytes: 0 };
        hashed.write_all(MAGIC).map_err(failed("write", &path))?;
        let encoder = zstd::stream::write::Encoder::new(hashed, COMPRESSION_LEVEL);
        let encoder = encoder.map_err(failed("write", &path))?;
        let newest = DateTime::<Utc>::MIN_UTC;
        Ok(Self { path, name, first, records: 0, plain: 0, newest, encoder })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn push(
        &mut self,
        offset: u64,
        recorded_at: DateTime<Utc>,
        bytes: &[u8],
    ) -> Result<(), BackupError> {
        let failed = failed("write", &self.path);
        let length = u32::try_from(bytes.len()).map_err(|error| failed(io::Error::other(error)))?;
        let mut head = [0; 12];
        head[..8].copy_from_slice(&offset.to_le_bytes());
        head[8..].copy_from_slice(&length.to_le_bytes());
        self.encoder
            .write_all(&head)
            .and_then(|()| self.encoder.write_all(bytes))
            .map_err(failed)?;
        self.records += 1;
        self.plain += bytes.len() as u64;
        self.newest = self.newest.max(recorded_at);
        Ok(())
    }

    /// Whether the next record belongs into another file.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.plain >= FULL_BYTES
    }

    /// Ends the file, synced; it covers the offsets before `end`. One without records is removed.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(self, end: u64) -> Result<Option<Segment>, BackupError> {
        let Self { path, name, first, records, newest, encoder, .. } = self;
        let Hashed { file, hasher, bytes } = encoder.finish().map_err(failed("write", &path))?;
        let file = file.into_inner().map_err(|error| failed("write", &path)(error.into()))?;
        file.sync_all().map_err(failed("sync", &path))?;
        if records == 0 {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            return Ok(None);
        }
        sync(path.parent().unwrap_or(&path))?;
        let checksum = hasher.finalize().to_hex().to_string();
        Ok(Some(Segment { file: name, first, end, records, bytes, newest, checksum }))
    }
}

/// Whether a file is what the manifest says.
///
/// # Errors
/// Where it is not, or cannot be read.
pub fn check(folder: &Path, segment: &Segment) -> Result<(), BackupError> {
    checked(&folder.join(&segment.file), segment.bytes, &segment.checksum)
}

/// Whether a file has a length and a checksum.
///
/// # Errors
/// Where it has not, or cannot be read.
pub fn checked(path: &Path, bytes: u64, checksum: &str) -> Result<(), BackupError> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(failed("read", path))?;
    let read = hasher.update_reader(file).map_err(failed("read", path))?.count();
    let damaged = |reason: String| BackupError::Damaged { path: path.to_owned(), reason };
    if read != bytes {
        return Err(damaged(format!("it has {read} bytes instead of {bytes}")));
    }
    if hasher.finalize().to_hex().as_str() != checksum {
        return Err(damaged("its checksum is another".into()));
    }
    Ok(())
}

/// Tells the records of a file, in order, until `each` has enough.
///
/// # Errors
/// Where the file is damaged, or the first error of `each`.
pub fn each<E: From<BackupError>>(
    folder: &Path,
    segment: &Segment,
    mut each: impl FnMut(u64, &[u8]) -> Result<bool, E>,
) -> Result<(), E> {
    let path = folder.join(&segment.file);
    let damaged =
        |reason: &str| BackupError::Damaged { path: path.clone(), reason: reason.to_owned() };
    let mut file = File::open(&path).map_err(failed("read", &path))?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(failed("read", &path))?;
    if magic != *MAGIC {
        return Err(damaged("it is no file of records").into());
    }
    let decoder = zstd::stream::read::Decoder::new(file).map_err(failed("read", &path))?;
    let (mut records, mut bytes) = (BufReader::with_capacity(1 << 20, decoder), Vec::new());
    let mut next = segment.first;
    for _ in 0..segment.records {
        let mut head = [0; 12];
        records.read_exact(&mut head).map_err(failed("read", &path))?;
        let (offset, length) = head.split_at(8);
        let offset = u64::from_le_bytes(offset.try_into().unwrap_or_default());
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        if length > MOST_RECORD_BYTES || offset < next || offset >= segment.end {
            return Err(damaged("a record is not of this file, or not in order").into());
        }
        next = offset + 1;
        // As long as it is, and not as long as it is said to be.
        bytes.clear();
        let one = records.by_ref().take(length.into()).read_to_end(&mut bytes);
        if one.map_err(failed("read", &path))? < length as usize {
            return Err(damaged("a record is cut off").into());
        }
        if !each(offset, &bytes)? {
            break;
        }
    }
    Ok(())
}
