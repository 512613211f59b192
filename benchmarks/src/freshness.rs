//! How long after its acknowledgement a record is visible in SQL, under a load that is held. The load
//! and the queries share the machine with the pipelines.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::Utc;
use ingest::{log::Log, topic::Topic};
use pipelines::config::Settings;
use tokio::sync::watch;

use crate::{append, lake::Lake, sales, times::processor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FOR: Duration = Duration::from_secs(60);
/// Records are appended so often.
const TICK: Duration = Duration::from_millis(20);
/// Queries are asked so often.
const LOOK: Duration = Duration::from_millis(50);
const TABLES: [&str; 7] = [
    "authorisations",
    "authorisation_events",
    "benefit_lines",
    "transaction_lines",
    "points_entries",
    "usage_by_minute",
    "anomalies",
];
const LANDED: &str = include_str!("freshness/landed.sql");

/// Prints a row for each load.
pub async fn measure() -> Result<()> {
    for per_second in [2_000_u64, 10_000] {
        let folder = tempfile::tempdir()?;
        let log: Arc<dyn Log> = append::open(folder.path(), &prometheus::Registry::new())?;
        let lake = Lake::new(folder.path())?;
        let runner = lake.runner(Arc::clone(&log), &TABLES, Settings::default()).await?;
        let (stop, stopped) = watch::channel(false);
        let landing = tokio::spawn(async move { runner.run(stopped).await });
        // When so many records were acknowledged.
        let acknowledged = Arc::new(Mutex::new(Vec::<(u64, Instant)>::new()));
        let busy = processor();
        let load = tokio::spawn(load(Arc::clone(&log), per_second, Arc::clone(&acknowledged)));
        let seen = look(&lake, &load).await?;
        let generator = load.await??;
        stop.send(true)?;
        landing.await??;
        let busy = processor() - busy;
        let waits = waits(&acknowledged.lock().map_err(|_| "a lock")?, &seen);
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64();
        let share = generator.as_secs_f64() / FOR.as_secs_f64() / 2.0;
        crate::row(
            &format!("records a second, visible: p99 {:.2} s", at(0.99)),
            per_second as f64,
            "aim: p99 2 s",
            per_second as f64,
        );
        crate::say(format!(
            "|   p50 {:.3} s, p99.9 {:.3} s; processor {:.0} % of two cores, of which making and appending records about {:.0} % | | | | |",
            at(0.5),
            at(0.999),
            busy.as_secs_f64() / FOR.as_secs_f64() / 2.0 * 100.0,
            share * 100.0,
        ));
    }
    Ok(())
}

/// Appends records at a rate, whatever happens; how long it was busy.
async fn load(
    log: Arc<dyn Log>,
    per_second: u64,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
) -> std::result::Result<Duration, ingest::error::LogError> {
    let (started, mut sent, mut busy) = (Instant::now(), 0, Duration::ZERO);
    while started.elapsed() < FOR {
        let due = per_second * u64::try_from(started.elapsed().as_millis()).unwrap_or(0) / 1_000;
        if due > sent {
            let made = Instant::now();
            let records: Vec<_> = (sent..due).map(|n| sales::at(n, Utc::now())).collect();
            busy += made.elapsed();
            log.append(Topic::Authorisations, &records).await?;
            sent = due;
            if let Ok(mut all) = acknowledged.lock() {
                all.push((sent, Instant::now()));
            }
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(busy)
}

/// Asks how many rows there are until the load has ended and all are seen.
async fn look<T>(lake: &Lake, load: &tokio::task::JoinHandle<T>) -> Result<Vec<(u64, Instant)>> {
    let mut seen = Vec::new();
    let mut still = 0;
    while still < 40 {
        let count = lake.number(LANDED).await?;
        still = if load.is_finished() && seen.last().is_some_and(|(last, _)| *last == count) {
            still + 1
        } else {
            0
        };
        seen.push((count, Instant::now()));
        tokio::time::sleep(LOOK).await;
    }
    Ok(seen)
}

/// How long each appended group waited until a query saw it, in order; a group waits as long as the
/// last of its records.
fn waits(acknowledged: &[(u64, Instant)], seen: &[(u64, Instant)]) -> Vec<Duration> {
    let mut waits: Vec<Duration> = acknowledged
        .iter()
        .filter_map(|(count, at)| {
            let (_, visible) = seen.iter().find(|(seen, _)| seen >= count)?;
            Some(visible.saturating_duration_since(*at))
        })
        .collect();
    waits.sort_unstable();
    waits
}
