//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks`,
//! or with the names of some of them behind it.
//!
//! These machines are noisy, so what counts is the ratio.

mod append;
mod case;
mod counters;
mod decide;
mod fluvio;
mod freshness;
mod generate;
mod lake;
mod landing;
mod nation;
mod questions;
mod reads;
mod registers;
mod sale;
mod sales;
mod shared;
mod till;
mod times;
mod windows;

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The allocator that is shipped, so that memory is measured as it will be.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    say("| measured | rate per second | beside it | rate per second | ratio |".into());
    say("|---|---:|---|---:|---:|".into());
    if wanted("append") {
        runtime.block_on(append::measure())?;
    }
    if wanted("reads") {
        runtime.block_on(reads::measure())?;
    }
    if wanted("fluvio") {
        runtime.block_on(fluvio::measure())?;
    }
    if wanted("decide") {
        decide::measure()?;
    }
    if wanted("sale") {
        runtime.block_on(sale::measure())?;
    }
    if wanted("redis") {
        runtime.block_on(shared::measure())?;
    }
    if wanted("counters") {
        counters::measure()?;
    }
    if wanted("registers") {
        registers::measure()?;
    }
    if wanted("landing") {
        runtime.block_on(landing::measure())?;
    }
    if wanted("windows") {
        runtime.block_on(windows::measure())?;
    }
    if wanted("freshness") {
        runtime.block_on(freshness::measure())?;
    }
    if wanted("questions") {
        runtime.block_on(questions::measure())?;
    }
    Ok(keep(&only)?)
}

/// What was said so far.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says a line, and keeps it for the results file.
fn say(line: String) {
    println!("{line}");
    SAID.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// One row of the table of ratios.
fn row(measured: &str, rate: f64, beside: &str, limit: f64) {
    say(format!("| {measured} | {rate:.0} | {beside} | {limit:.0} | {:.2} |", rate / limit));
}

/// Writes what was said to `results/<day>-<what>.md`, with commit, machine and command.
fn keep(only: &[String]) -> std::io::Result<()> {
    let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = git.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    let what = if only.is_empty() { "all".to_owned() } else { only.join("-") };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let day = chrono::Utc::now().date_naive();
    let head = format!(
        "# Benchmarks of {day}: {what}\n\nCommit {}, {cores} cores, release profile; \
         `cargo run --release -p benchmarks -- {}`. Clients and servers share the machine, \
         which is noisy: the ratios count.\n\n",
        commit.unwrap_or_default(),
        only.join(" "),
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::create_dir_all(&folder)?;
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    std::fs::write(folder.join(format!("{day}-{what}.md")), format!("{head}{said}\n"))
}
