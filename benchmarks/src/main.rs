//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks -- all`,
//! or the names of some of them; `-- compare A B` puts two results beside each other.
//!
//! These machines are noisy, so what counts is the ratio. What is told is kept in `results/` after each
//! measure; one that fails or is skipped is a line of the table, and the others go on. Peers in Python
//! are prepared by `benchmarks/peers/prepare.sh`; `load` wants the whole workspace built.

mod answers;
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
mod long_table;
mod nation;
mod national;
mod nexmark;
mod outcome;
mod peers;
mod questions;
mod reads;
mod registers;
mod results;
mod sale;
mod sales;
mod scaling;
mod shared;
mod simulate;
mod till;
mod times;
mod windows;

use std::{path::Path, time::Duration};

use tokio::runtime::{Builder, Runtime};

use outcome::Outcome;
use results::{Results, row, say};

/// The allocator that is shipped, so that memory is measured as it will be.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is measured, in this order.
const MEASURES: [&str; 19] = [
    "append",
    "reads",
    "fluvio",
    "decide",
    "sale",
    "load",
    "load-apart",
    "redis",
    "simulate",
    "counters",
    "registers",
    "national",
    "landing",
    "long-table",
    "windows",
    "nexmark",
    "freshness",
    "questions",
    "scaling",
];
/// How long what a measure left running may take to end.
const LEFT_RUNNING: Duration = Duration::from_secs(10);
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
    if let [word, work] = arguments.as_slice()
        && word == scaling::WORK
    {
        println!("{}", runtime()?.block_on(scaling::rate(work))?);
        return Ok(());
    }
    let all = arguments.is_empty() || arguments == ["all"];
    if let Some(unknown) = arguments.iter().find(|name| !all && !MEASURES.contains(&name.as_str()))
    {
        let known = MEASURES.join(", ");
        return Err(format!("there is no measure {unknown}; known are {known}\n{USAGE}").into());
    }
    let results = Results::of(if all { &[] } else { &arguments });
    say("| measured | rate per second | beside it | rate per second | ratio |".into());
    say("|---|---:|---|---:|---:|".into());
    let mut failed = Vec::new();
    for name in MEASURES.into_iter().filter(|name| all || is_asked_for(name, &arguments)) {
        let outcome = attempt(name)?;
        if let Some(line) = outcome.line(name) {
            say(line);
        }
        if matches!(outcome, Outcome::Failed(_)) {
            failed.push(name);
        }
        // After each: a later one may end the whole process.
        results.keep()?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// Whoever asks how things scale is told of data and history, too.
fn is_asked_for(name: &str, arguments: &[String]) -> bool {
    let asked = |name: &str| arguments.iter().any(|of| of == name);
    asked(name) || (asked("scaling") && scaling::GROWING.contains(&name))
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Makes a measure on a runtime of its own, so that nothing it leaves running disturbs the next.
fn attempt(name: &str) -> std::io::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = Outcome::of(|| measure(name, &runtime));
    runtime.shutdown_timeout(LEFT_RUNNING);
    Ok(outcome)
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
        "simulate" => runtime.block_on(simulate::measure())?,
        "counters" => counters::measure()?,
        "registers" => registers::measure()?,
        "national" => runtime.block_on(national::measure())?,
        "landing" => runtime.block_on(landing::measure())?,
        "long-table" => runtime.block_on(long_table::measure())?,
        "windows" => runtime.block_on(windows::measure())?,
        "nexmark" => runtime.block_on(nexmark::measure())?,
        "freshness" => runtime.block_on(freshness::measure())?,
        "questions" => runtime.block_on(questions::measure())?,
        _ => scaling::measure()?,
    }
    Ok(())
}
