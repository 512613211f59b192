//! Lines of a file: plain, gzipped or zstandard, bounded, in constant memory.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use ingest::dead_letter::Reason;

use crate::{connector::Refusal, error::ConnectorError};

/// The longest line that is taken, in bytes.
pub const LONGEST_LINE: usize = 1 << 20;
/// How much of a longer line is kept for its dead letter.
const KEPT: usize = 1_024;

/// A line as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its bytes without the line's end; of a line that is too long the first ones.
    pub bytes: Vec<u8>,
    /// How long it was in all.
    pub length: u64,
}

impl Line {
    /// Whether it is longer than [`LONGEST_LINE`].
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.length > LONGEST_LINE as u64
    }

    /// Why it is refused, where it is too long.
    pub(crate) fn too_long(&self) -> Option<Refusal> {
        let detail = || format!("{} bytes; the most is {LONGEST_LINE}", self.length);
        self.is_too_long().then(|| Refusal::new(Reason::LineTooLong, detail()))
    }
}

/// Reads lines one by one; empty ones are passed over.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
}

/// Opens a file by its ending: `.gz`, `.zst`, else plain; `-` is standard input.
///
/// # Errors
/// Where it cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>, ConnectorError> {
    let read = |source| ConnectorError::Read { path: path.to_path_buf(), source };
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(path).map_err(read)?;
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(gunzip(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file).map_err(read)?),
        _ => Box::new(file),
    })
}

/// The plain form of gzipped bytes.
pub fn gunzip(reader: impl Read + Send + 'static) -> impl Read + Send {
    flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, reader))
}

impl<R: Read> Lines<R> {
    /// The lines of `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, reader), number: 0 }
    }

    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut length = 0_u64;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            length += part.len() as u64;
            if length <= LONGEST_LINE as u64 {
                bytes.extend_from_slice(part);
            } else {
                bytes.truncate(KEPT);
                bytes.shrink_to(KEPT);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                self.number += 1;
                return Ok(Some(self.line(bytes, length)));
            }
        }
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(self.line(bytes, length)))
    }

    fn line(&self, mut bytes: Vec<u8>, length: u64) -> Line {
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Line { number: self.number, bytes, length }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line() {
                Ok(Some(line)) if line.bytes.iter().all(u8::is_ascii_whitespace) => {}
                found => return found.transpose(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_empty_ones_passed_over() {
        let lines: Vec<_> = Lines::new("a\r\n\n b\nlast".as_bytes()).map(Result::unwrap).collect();
        let found: Vec<_> =
            lines.iter().map(|line| (line.number, String::from_utf8_lossy(&line.bytes))).collect();
        assert_eq!(found, [(1, "a".into()), (3, " b".into()), (4, "last".into())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_read_in_constant_memory() {
        let long = std::io::repeat(b'x').take(10 << 20).chain("\nnext\n".as_bytes());
        let lines: Vec<_> = Lines::new(long).map(Result::unwrap).collect();
        assert!(lines[0].is_too_long() && lines[0].length == 10 << 20);
        assert!(lines[0].bytes.capacity() <= 2 * KEPT);
        assert_eq!((lines[1].number, lines[1].bytes.as_slice()), (2, &b"next"[..]));
    }
}
