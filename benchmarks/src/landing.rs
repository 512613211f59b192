//! Landing records in a Delta table, beside DuckDB that reads the same records as NDJSON and writes
//! the same columns as Parquet; and what landing costs while a table grows. Both tables have to tell the
//! same counts and sums.

use std::{
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ingest::{
    log::{Log, READ_BATCH},
    topic::Topic,
    wire::Flat,
};
use pipelines::{config::Settings, runner::Ends};

use crate::{answers, append, lake::Lake, peers, registers, sales, times::processor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Records that are landed beside the peer, and in steps after it.
const ROWS: u64 = 1_000_000;
/// Up to how many; `AVIS_BENCH_ROWS` says otherwise.
const MOST: u64 = 3 * ROWS;
/// Records of a commit, as one sets it for a long way to catch up; the peer writes one file.
const CATCHING_UP: u64 = 65_536;
const TABLES: [&str; 1] = ["authorisations"];
const PER_SECOND: u64 = 1_000;
const COUNT: &str = include_str!("landing/count.sql");
const SUMS: &str = include_str!("landing/sums.sql");

/// Prints a row for the peer, and one for each step.
pub async fn measure() -> Result<()> {
    let most = std::env::var("AVIS_BENCH_ROWS").ok().and_then(|most| most.parse().ok());
    let most: u64 = most.unwrap_or(MOST);
    let folder = tempfile::tempdir()?;
    let log = append::open(folder.path(), &prometheus::Registry::new())?;
    let (log, lake): (Arc<dyn Log>, _) = (log, Lake::new(folder.path())?);
    let (mut landed, mut first) = (0, None);
    while landed < most {
        let (rate, busy) = step(&log, &lake, landed).await?;
        landed += ROWS;
        if first.is_none() {
            let answer = folder.path().join("peer.ndjson");
            let peer = duckdb(&*log, folder.path(), &answer).await?;
            let sums = lake.session()?.rows(SUMS).await?;
            answers::agree("landing", &answers::rows(&sums.batches)?, "DuckDB", &answer)?;
            crate::row("landed in Delta", rate, "DuckDB, NDJSON to Parquet", peer);
        }
        let before = *first.get_or_insert(rate);
        let opened = Instant::now();
        let counted = lake.number(COUNT).await?;
        if counted != landed {
            return Err(format!("{landed} records were landed, {counted} rows are there").into());
        }
        let (opened, resident) = (opened.elapsed(), registers::memory("VmRSS:") >> 20);
        let what = format!("landed, {landed} rows kept, {resident} MiB");
        crate::row(&what, rate, "with the fewest", before);
        let each = busy.as_secs_f64() * 1e6 / ROWS as f64;
        crate::say(format!("|   {each:.2} µs of processor a row, counted in {opened:?} | | | | |"));
    }
    Ok(())
}

/// Records landed a second, the first of a table.
pub async fn rate() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let log: Arc<dyn Log> = append::open(folder.path(), &prometheus::Registry::new())?;
    let (rate, _) = step(&log, &Lake::new(folder.path())?, 0).await?;
    Ok(rate)
}

/// Appends a step's records after those that have landed, and lands them: how many a second, and how
/// busy the processor was.
async fn step(log: &Arc<dyn Log>, lake: &Lake, landed: u64) -> Result<(f64, Duration)> {
    fill(&**log, landed, ROWS).await?;
    let (started, busy) = (Instant::now(), processor());
    let settings = Settings { commit_records: CATCHING_UP, ..Settings::default() };
    let runner = lake.runner(Arc::clone(log), &TABLES, settings).await?;
    runner.catch_up(&Ends::new()).await?;
    Ok((ROWS as f64 / started.elapsed().as_secs_f64(), processor() - busy))
}

/// Appends so many decisions from a number on.
pub async fn fill(log: &dyn Log, from: u64, count: u64) -> Result<()> {
    let mut n = from;
    while n < from + count {
        let next = (n + READ_BATCH as u64).min(from + count);
        let records: Vec<_> = (n..next).map(|n| sales::sale(n, PER_SECOND)).collect();
        log.append(Topic::Authorisations, &records).await?;
        n = next;
    }
    Ok(())
}

/// Records a second of DuckDB over the same records, as whoever reads along sees them. It leaves an
/// answer of its counts and sums.
async fn duckdb(log: &dyn Log, folder: &Path, answer: &Path) -> Result<f64> {
    let path = folder.join("records.ndjson");
    let mut file = BufWriter::new(std::fs::File::create(&path)?);
    let mut count = 0_u64;
    for partition in 0..log.partitions(Topic::Authorisations) {
        let (mut next, end) = (0, log.end(Topic::Authorisations, partition)?);
        while next < end {
            for stored in log.read(Topic::Authorisations, partition, next, READ_BATCH).await? {
                next = stored.position.offset + 1;
                serde_json::to_writer(&mut file, &Flat::new(&stored))?;
                file.write_all(b"\n")?;
                count += 1;
            }
        }
    }
    file.flush()?;
    let sums = folder.join("sums.sql");
    std::fs::write(&sums, SUMS)?;
    let seconds = peers::seconds("landing", &[&path, &folder.join("peer.parquet"), &sums, answer])?;
    std::fs::remove_file(&path)?;
    Ok(count as f64 / seconds)
}
