//! Runs seeds: one with its trace, or many for some time.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use simulation::{
    faults::Planted,
    run::{Outcome, run},
    world::World,
};

/// Runs the whole chain under faults, in virtual time, from seeds.
#[derive(Parser)]
#[command(name = "simulation")]
struct Arguments {
    /// Replays one seed and tells what happens in it
    #[arg(long, conflicts_with_all = ["seeds", "budget"])]
    seed: Option<u64>,
    /// Runs the seeds from A up to before B
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Runs seeds for so many seconds
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Seeds that run at once, each on a thread
    #[arg(long, default_value_t = threads())]
    threads: usize,
    /// Puts a bug in, which is to be found
    #[arg(long, value_enum)]
    planted: Option<Planted>,
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with .. between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("a folder for keys");
    let vault = World::vault(folder.path());
    if let Some(seed) = arguments.seed {
        let outcome = run(seed, arguments.planted, &vault);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        return tell(&[outcome]);
    }
    let last = arguments.budget.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let seeds = arguments.seeds.unwrap_or(match last {
        Some(_) => 0..u64::MAX,
        None => 0..100,
    });
    let (next, begun) = (AtomicU64::new(seeds.start), Instant::now());
    let is_over = || last.is_some_and(|last| Instant::now() >= last);
    let work = || {
        let mut failed = Vec::new();
        while !is_over() {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds.end {
                break;
            }
            let outcome = run(seed, arguments.planted, &vault);
            if !outcome.faults.is_empty() {
                println!("seed {seed}: {}", outcome.faults[0]);
                failed.push(outcome);
            }
        }
        failed
    };
    let failed: Vec<Outcome> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    let ran = next.load(Ordering::SeqCst).min(seeds.end) - seeds.start;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{ran} seeds in {seconds:.1} s, {:.1} a second", ran as f64 / seconds.max(0.001));
    tell(&failed)
}

/// Says which seeds failed and how to see one again.
fn tell(outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|of| !of.faults.is_empty()).collect();
    for outcome in &failed {
        println!("seed {} failed; see it again with --seed {0}:", outcome.seed);
        outcome.faults.iter().for_each(|fault| println!("  {fault}"));
    }
    if let ([], [only]) = (failed.as_slice(), outcomes) {
        let counts = only.counts;
        println!(
            "all holds: {} records, {} answers, {} rows, {} deaths",
            counts.records, counts.answers, counts.rows, counts.deaths
        );
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
