//! The streams from outside: one suite for every engine, and what crashes and power cuts leave.

mod child;
mod crash;
mod damage;
mod dead_letter;
mod disk;
mod disk_full;
mod engines;
mod fluvio;
mod fluvio_kept;
mod fluvio_tls;
mod fluvio_topic;
mod folder;
mod keep;
mod power_cut;
mod registers;
mod wire;

use std::{io::Write, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use ingest::{
    log::{
        Log,
        embedded::{EmbeddedLog, Settings, Sync},
    },
    metrics::Metrics,
    record::{Record, outside_id},
    wire::v1::{Event, TransactionUploaded},
};

/// How much more than in CI the heavy tests do.
fn scale() -> u64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// Says what would be overlooked otherwise: what a test that passes prints is not shown, and this is.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What disks of tests keep free.
const RESERVE_BYTES: u64 = 1 << 20;

fn open(folder: &Path, sync: Sync) -> Result<Arc<dyn Log>, ingest::error::LogError> {
    let settings = Settings { sync, reserve_bytes: RESERVE_BYTES, ..Settings::default() };
    Ok(Arc::new(open_with(folder, &settings)?))
}

fn open_with(folder: &Path, settings: &Settings) -> Result<EmbeddedLog, ingest::error::LogError> {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    EmbeddedLog::open(folder, settings, metrics)
}

/// The record that producer `key` sends as its `number`-th.
fn record(key: &str, number: u64) -> Record {
    let at = DateTime::from_timestamp(1_735_000_000, 0).unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
    Record {
        id: outside_id(key, &number.to_string()),
        key: key.into(),
        source: key.into(),
        sequence: number,
        event_time: at,
        recorded_at: at,
        event: Event::TransactionUploaded(TransactionUploaded {
            terminal_id: key.into(),
            idempotency_key: format!("{key}-{number}"),
            // Long enough to be torn, some longer than a block, and different in every record.
            receipt_number: Some(format!(
                "{number:0>0$}",
                if number % 16 == 15 { 9_000 } else { 400 }
            )),
            ..TransactionUploaded::default()
        }),
    }
}
