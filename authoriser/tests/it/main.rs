//! The authoriser against the published answers, and its properties.

mod book;
mod cache;
mod cases;
mod life;
mod moves;
mod properties;
mod races;
mod random;
mod recipients;
mod redis;
mod rules;
mod simulation;
mod world;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// Every line of a gzipped NDJSON file of the project.
fn lines(path: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    let file =
        std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.expect("text")).expect("JSON")).collect()
}

/// How much more than in CI the heavy tests do.
fn scale() -> u32 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
