//! Durable appends of 400-byte records, beside a plain file with one `fdatasync` per group of the
//! same size (the physical limit) and beside `redb`, another kept store, with as much in a commit.
//!
//! A disk changes from second to second, so the three take turns in short slices.

use std::{
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ingest::{
    log::{
        Log,
        embedded::{EmbeddedLog, Settings},
    },
    metrics::{Metrics, SYNC_RECORDS},
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{Event, TransactionUploaded},
};

const SLICE: Duration = Duration::from_millis(400);
const SLICES: usize = 10;
/// Records that a producer appends at once.
const BATCH: u64 = 16;
pub const RECORD_BYTES: usize = 400;
pub const TOPIC: Topic = Topic::TerminalTransactions;
const ROWS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("records");

/// Prints two rows for each number of producers.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    for producers in [1_u64, 8, 64] {
        let folder = tempfile::tempdir()?;
        let registry = prometheus::Registry::new();
        let log = open(folder.path(), &registry)?;
        let mut file = std::fs::File::create(folder.path().join("plain"))?;
        let store = redb::Database::create(folder.path().join("redb"))?;
        let (mut ours, mut plain, mut redb) = (Times::default(), 0.0, 0.0);
        for _ in 0..SLICES {
            ours.add(appended(&log, producers).await);
            let group = per_sync(&registry).max(1);
            plain += plain_rate(&mut file, group)?;
            redb += redb_rate(&store, group)?;
        }
        let group = per_sync(&registry);
        let what = format!("durable append, {producers} producers, {group} records a sync");
        let rate = ours.rate / SLICES as f64;
        crate::row(&what, rate, "a file, as many per fdatasync", plain / SLICES as f64);
        crate::row(&what, rate, "redb, as many per commit", redb / SLICES as f64);
        crate::say(format!("|   p50 {:?}, p99 {:?} | | | | |", ours.at(0.5), ours.at(0.99)));
    }
    Ok(())
}

/// A log as a node has it.
pub fn open(
    folder: &Path,
    registry: &prometheus::Registry,
) -> Result<Arc<EmbeddedLog>, Box<dyn std::error::Error>> {
    let metrics = Metrics::register(registry)?;
    Ok(Arc::new(EmbeddedLog::open(&folder.join("log"), &Settings::default(), metrics)?))
}

/// The rate of some slices together, and how long each append took.
#[derive(Default)]
struct Times {
    rate: f64,
    took: Vec<Duration>,
}

impl Times {
    fn add(&mut self, (rate, took): (f64, Vec<Duration>)) {
        self.rate += rate;
        self.took.extend(took);
        self.took.sort_unstable();
    }

    fn at(&self, share: f64) -> Duration {
        let place = (self.took.len() as f64 * share) as usize;
        self.took.get(place).copied().unwrap_or_default()
    }
}

/// Records that one sync held on average.
fn per_sync(registry: &prometheus::Registry) -> u64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == SYNC_RECORDS);
    let sync = family.and_then(|family| family.get_metric().first());
    sync.map_or(0, |sync| {
        let sync = sync.get_histogram();
        (sync.get_sample_sum() / sync.get_sample_count().max(1) as f64) as u64
    })
}

/// Records acknowledged a second, and how long each producer waited for each of its batches.
async fn appended(log: &Arc<EmbeddedLog>, producers: u64) -> (f64, Vec<Duration>) {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            // Made once: what is measured is the log, not the making of records.
            let records: Vec<_> = (0..BATCH).map(|at| record(&producer.to_string(), at)).collect();
            let mut took = Vec::new();
            while started.elapsed() < SLICE {
                let sent = Instant::now();
                if log.append(TOPIC, &records).await.is_err() {
                    break;
                }
                took.push(sent.elapsed());
            }
            took
        });
    }
    let took: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let records = took.len() as u64 * BATCH;
    (records as f64 / started.elapsed().as_secs_f64(), took)
}

/// A record of about 400 bytes, half of which compress, as basket lines do.
pub fn record(producer: &str, number: u64) -> Record {
    let at = chrono::DateTime::UNIX_EPOCH;
    let mut text = String::with_capacity(340);
    while text.len() < 320 {
        text.push_str(
            &blake3::hash(format!("{producer}/{number}/{}", text.len()).as_bytes()).to_hex(),
        );
    }
    let upload =
        TransactionUploaded { receipt_number: Some(text), ..TransactionUploaded::default() };
    Record {
        id: outside_id(producer, &number.to_string()),
        key: producer.into(),
        source: producer.into(),
        sequence: number,
        event_time: at,
        recorded_at: at,
        event: Event::TransactionUploaded(upload),
    }
}

/// Records a second of a plain file with one sync per `group`: the physical limit.
fn plain_rate(file: &mut std::fs::File, group: u64) -> std::io::Result<f64> {
    let bytes = vec![b'x'; RECORD_BYTES * usize::try_from(group).unwrap_or(1)];
    let (started, mut written) = (Instant::now(), 0);
    while started.elapsed() < SLICE {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += group;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

/// Records a second of `redb` with one durable commit per `group`.
fn redb_rate(store: &redb::Database, group: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let bytes = vec![b'x'; RECORD_BYTES];
    let (started, mut written) = (Instant::now(), 0_u64);
    while started.elapsed() < SLICE {
        let transaction = store.begin_write()?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            let first = redb::ReadableTable::last(&rows)?.map_or(0, |(key, _)| key.value() + 1);
            for number in first..first + group {
                rows.insert(number, bytes.as_slice())?;
            }
        }
        transaction.commit()?;
        written += group;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}
