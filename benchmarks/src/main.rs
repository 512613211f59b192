//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks -- all`,
//! or the names of some of them; `-- compare A B` puts two results beside each other.
//!
//! These machines are noisy, so what counts is the ratio.

mod append;
mod case;
mod compare;
mod counters;
mod decide;
mod fluvio;
mod freshness;
mod generate;
mod lake;
mod landing;
mod load;
mod nation;
mod national;
mod nexmark;
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

use tokio::runtime::Runtime;

/// The allocator that is shipped, so that memory is measured as it will be.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is measured, in this order.
const MEASURES: [&str; 16] = [
    "append",
    "reads",
    "fluvio",
    "decide",
    "sale",
    "load",
    "load-apart",
    "redis",
    "counters",
    "registers",
    "national",
    "landing",
    "windows",
    "nexmark",
    "freshness",
    "questions",
];
const USAGE: &str = "cargo run --release -p benchmarks -- all
cargo run --release -p benchmarks -- NAME…
cargo run --release -p benchmarks -- compare BEFORE.md AFTER.md";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [word, before, after] = arguments.as_slice()
        && word == "compare"
    {
        print!("{}", compare::table(Path::new(before), Path::new(after))?);
        return Ok(());
    }
    let all = arguments.is_empty() || arguments == ["all"];
    if let Some(unknown) = arguments.iter().find(|name| !all && !MEASURES.contains(&name.as_str()))
    {
        let known = MEASURES.join(", ");
        return Err(format!("there is no measure {unknown}; known are {known}\n{USAGE}").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    say("| measured | rate per second | beside it | rate per second | ratio |".into());
    say("|---|---:|---|---:|---:|".into());
    for name in MEASURES.into_iter().filter(|name| all || arguments.iter().any(|of| of == name)) {
        measure(name, &runtime)?;
    }
    Ok(keep(if all { &[] } else { &arguments })?)
}

fn measure(name: &str, runtime: &Runtime) -> Result<(), Box<dyn std::error::Error>> {
    match name {
        "append" => runtime.block_on(append::measure())?,
        "reads" => runtime.block_on(reads::measure())?,
        "fluvio" => runtime.block_on(fluvio::measure())?,
        "decide" => decide::measure()?,
        "sale" => runtime.block_on(sale::measure())?,
        "load" => runtime.block_on(load::measure())?,
        "load-apart" => runtime.block_on(load::measure_apart())?,
        "redis" => runtime.block_on(shared::measure())?,
        "counters" => counters::measure()?,
        "registers" => registers::measure()?,
        "national" => runtime.block_on(national::measure())?,
        "landing" => runtime.block_on(landing::measure())?,
        "windows" => runtime.block_on(windows::measure())?,
        "nexmark" => runtime.block_on(nexmark::measure())?,
        "freshness" => runtime.block_on(freshness::measure())?,
        _ => runtime.block_on(questions::measure())?,
    }
    Ok(())
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
