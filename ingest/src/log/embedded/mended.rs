//! What a disk has damaged of the store's files, made good in the folder that a stopped log is read from.
//!
//! The store opens no stream of which a table's index is damaged, or the end of a file of blocks, though
//! rows and blocks are whole: they say how long they are, and have a checksum. So the whole rows of such
//! a table are put into another of the same number, and such a file of blocks gets another end. Of rows
//! that are damaged themselves it is told between which keys they stood.
//!
//! Only the files that a stream's list names are looked at: a killed node leaves others, cut off, which
//! the store removes unread.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use lsm_tree::{
    CompressionType, InternalValue, Slice, ValueType,
    file::{BLOBS_FOLDER, CURRENT_VERSION_FILE, MAGIC_BYTES, TABLES_FOLDER},
    table::{Block, DataBlock, Scanner, Writer, block::BlockType},
};
use xxhash_rust::xxh3::xxh3_128;

use super::block::key;

/// What a file ends with: mark, version and kind of checksum; the checksum of its list of parts, where
/// that stands, and how long it is.
const FOOT_BYTES: usize = 38;
/// The part of a table that has its rows.
const ROWS: &[u8] = b"data";
/// What the last part of a file of blocks begins with.
const ABOUT: [u8; 4] = *b"META";
/// Names of what is being written.
const ANEW: &str = "anew";
const WHOLE_ROWS: &str = "rows";

/// A file that is not what was written.
#[derive(Debug)]
pub(super) struct Mended {
    /// Where it lies in its log.
    pub place: PathBuf,
    /// The rows that are lost of it.
    pub lost: Vec<Lost>,
}

/// Rows of a table that cannot be read any more: the keys that they stood between. None is the table's
/// begin or end.
#[derive(Debug)]
pub(super) struct Lost {
    after: Option<Slice>,
    before: Option<Slice>,
}

impl Lost {
    /// Whether rows of a partition may be among them that stood before an offset.
    pub(super) fn may_hold_before(&self, partition: u32, offset: u64) -> bool {
        let (first, end) = (key(partition, 0), key(partition, offset));
        self.after.as_ref().is_none_or(|after| after[..] < end[..])
            && self.before.as_ref().is_none_or(|before| before[..] > first[..])
    }
}

/// A file that a stream's list names, and the checksum of all its bytes.
struct Listed {
    kind: &'static str,
    number: u64,
    checksum: u128,
}

/// Makes good the files of the stream at `place` in `folder`; which were not what was written. Those of
/// which nothing is whole stay, and the store says what is wrong with them, as it does of a list.
pub(super) fn mend(folder: &Path, place: &Path) -> io::Result<Vec<Mended>> {
    let (mut mended, anew) = (Vec::new(), folder.join(ANEW));
    for Listed { kind, number, checksum } in listed(&folder.join(place)).unwrap_or_default() {
        let place = place.join(kind).join(number.to_string());
        let path = folder.join(&place);
        let lost = match kind {
            TABLES_FOLDER => table(&path, number, checksum, &anew)?,
            _ => blocks(&path, &anew)?,
        };
        if let Some(lost) = lost {
            std::fs::rename(&anew, &path)?;
            mended.push(Mended { place, lost });
        }
    }
    Ok(mended)
}

/// The files of a stream, where its list can be read.
fn listed(stream: &Path) -> Option<Vec<Listed>> {
    let current = std::fs::read(stream.join(CURRENT_VERSION_FILE)).ok()?;
    let current = u64::from_le_bytes(*current.first_chunk()?);
    let (parts, bytes) = read(&stream.join(format!("v{current}"))).ok()?;
    let parts = parts?;
    let mut files = Vec::new();
    // By level and by run.
    let mut tables = part(&parts, &bytes, b"tables")?;
    for _ in 0..u8::from_le_bytes(take(&mut tables)?) {
        for _ in 0..u8::from_le_bytes(take(&mut tables)?) {
            for _ in 0..u32::from_le_bytes(take(&mut tables)?) {
                files.push(entry(TABLES_FOLDER, &mut tables)?);
                // What its rows' numbers count from.
                take::<8>(&mut tables)?;
            }
        }
    }
    let mut blocks = part(&parts, &bytes, b"blob_files")?;
    for _ in 0..u32::from_le_bytes(take(&mut blocks)?) {
        files.push(entry(BLOBS_FOLDER, &mut blocks)?);
    }
    Some(files)
}

fn entry(kind: &'static str, bytes: &mut &[u8]) -> Option<Listed> {
    let number = u64::from_le_bytes(take(bytes)?);
    let _kind_of_checksum = take::<1>(bytes)?;
    let checksum = u128::from_le_bytes(take(bytes)?);
    Some(Listed { kind, number, checksum })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Writes a table anew where it is not what was written; the rows that are lost, or none where it stays.
fn table(path: &Path, number: u64, checksum: u128, anew: &Path) -> io::Result<Option<Vec<Lost>>> {
    // What the disk does not give, the store asks for as well.
    let Ok((parts, bytes)) = read(path) else { return Ok(None) };
    if xxh3_128(&bytes) == checksum {
        return Ok(None);
    }
    let rows = parts.and_then(|parts| part(&parts, &bytes, ROWS));
    let runs = runs(rows.unwrap_or(&bytes));
    if runs.iter().all(|run| run.count == 0) {
        return Ok(None);
    }
    write(&runs, number, anew).map(Some).map_err(io::Error::other)
}

/// A file, and its parts where their list is whole.
fn read(path: &Path) -> io::Result<(Option<sfa::Reader>, Vec<u8>)> {
    let parts = parts(&File::open(path)?)?;
    Ok((parts, std::fs::read(path)?))
}

fn parts(mut file: &File) -> io::Result<Option<sfa::Reader>> {
    let end = file.metadata()?.len().checked_sub(FOOT_BYTES as u64);
    let Some(end) = end else { return Ok(None) };
    let mut foot = [0; FOOT_BYTES];
    file.read_exact_at(&mut foot, end)?;
    let (mut checksum, mut at) = ([0; 16], [0; 8]);
    checksum.copy_from_slice(&foot[6..22]);
    at.copy_from_slice(&foot[22..30]);
    let at = u64::from_le_bytes(at);
    let Some(length) = end.checked_sub(at) else { return Ok(None) };
    let mut list = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut list, at)?;
    // The list's reader asks for memory as it says before it looks at the checksum.
    if xxh3_128(&list) != u128::from_le_bytes(checksum) {
        return Ok(None);
    }
    Ok(sfa::Reader::from_reader(&mut file).ok())
}

fn part<'a>(parts: &sfa::Reader, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let part = parts.toc().section(name)?;
    let (at, length) = (usize::try_from(part.pos()).ok()?, usize::try_from(part.len()).ok()?);
    bytes.get(at..at.checked_add(length)?)
}

/// Kind and length of the whole block of the store that begins here.
fn block(bytes: &[u8]) -> Option<(BlockType, usize)> {
    let mut rest = bytes;
    let block = Block::from_reader(&mut rest, CompressionType::None).ok()?;
    Some((block.header.block_type, bytes.len() - rest.len()))
}

/// Whole blocks of rows, one after the other.
struct Run<'a> {
    blocks: &'a [u8],
    count: usize,
}

/// The runs of a table's whole blocks of rows: between two of them something is damaged. The first or
/// the last may have none.
fn runs(bytes: &[u8]) -> Vec<Run<'_>> {
    let (mut runs, mut from, mut at, mut count) = (Vec::new(), 0, 0, 0);
    while at < bytes.len() {
        match block(&bytes[at..]) {
            Some((BlockType::Data, length)) => {
                at += length;
                count += 1;
            }
            // The index follows the rows.
            Some(_) => break,
            None => {
                runs.push(Run { blocks: &bytes[from..at], count });
                at = next_block(bytes, at + 1);
                (from, count) = (at, 0);
            }
        }
    }
    runs.push(Run { blocks: &bytes[from..at], count });
    runs
}

/// Where the next whole block begins: how long one is that is not, nobody knows.
fn next_block(bytes: &[u8], from: usize) -> usize {
    let begins = |at: &usize| {
        let bytes = &bytes[*at..];
        bytes.starts_with(&MAGIC_BYTES) && block(bytes).is_some()
    };
    (from..bytes.len()).find(begins).unwrap_or(bytes.len())
}

/// Writes the rows of the runs as a table; what stood between them.
fn write(runs: &[Run<'_>], number: u64, anew: &Path) -> lsm_tree::Result<Vec<Lost>> {
    let scratch = anew.with_extension(WHOLE_ROWS);
    let mut table = Writer::new(anew.to_path_buf(), number, 0)?;
    let (mut lost, mut last): (Vec<Lost>, Option<Slice>) = (Vec::new(), None);
    for (place, run) in runs.iter().enumerate() {
        let rows = rows(run, &scratch)?;
        if place > 0 {
            let before = rows.first().map(|row| row.key.user_key.clone());
            lost.push(Lost { after: last.clone(), before });
        }
        if let Some(row) = rows.last() {
            last = Some(row.key.user_key.clone());
        }
        for row in rows {
            table.write(row)?;
        }
    }
    table.finish()?;
    Ok(lost)
}

/// The rows of a run, by the store's own reader of a file that has nothing else.
fn rows(run: &Run<'_>, scratch: &Path) -> lsm_tree::Result<Vec<InternalValue>> {
    if run.count == 0 {
        return Ok(Vec::new());
    }
    std::fs::write(scratch, run.blocks)?;
    Scanner::new(scratch, run.count, CompressionType::None, 0)?.collect()
}

/// Gives a file of blocks another end where it has none: it is read at the places that the rows have,
/// and its blocks stay where they are. No row is lost by it.
fn blocks(path: &Path, anew: &Path) -> io::Result<Option<Vec<Lost>>> {
    // What the disk does not give, the store asks for as well.
    let Ok(false) = says_what_it_is(path) else { return Ok(None) };
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    let mut file = sfa::Writer::from_writer(File::create(anew)?);
    file.start("data")?;
    file.write_all(&bytes)?;
    file.start("meta")?;
    file.write_all(&about().map_err(io::Error::other)?)?;
    file.finish().map_err(io::Error::other)?;
    Ok(Some(Vec::new()))
}

fn says_what_it_is(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let Some(parts) = parts(&file)? else { return Ok(false) };
    let Some(about) = parts.toc().section(b"meta") else { return Ok(false) };
    let mut bytes = vec![0; usize::try_from(about.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, about.pos())?;
    Ok(bytes.strip_prefix(&ABOUT).and_then(block).is_some())
}

/// What the store wants to know of a file of blocks. It goes by the numbers where it makes room, which
/// it never does here.
fn about() -> lsm_tree::Result<Vec<u8>> {
    let item =
        |name: &str, value: &[u8]| InternalValue::from_components(name, value, 0, ValueType::Value);
    let none = 0_u64.to_le_bytes();
    // In the order of their names. The first says that nothing is compressed.
    let items = [
        item("compression", &[0]),
        item("created_at", &0_u128.to_le_bytes()),
        item("file_size", &none),
        item("id", &none),
        item("item_count", &none),
        item("key#max", &[u8::MAX]),
        item("key#min", &[0]),
        item("uncompressed_size", &none),
    ];
    let block = DataBlock::encode_into_vec(&items, 1, 0.0)?;
    let mut about = ABOUT.to_vec();
    Block::write_into(&mut about, &block, BlockType::Meta, CompressionType::None)?;
    Ok(about)
}

#[cfg(test)]
mod tests {
    use super::{super::block::offset, *};

    /// A table of so many rows of partition 1; its checksum.
    fn filled(path: &Path, count: u64) -> u128 {
        let mut table = Writer::new(path.to_path_buf(), 7, 0).expect("a table");
        for number in 0..count {
            let (key, value) = (key(1, number), number.to_le_bytes());
            let row = InternalValue::from_components(key, value, number, ValueType::Value);
            table.write(row).expect("written");
        }
        table.finish().expect("finished").expect("it has rows").1.into_u128()
    }

    /// The offsets of the rows of a table, which are whole.
    fn offsets(path: &Path) -> Vec<u64> {
        let (parts, bytes) = read(path).expect("a file");
        let runs = runs(part(&parts.expect("its parts"), &bytes, ROWS).expect("its rows"));
        assert_eq!(runs.len(), 1, "all rows are whole");
        let rows = rows(&runs[0], &path.with_extension("scratch")).expect("rows");
        rows.iter().map(|row| offset(&row.key.user_key).expect("a key of ours")).collect()
    }

    #[test]
    fn whole_rows_stay_and_lost_ones_are_told_by_their_neighbours() {
        const COUNT: u64 = 2_000;
        let folder = tempfile::tempdir().expect("a folder");
        let (damaged, anew) = (folder.path().join("7"), folder.path().join(ANEW));
        let checksum = filled(&damaged, COUNT);
        let mended = || table(&damaged, 7, checksum, &anew).expect("looked at");
        assert!(mended().is_none(), "it is whole");
        let (parts, bytes) = read(&damaged).expect("a table");
        let first = block(&bytes).expect("a block").1;
        let end = part(&parts.expect("its parts"), &bytes, ROWS).expect("rows").len();
        assert!(2 * first < end, "there is a second block");
        // The first block, the second one's head and rows; the index, the list of parts, the foot.
        let places = [50, first + 2, first + 50, end + 1, bytes.len() - 45, bytes.len() - 30];
        for place in places {
            let mut changed = bytes.clone();
            changed[place] ^= 0x40;
            std::fs::write(&damaged, &changed).expect("written");
            let lost = mended().expect("it is damaged");
            let left = offsets(&anew);
            std::fs::remove_file(&anew).expect("removed");
            let missing: Vec<u64> = (0..COUNT).filter(|row| !left.contains(row)).collect();
            assert_eq!(lost.is_empty(), place >= end, "byte {place}");
            assert_eq!(lost.is_empty(), missing.is_empty(), "byte {place}");
            for lost in lost {
                let (from, to) = (missing[0], missing[missing.len() - 1]);
                assert_eq!(missing.len() as u64, to - from + 1, "byte {place}: one block");
                let may = |partition, offset| lost.may_hold_before(partition, offset);
                assert!(may(1, COUNT) && !may(2, COUNT), "byte {place}");
                // Those of the first block may have been of partition 0, and stood before any other.
                let is_first = from == 0;
                assert_eq!(may(1, from.saturating_sub(1)), is_first, "byte {place}");
                assert_eq!(may(0, COUNT), is_first, "byte {place}");
            }
        }
        // Cut off in the second block: who knows what followed.
        std::fs::write(&damaged, &bytes[..first + 50]).expect("written");
        let lost = mended().expect("it is damaged");
        assert!(lost.len() == 1 && lost[0].may_hold_before(2, 1));
        assert!(!offsets(&anew).is_empty());
        std::fs::write(&damaged, [0_u8; 5_000]).expect("written");
        assert!(mended().is_none(), "nothing of it is whole");
    }

    #[test]
    fn blocks_stay_where_they_are_and_get_an_end() {
        const BLOCKS: &[u8] = b"blocks without an end";
        let folder = tempfile::tempdir().expect("a folder");
        let (damaged, anew) = (folder.path().join("7"), folder.path().join(ANEW));
        std::fs::write(&damaged, BLOCKS).expect("written");
        let lost = blocks(&damaged, &anew).expect("mended").expect("it is damaged");
        assert!(lost.is_empty());
        assert!(std::fs::read(&anew).expect("a file").starts_with(BLOCKS));
        std::fs::rename(&anew, &damaged).expect("renamed");
        assert!(blocks(&damaged, &anew).expect("looked at").is_none(), "it is whole");
    }
}
