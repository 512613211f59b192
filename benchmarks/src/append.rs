//! Durable appends of 400-byte records, beside a plain file with one `fdatasync` per batch.

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
    metrics::Metrics,
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{Event, TransactionUploaded},
};

const FOR: Duration = Duration::from_secs(3);
const BATCH: u64 = 16;

/// Prints a row for each number of producers.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    for producers in [1_u64, 8, 64] {
        let folder = tempfile::tempdir()?;
        let log = EmbeddedLog::open(
            folder.path(),
            &Settings::default(),
            Metrics::register(&prometheus::Registry::new())?,
        )?;
        let (rate, per_sync) = appended(Arc::new(log), producers).await;
        let limit = plain(folder.path(), per_sync.max(BATCH))?;
        let beside = format!("a file, fdatasync per {} records", per_sync.max(BATCH));
        crate::row(&format!("durable append, {producers} producers"), rate, &beside, limit);
    }
    Ok(())
}

/// Records acknowledged a second, and how many producers' records one sync could hold.
async fn appended(log: Arc<dyn Log>, producers: u64) -> (f64, u64) {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut acknowledged = 0;
            while started.elapsed() < FOR {
                let records: Vec<_> =
                    (0..BATCH).map(|at| record(producer, acknowledged + at)).collect();
                if log.append(Topic::TerminalTransactions, &records).await.is_err() {
                    break;
                }
                acknowledged += BATCH;
            }
            acknowledged
        });
    }
    let acknowledged: u64 = tasks.join_all().await.into_iter().sum();
    (acknowledged as f64 / started.elapsed().as_secs_f64(), producers * BATCH)
}

fn record(producer: u64, number: u64) -> Record {
    let at = chrono::DateTime::UNIX_EPOCH;
    let upload = TransactionUploaded {
        receipt_number: Some("x".repeat(360)),
        ..TransactionUploaded::default()
    };
    Record {
        id: outside_id(&producer.to_string(), &number.to_string()),
        key: producer.to_string(),
        source: producer.to_string(),
        sequence: number,
        event_time: at,
        recorded_at: at,
        event: Event::TransactionUploaded(upload),
    }
}

/// Records a second of a plain file with one sync per `batch`: the physical limit.
fn plain(folder: &Path, batch: u64) -> std::io::Result<f64> {
    let mut file = std::fs::File::create(folder.join("plain"))?;
    let bytes = vec![b'x'; 400 * usize::try_from(batch).unwrap_or(1)];
    let (started, mut written) = (Instant::now(), 0);
    while started.elapsed() < FOR {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += batch;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}
