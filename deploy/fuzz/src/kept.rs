//! Kept inputs: those that the tree has anyway, and those that once failed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use connectors::lines;

/// Lines taken of a file: enough to have each field.
const LINES: usize = 64;

/// A path of the tree.
#[must_use]
pub fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Where the inputs of a parser that once failed are kept, beside those that stand nowhere else.
#[must_use]
pub fn folder(parser: &str) -> PathBuf {
    tree("deploy/fuzz/corpus").join(parser)
}

/// The kept inputs of a parser.
#[must_use]
pub fn of(parser: &str) -> Vec<Vec<u8>> {
    files(&folder(parser), "")
}

/// Files of a folder whose names end so, in their order.
#[must_use]
pub fn files(folder: &Path, end: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file() && path.to_string_lossy().ends_with(end));
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a kept input")).collect()
}

/// Lines of a file of the demonstration: the first, and some from all over it.
#[must_use]
pub fn lines_of(name: &str) -> Vec<Vec<u8>> {
    let path = tree("deploy/avis/demo/data").join(name);
    let file = BufReader::new(lines::open(&path).expect("a file of the demonstration"));
    let all: Vec<_> = file.split(b'\n').map(|line| line.expect("a line")).collect();
    let step = all.len().div_ceil(LINES).max(1);
    all.into_iter().step_by(step).collect()
}
