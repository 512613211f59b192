//! Reading the log on one core beside reading as many raw bytes, and what appending and reading cost
//! as it grows.

use std::{io::Read, time::Instant};

use ingest::log::{Log, READ_BATCH};

use crate::{
    append::{RECORD_BYTES, TOPIC, open, record},
    registers,
};

/// Records kept at each look; `AVIS_BENCH_RECORDS` says up to how many, where not the second.
const LOOKS: [u64; 3] = [1_000_000, 5_000_000, 20_000_000];
const AT_ONCE: u64 = 1_024;
/// Records that are appended or read at each look.
const LOOKED_AT: u64 = 500_000;

/// Prints three rows for each number of records kept.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let most = std::env::var("AVIS_BENCH_RECORDS").ok().and_then(|most| most.parse().ok());
    let most = most.unwrap_or(LOOKS[1]);
    let folder = tempfile::tempdir()?;
    let log = open(folder.path(), &prometheus::Registry::new())?;
    // Made once: what is measured is the log, not the making of records.
    let records: Vec<_> = (0..AT_ONCE).map(|number| record("one", number)).collect();
    let mut first: Option<(f64, f64)> = None;
    for kept in LOOKS.into_iter().filter(|kept| *kept <= most) {
        let mut appended = 0.0;
        while log.end(TOPIC, 0)? < kept {
            let (started, mut count) = (Instant::now(), 0);
            while count < LOOKED_AT.min(kept) {
                log.append(TOPIC, &records).await?;
                count += AT_ONCE;
            }
            appended = count as f64 / started.elapsed().as_secs_f64();
        }
        let end = log.end(TOPIC, 0)?;
        let read = read(&*log, end.saturating_sub(LOOKED_AT), end).await?;
        let oldest = self::read(&*log, 0, LOOKED_AT).await?;
        let (append_then, read_then) = *first.get_or_insert((appended, read));
        let resident = registers::memory("VmRSS:") >> 20;
        let what = |did: &str| format!("{did}, {kept} records kept, {resident} MiB");
        crate::row(&what("appended by one"), appended, "with the fewest", append_then);
        crate::row(&what("read, newest"), read, "with the fewest", read_then);
        crate::row(&what("read, oldest"), oldest, "with the fewest", read_then);
    }
    let raw = raw(folder.path())?;
    let end = log.end(TOPIC, 0)?;
    let read = read(&*log, end.saturating_sub(LOOKED_AT), end).await?;
    crate::row("read and decoded, one core", read, "a file's raw bytes", raw);
    Ok(())
}

/// Records read and decoded a second.
async fn read(log: &dyn Log, from: u64, to: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let (started, mut next) = (Instant::now(), from);
    while next < to {
        let batch = log.read(TOPIC, 0, next, READ_BATCH).await?;
        let Some(last) = batch.last() else { break };
        next = last.position.offset + 1;
    }
    Ok((next - from) as f64 / started.elapsed().as_secs_f64())
}

/// Records a second of reading a file of as many bytes, from the page cache.
fn raw(folder: &std::path::Path) -> std::io::Result<f64> {
    let path = folder.join("raw");
    std::fs::write(&path, vec![b'x'; RECORD_BYTES * LOOKED_AT as usize])?;
    let (started, mut file) = (Instant::now(), std::fs::File::open(&path)?);
    let mut bytes = vec![0; RECORD_BYTES * READ_BATCH];
    let mut total = 0;
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            break;
        }
        total += read;
    }
    Ok((total / RECORD_BYTES) as f64 / started.elapsed().as_secs_f64())
}
