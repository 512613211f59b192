//! Nexmark's q0, q1, q2, q5, q7 and q8 over files of its events, beside Apache Flink over the same
//! files. That both answer the same rows is part of it: where they do not there is no ratio.
//!
//! Both run every query several times, and the fastest counts. Ours is from a query's text to the
//! last line of its answer; Flink's from when its cluster has the job until that has ended, in a
//! virtual machine that has run the same job before: neither planning nor any start counts. Each
//! reads a file by one thread; what follows has all cores in Flink, and the same one here.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use pipelines::files;

use crate::{answers, peers};

mod events;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Events of the three files; `AVIS_BENCH_ROWS` says otherwise.
const EVENTS: u64 = 1_000_000;
/// How often each side runs a query.
const ROUNDS: u32 = 3;
const TABLES: &str = include_str!("nexmark/tables.sql");
const QUERIES: [(&str, &str, &str); 6] = [
    ("q0", "pass through", include_str!("nexmark/q0.sql")),
    ("q1", "currency conversion", include_str!("nexmark/q1.sql")),
    ("q2", "selection", include_str!("nexmark/q2.sql")),
    ("q5", "hot items", include_str!("nexmark/q5.sql")),
    ("q7", "highest bid", include_str!("nexmark/q7.sql")),
    ("q8", "new users", include_str!("nexmark/q8.sql")),
];

/// Prints a row for each query.
pub async fn measure() -> Result<()> {
    let events = std::env::var("AVIS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let counts = events::write(place, events.unwrap_or(EVENTS))?;
    let mut took = Vec::new();
    for (name, _, query) in QUERIES {
        took.push(run(name, query, place).await?);
    }
    let told = peers::ask("nexmark", &[place, Path::new(&ROUNDS.to_string())])?;
    for ((name, what, _), ours) in QUERIES.into_iter().zip(took) {
        let (kept, theirs) = (place.join(name), place.join("flink").join(name));
        let answer = answers::read(&kept.with_extension("ndjson"))?;
        answers::agree(name, &answer, "Flink", &theirs)?;
        let rows = match name {
            "q8" => counts.persons + counts.auctions,
            _ => counts.bids,
        };
        let what = format!("{name}, {what}: {rows} rows into {}", answer.len());
        let theirs = seconds(&told, name)?;
        crate::row(&what, rows as f64 / ours.as_secs_f64(), "Flink", rows as f64 / theirs);
    }
    Ok(())
}

/// The shortest time of a query of ours.
async fn run(name: &str, query: &str, folder: &Path) -> Result<Duration> {
    let text = format!("{TABLES}\n{query}").replace("{folder}", &folder.display().to_string());
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        files::run(name, &text, files::Settings::default()).await?;
        least = least.min(started.elapsed());
    }
    Ok(least)
}

/// The seconds that the peer says a query took.
fn seconds(told: &str, name: &str) -> Result<f64> {
    let mut lines = told.lines().filter_map(|line| line.split_once('\t'));
    let (_, seconds) = lines.find(|(of, _)| *of == name).ok_or("the peer left out a query")?;
    Ok(seconds.parse()?)
}
