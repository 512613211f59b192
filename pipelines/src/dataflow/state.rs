//! What a dataflow has gathered, as bytes that are written beside the tables.
//!
//! ```text
//! "avis state 1\n"   header length: u32, little endian   header: JSON
//! Arrow IPC streams, as long as the header says          XXH3 of all before: u64, little endian
//! ```

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use datafusion::common::{Result as EngineResult, exec_datafusion_err, exec_err};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::operator::Parts;

const MAGIC: &[u8] = b"avis state 1\n";

/// What a dataflow has gathered.
#[derive(Debug, Default)]
pub struct State {
    /// Of each source, how far each partition has told time, in nanoseconds.
    pub marks: Vec<Vec<Option<i64>>>,
    /// What each node holds.
    pub nodes: Vec<NodeState>,
}

/// What a node holds.
#[derive(Debug, Default)]
pub struct NodeState {
    /// How far time has come on each of its inputs.
    pub inputs: Vec<Option<i64>>,
    /// Up to which instant it has let time come.
    pub watermark: Option<i64>,
    /// Its rows.
    pub parts: Parts,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Tells of which query this is the state.
    query: u64,
    marks: Vec<Vec<Option<i64>>>,
    nodes: Vec<NodeHeader>,
}

#[derive(Serialize, Deserialize)]
struct NodeHeader {
    inputs: Vec<Option<i64>>,
    watermark: Option<i64>,
    /// The parts' names and how many bytes each has.
    parts: Vec<(String, usize)>,
}

impl State {
    /// The state as bytes, for a query that is told by a number.
    ///
    /// # Errors
    /// Where rows cannot be written.
    pub fn encode(&self, query: u64) -> EngineResult<Vec<u8>> {
        let (mut nodes, mut body) = (Vec::new(), Vec::new());
        for node in &self.nodes {
            let mut parts = Vec::new();
            for (name, rows) in &node.parts {
                let before = body.len();
                let mut writer = StreamWriter::try_new(&mut body, &rows.schema())?;
                writer.write(rows)?;
                writer.finish()?;
                parts.push((name.clone(), body.len() - before));
            }
            let (inputs, watermark) = (node.inputs.clone(), node.watermark);
            nodes.push(NodeHeader { inputs, watermark, parts });
        }
        let header = Header { query, marks: self.marks.clone(), nodes };
        let header = serde_json::to_vec(&header);
        let header = header.map_err(|error| exec_datafusion_err!("the state: {error}"))?;
        let length = u32::try_from(header.len());
        let length = length.map_err(|_| exec_datafusion_err!("the state has too many parts"))?;
        let mut bytes = [MAGIC, &length.to_le_bytes(), &header, &body].concat();
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// The state of a query from its bytes.
    ///
    /// # Errors
    /// Where they are damaged, or of another query.
    pub fn decode(bytes: &[u8], query: u64) -> EngineResult<Self> {
        let damaged = || exec_datafusion_err!("the kept state is damaged");
        let (bytes, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if xxh3_64(bytes) != u64::from_le_bytes(*sum) {
            return Err(damaged());
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (header, mut body) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| damaged())?;
        if header.query != query {
            return exec_err!("the kept state is of another query than the file now has");
        }
        let mut nodes = Vec::new();
        for node in header.nodes {
            let mut parts = Vec::new();
            for (name, length) in node.parts {
                let (part, rest) = body.split_at_checked(length).ok_or_else(damaged)?;
                parts.push((name, rows(part)?.ok_or_else(damaged)?));
                body = rest;
            }
            nodes.push(NodeState { inputs: node.inputs, watermark: node.watermark, parts });
        }
        Ok(Self { marks: header.marks, nodes })
    }
}

fn rows(bytes: &[u8]) -> EngineResult<Option<RecordBatch>> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    Ok(reader.next().transpose()?)
}

/// A part's name, which is a word and a number.
///
/// # Errors
/// Where it is not.
pub fn number(name: &str) -> EngineResult<(&str, i64)> {
    let parts = name.split_once(' ').and_then(|(word, at)| Some((word, at.parse().ok()?)));
    parts.map_or_else(|| other(name), Ok)
}

/// The error for a part that an operator does not have.
///
/// # Errors
/// Always.
pub fn other<T>(name: &str) -> EngineResult<T> {
    exec_err!("the kept state has {name:?}, which is of another query")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn state() -> State {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_from_iter([("a", column)]).expect("rows");
        let parts = vec![("open 0".to_owned(), rows)];
        let node = NodeState { inputs: vec![None, Some(7)], watermark: Some(3), parts };
        State { marks: vec![vec![Some(5), None]], nodes: vec![node] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = state().encode(9).expect("bytes");
        let read = State::decode(&bytes, 9).expect("a state");
        assert_eq!(read.marks, state().marks);
        assert_eq!(read.nodes[0].inputs, [None, Some(7)]);
        assert_eq!(read.nodes[0].watermark, Some(3));
        assert_eq!(read.nodes[0].parts, state().nodes[0].parts);
    }

    #[test]
    fn a_changed_byte_and_another_query_are_refused() {
        let bytes = state().encode(9).expect("bytes");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let error = State::decode(&damaged, 9).expect_err("refused").to_string();
            assert!(error.contains("damaged"), "{at}: {error}");
        }
        let error = State::decode(&bytes, 8).expect_err("refused").to_string();
        assert!(error.contains("another query"), "{error}");
    }
}
