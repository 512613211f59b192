//! How records lie in the store: many in one row, a block, under its partition and first offset.
//!
//! A store's cost is by the row and a disk's by the byte, so what one sync holds of a partition lies
//! in few rows. Blocks cover a partition without a gap: each begins where the one before it ends.
//! One whose records are not all there any more, or never were, says at which offsets they stand.
//!
//! A value is an eight-byte checksum of key and rest, then a header of fixed width (little-endian) and
//! the records, each behind its length; of a sparse block their distances from its first offset follow.
//! A row of before blocks is one record in wire version 1; it is read as a block of one.

use std::{cell::RefCell, io};

use prost::encoding::{decode_varint, encode_varint};
use zstd::bulk::{Compressor, Decompressor};

use crate::wire;

/// Length of a key.
pub(super) const KEY_BYTES: usize = 12;
/// A block is closed when it has so many bytes: one record is found in it without much reading.
const BLOCK_BYTES: usize = 64 << 10;
const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = 22;
/// No record of before blocks begins with it.
const BLOCK: u8 = 2;
const COMPRESSED: u8 = 1;
const SPARSE: u8 = 2;
/// Smaller blocks are of few records, which somebody waits for.
const COMPRESSED_FROM: usize = 16 << 10;
const COMPRESSION_LEVEL: i32 = 1;
/// Offsets that a block can cover: it counts them in 32 bits.
const MOST_SPAN: u64 = u32::MAX as u64;
/// What no block has when plain: a damaged length must not make us ask for memory.
const MOST_PLAIN_BYTES: usize = 1 << 30;

/// Keys sort by partition, then by offset.
pub(super) fn key(partition: u32, offset: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a key.
pub(super) fn offset(key: &[u8]) -> Option<u64> {
    key.get(4..KEY_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Builder {
    first: u64,
    end: u64,
    /// How far each record stands from the first offset.
    distances: Vec<u32>,
    /// The value as it will be, its front not yet written.
    value: Vec<u8>,
    latest: i64,
}

impl Builder {
    /// A block from `first` on; `latest` is the newest record time of all before it.
    pub(super) fn new(first: u64, latest: i64) -> Self {
        let value = vec![0; CHECKSUM_BYTES + HEADER_BYTES];
        Self { first, end: first, distances: Vec::new(), value, latest }
    }

    /// Puts a record at an offset not before the block's end; whether it had room.
    pub(super) fn push(&mut self, offset: u64, recorded_at: i64, record: &[u8]) -> bool {
        // A block counts in 32 bits how far it goes, which is one more.
        let distance = u32::try_from(offset - self.first).ok().filter(|far| *far < u32::MAX);
        let Some(distance) = distance else { return false };
        if !self.distances.is_empty() && self.value.len() + record.len() > BLOCK_BYTES {
            return false;
        }
        self.distances.push(distance);
        encode_varint(record.len() as u64, &mut self.value);
        self.value.extend_from_slice(record);
        self.latest = self.latest.max(recorded_at);
        self.end = offset + 1;
        true
    }

    /// Where the next block begins.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// The newest record time up to the block's end.
    pub(super) const fn latest(&self) -> i64 {
        self.latest
    }

    /// Whether it has so much that it will be compressed.
    pub(super) const fn is_large(&self) -> bool {
        self.value.len() >= CHECKSUM_BYTES + HEADER_BYTES + COMPRESSED_FROM
    }

    /// Notes the newest record time of what it covers.
    pub(super) fn note(&mut self, latest: i64) {
        self.latest = self.latest.max(latest);
    }

    /// Covers offsets up to `end`, which may have no records any more; whether it can.
    pub(super) fn cover(&mut self, end: u64) -> bool {
        let can = end.saturating_sub(self.first) <= MOST_SPAN;
        if can {
            self.end = self.end.max(end);
        }
        can
    }

    /// The block after this one, which covers the way to `offset` as far as it can.
    pub(super) fn next(&mut self, offset: u64) -> Self {
        self.end = self.end.max(offset.min(self.first + MOST_SPAN));
        Self::new(self.end, self.latest)
    }

    /// Key and value as they are put.
    pub(super) fn finish(mut self, partition: u32) -> ([u8; KEY_BYTES], Vec<u8>) {
        let (count, span) = (self.distances.len(), self.end - self.first);
        let mut flags = 0;
        if span != count as u64 {
            flags |= SPARSE;
            for distance in &self.distances {
                self.value.extend_from_slice(&distance.to_le_bytes());
            }
        }
        let plain = self.value.len() - CHECKSUM_BYTES - HEADER_BYTES;
        if plain >= COMPRESSED_FROM {
            flags |= self.compress();
        }
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let header = &mut self.value[CHECKSUM_BYTES..CHECKSUM_BYTES + HEADER_BYTES];
        header[..2].copy_from_slice(&[BLOCK, flags]);
        header[2..6].copy_from_slice(&narrow(span));
        header[6..10].copy_from_slice(&narrow(count as u64));
        header[10..18].copy_from_slice(&self.latest.to_le_bytes());
        header[18..22].copy_from_slice(&narrow(plain as u64));
        let key = key(partition, self.first);
        let checksum = checksum(&key, &self.value[CHECKSUM_BYTES..]);
        self.value[..CHECKSUM_BYTES].copy_from_slice(&checksum);
        (key, self.value)
    }

    /// Compresses the records where that makes them smaller; the flag that says so.
    fn compress(&mut self) -> u8 {
        let front = CHECKSUM_BYTES + HEADER_BYTES;
        match compressed(&self.value[front..]) {
            Ok(smaller) if smaller.len() < self.value.len() - front => {
                self.value.truncate(front);
                self.value.extend_from_slice(&smaller);
                COMPRESSED
            }
            _ => 0,
        }
    }
}

/// Compresses by a compressor of the thread's own: one takes as long to make as a small block to
/// compress.
fn compressed(plain: &[u8]) -> io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(COMPRESSION_LEVEL)?),
        };
        compressor.compress(plain)
    })
}

/// Decompresses one block after the other, in the same memory and by the thread's own decompressor.
#[derive(Default)]
pub(super) struct Unpacker {
    bytes: Vec<u8>,
}

impl Unpacker {
    fn unpack(&mut self, packed: &[u8], plain: usize) -> io::Result<&[u8]> {
        thread_local! {
            static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
                const { RefCell::new(None) };
        }
        self.bytes.clear();
        self.bytes.reserve(plain);
        DECOMPRESSOR.with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                none => none.insert(Decompressor::new()?),
            };
            decompressor.decompress_to_buffer(packed, &mut self.bytes)
        })?;
        Ok(&self.bytes)
    }
}

/// A block as it is read.
#[derive(Debug)]
pub(super) struct Block<'a> {
    first: u64,
    span: u64,
    count: usize,
    flags: u8,
    latest: Option<i64>,
    plain: usize,
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block of a row; why it is none, where something changed.
    pub(super) fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, &'static str> {
        let first = offset(key).ok_or("the key is not one of ours")?;
        let bytes = unchecked(key, value).ok_or("the checksum differs")?;
        let ends = |span: u64| first.checked_add(span).ok_or("the block has no end");
        let Some((header, body)) =
            bytes.split_first_chunk::<HEADER_BYTES>().filter(|(header, _)| header[0] == BLOCK)
        else {
            let plain = bytes.len();
            ends(1)?;
            return Ok(Self {
                first,
                span: 1,
                count: 1,
                flags: 0,
                latest: None,
                plain,
                body: bytes,
            });
        };
        let four = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let mut latest = [0; 8];
        latest.copy_from_slice(&header[10..18]);
        let (span, flags) = (u64::from(four(2)), header[1]);
        ends(span)?;
        if flags & SPARSE == 0 && four(2) != four(6) {
            return Err("the block has not a record at every offset");
        }
        Ok(Self {
            first,
            span,
            count: usize::try_from(four(6)).map_err(|_| "the block has too many records")?,
            flags,
            latest: Some(i64::from_le_bytes(latest)),
            plain: usize::try_from(four(18)).map_err(|_| "the block is too long")?,
            body,
        })
    }

    /// The block's first offset.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Where the next block begins.
    pub(super) const fn end(&self) -> u64 {
        self.first + self.span
    }

    /// The newest record time of the partition up to the block's end, in microseconds since 1970.
    pub(super) fn latest(&self) -> i64 {
        let of_record = || wire::decode(self.body).map(|record| record.recorded_at);
        self.latest.unwrap_or_else(|| of_record().map_or(i64::MIN, |at| at.timestamp_micros()))
    }

    /// Its records with their offsets, in order.
    pub(super) fn records<'b>(
        &self,
        unpacker: &'b mut Unpacker,
    ) -> Result<Records<'b>, &'static str>
    where
        'a: 'b,
    {
        if self.latest.is_none() {
            let (bytes, whole) = (self.body, true);
            let (first, end) = (self.first, self.end());
            return Ok(Records { first, end, at: 0, left: 1, bytes, whole, distances: 0 });
        }
        let bytes = match self.flags & COMPRESSED {
            0 => self.body,
            _ if self.plain > MOST_PLAIN_BYTES => return Err("the block is too long"),
            _ => unpacker
                .unpack(self.body, self.plain)
                .map_err(|_| "the block does not decompress")?,
        };
        let sparse = self.flags & SPARSE != 0;
        let length = bytes.len();
        let distances = if sparse { length.checked_sub(4 * self.count) } else { Some(length) };
        let distances = distances.ok_or("the block is too short")?;
        let (first, end, left, whole) = (self.first, self.end(), self.count, false);
        Ok(Records { first, end, at: 0, left, bytes, whole, distances })
    }
}

/// The records of a block.
#[derive(Debug)]
pub(super) struct Records<'a> {
    first: u64,
    /// Before it all of them stand.
    end: u64,
    /// Where the next record's length stands.
    at: usize,
    left: usize,
    bytes: &'a [u8],
    /// Whether all of it is one record, without a length.
    whole: bool,
    /// Where the distances of a sparse block begin; of another its end.
    distances: usize,
}

impl<'a> Records<'a> {
    /// The next record's offset and bytes; none at the block's end.
    pub(super) fn next(&mut self) -> Option<Result<(u64, &'a [u8]), &'static str>> {
        self.left = self.left.checked_sub(1)?;
        let bytes = self.bytes;
        if self.whole {
            return Some(Ok((self.first, bytes)));
        }
        let (mut records, distances) = bytes.split_at(self.distances);
        let offset = match distances.is_empty() {
            true => self.first,
            false => {
                let place = distances.len() - 4 * (self.left + 1);
                let distance = distances[place..].first_chunk().copied().unwrap_or_default();
                let distance = u64::from(u32::from_le_bytes(distance));
                if distance >= self.end - self.first {
                    return Some(Err("a record stands outside its block"));
                }
                self.first + distance
            }
        };
        records = records.get(self.at..).unwrap_or_default();
        let before = records.len();
        let length = decode_varint(&mut records).ok().and_then(|length| length.try_into().ok());
        let start = self.at + before - records.len();
        let Some(record) = length.and_then(|length: usize| records.get(..length)) else {
            return Some(Err("a record is cut off"));
        };
        self.at = start + record.len();
        if distances.is_empty() {
            self.first += 1;
        }
        Some(Ok((offset, &bytes[start..start + record.len()])))
    }
}

/// What stands behind the checksum, unless something changed.
pub(super) fn unchecked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (found, bytes) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*found == checksum(key, bytes)).then_some(bytes)
}

/// The first bytes of a hash of key and value: a block that moved or changed is noticed.
fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(block: &Block<'_>) -> Vec<(u64, Vec<u8>)> {
        let mut unpacker = Unpacker::default();
        let mut records = block.records(&mut unpacker).expect("records");
        let mut all = Vec::new();
        while let Some(record) = records.next() {
            let (offset, bytes) = record.expect("a record");
            all.push((offset, bytes.to_vec()));
        }
        all
    }

    proptest! {
        #[test]
        fn records_come_back_at_their_offsets(
            first in 0_u64..1_000_000,
            records in prop::collection::vec(
                (0_u64..3, prop::collection::vec(any::<u8>(), 0..900)),
                1..60,
            ),
            covered in 0_u64..5,
        ) {
            let (mut builder, mut offset, mut put) = (Builder::new(first, 7), first, Vec::new());
            for (gap, bytes) in records {
                if !builder.push(offset + gap, 5, &bytes) {
                    break;
                }
                put.push((offset + gap, bytes));
                offset = builder.end();
            }
            prop_assert!(builder.cover(offset + covered));
            let (key, value) = builder.finish(3);
            let block = Block::parse(&key, &value).expect("a block");
            prop_assert_eq!((block.first(), block.end()), (first, offset + covered));
            prop_assert_eq!(block.latest(), 7);
            prop_assert_eq!(all(&block), put);
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let mut builder = Builder::new(9, 0);
        assert!(builder.push(9, 1, b"one") && builder.push(12, 2, b"three"));
        let (key, value) = builder.finish(0);
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert!(Block::parse(&key, &changed).is_err(), "byte {at}");
        }
        assert!(Block::parse(&super::key(0, 8), &value).is_err(), "another place");
    }
}
