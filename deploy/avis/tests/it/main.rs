//! The binary from outside, as its users run it.

mod apart;
mod backup;
mod bad_input;
mod canary;
mod centre;
mod counters;
mod demo;
mod drift;
mod finance;
mod grantor;
mod issuer;
mod kill;
mod lists;
mod merchant;
mod operators;
mod own;
mod people;
mod recipient;
mod redis;
mod roles;
mod server;
mod simulation;
mod talk;
mod traces;
mod up;
mod watch;
mod watchers;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// How much more than in CI the heavy tests do.
fn scale() -> u64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

fn avis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avis"));
    command.env_remove("AVIS_DATA").env_remove("AVIS_CONFIG").env_remove("AVIS_TOKEN");
    command
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/data").join(name)
}

/// The lines of a packaged file.
fn packaged(name: &str) -> Vec<String> {
    let file = std::fs::File::open(data(name)).expect(name);
    BufReader::new(GzDecoder::new(file)).lines().map(|line| line.expect("text")).collect()
}

fn packaged_baskets() -> Vec<String> {
    packaged("baskets.ndjson.gz")
}

fn succeeded(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The rows of a query as CSV, without the header.
fn sql(folder: &Path, query: &str) -> Vec<String> {
    let output = avis().args(["sql", query, "--format", "csv", "--data"]).arg(folder).output();
    let text = succeeded(&output.expect("run"));
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The published answer.
fn expected() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(data("expected.json")).expect("the answer");
    let expected: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    assert!(expected.len() >= 7, "the published answer has lost its keys");
    expected
}

/// Compares a demo's summary with the published answer.
fn check_summary(summary: &str) {
    let summary: Value =
        serde_json::from_str(summary.lines().last().expect("a line")).expect("one JSON object");
    for (key, value) in expected() {
        assert_eq!(summary[&key], value, "{key}");
    }
    assert_eq!(summary["books_balance"], Value::Bool(true));
}

/// Every benefit line, as it is published.
const LINES: &str = "SELECT a.receipt_number, b.line, b.instruction_id, b.instruction_version, \
    CAST(b.amount * 100 AS BIGINT), CAST(b.grantor_amount * 100 AS BIGINT), b.units \
    FROM benefit_lines b JOIN authorisations a ON a.authorisation_id = b.authorisation_id";

/// Compares every landed benefit line with the published ones.
fn check_lines(folder: &Path) {
    are_published(sql(folder, LINES));
}

/// Compares the rows of [`LINES`] with the published ones.
fn are_published(mut landed: Vec<String>) {
    let expected = packaged("expected-lines.ndjson.gz").into_iter().map(|line| {
        let row: Vec<Value> = serde_json::from_str(&line).expect("JSON");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        row.iter().map(text).collect::<Vec<_>>().join(",")
    });
    let mut expected: Vec<String> = expected.collect();
    expected.sort_unstable();
    landed.sort_unstable();
    assert_eq!(landed.len(), expected.len());
    if let Some((landed, expected)) = landed.iter().zip(&expected).find(|(l, e)| l != e) {
        panic!("landed {landed}, published {expected}");
    }
}
