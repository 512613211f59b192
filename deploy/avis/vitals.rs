//! What operators see of the node itself: its process, its disk, its certificate, its books.
//!
//! Most of it is read when somebody looks, at [`Vitals::observe`].

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use domain::settlement::StatementState;
use prometheus::{
    Counter, Gauge, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

use crate::{failure::Failure, settlement::Proof};

mod certificate;
mod process;

pub use certificate::expiry;
use process::Process;

/// What the books differ by, in cents: 0, always.
pub const BOOKS_DIFFERENCE: &str = "avis_books_difference_cents";
/// How many statements are not what the stream adds up to, be it by no cent: 0, always.
pub const BOOKS_DIFFERING: &str = "avis_books_differing_statements";
/// When the books were last proved.
pub const BOOKS_PROVED: &str = "avis_books_proved_timestamp_seconds";
/// How many statements stand where.
pub const STATEMENTS: &str = "avis_settlement_statements";
/// Entries of banks' files that fit no statement.
pub const UNMATCHED: &str = "avis_settlement_unmatched_payments";
/// The end of the newest month that is closed.
pub const CLOSED_UNTIL: &str = "avis_settlement_closed_until_timestamp_seconds";
/// 1 once the node answers as it should.
pub const READY: &str = "avis_node_ready";
/// When the certificate of the doors to SQL ends; 0 without one.
pub const CERTIFICATE: &str = "avis_node_certificate_expiry_timestamp_seconds";
/// When a checkpoint of the audit trail was last put outside, or that began; 0 where none is.
pub const CHECKPOINT: &str = "avis_audit_checkpoint_outside_timestamp_seconds";
/// How often a checkpoint could not be put outside.
pub const CHECKPOINT_FAILURES: &str = "avis_audit_checkpoint_failures_total";
/// Which version it is.
pub const BUILD: &str = "avis_build_info";
/// What is free of the disk under the node's folder.
pub const DISK_FREE: &str = "avis_disk_free_bytes";
/// The size of the disk under the node's folder.
pub const DISK_SIZE: &str = "avis_disk_size_bytes";
/// Time of processors that the process has used.
pub const CPU: &str = "avis_process_cpu_seconds_total";
/// Memory of the process that is in use.
pub const RESIDENT: &str = "avis_process_resident_memory_bytes";
/// Files and connections that the process has open.
pub const OPEN_FDS: &str = "avis_process_open_fds";
/// How many files and connections the process may have open.
pub const MAX_FDS: &str = "avis_process_max_fds";
/// Threads of the process.
pub const THREADS: &str = "avis_process_threads";
/// When the process began.
pub const START_TIME: &str = "avis_process_start_time_seconds";

/// What operators see of the node.
#[derive(Debug)]
pub struct Vitals {
    folder: PathBuf,
    books: IntGauge,
    differing: IntGauge,
    proved: Gauge,
    statements: IntGaugeVec,
    unmatched: IntGauge,
    closed_until: Gauge,
    ready: IntGauge,
    certificate: Gauge,
    checkpoint: Gauge,
    checkpoint_failures: IntCounter,
    disk_free: IntGauge,
    disk_size: IntGauge,
    /// One looks at a time: the counter goes up by what is new.
    cpu: Mutex<Counter>,
    resident: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    threads: IntGauge,
}

impl Vitals {
    /// Registers what is seen of the node over a folder.
    ///
    /// # Errors
    /// Where the registry already has it.
    pub fn register(registry: &Registry, folder: &Path) -> Result<Self, prometheus::Error> {
        let cpu = Counter::new(CPU, "time of processors that was used")?;
        let states = Opts::new(STATEMENTS, "statements, by where they stand");
        let vitals = Self {
            folder: folder.to_path_buf(),
            books: IntGauge::new(BOOKS_DIFFERENCE, "what statements and stream differ by")?,
            differing: IntGauge::new(
                BOOKS_DIFFERING,
                "statements that are not what the stream adds up to",
            )?,
            proved: Gauge::new(BOOKS_PROVED, "when the books were last proved")?,
            statements: IntGaugeVec::new(states, &["state"])?,
            unmatched: IntGauge::new(UNMATCHED, "entries of banks that fit no statement")?,
            closed_until: Gauge::new(CLOSED_UNTIL, "end of the newest closed month")?,
            ready: IntGauge::new(READY, "1 once the node answers as it should")?,
            certificate: Gauge::new(CERTIFICATE, "when the certificate ends; 0 without one")?,
            checkpoint: Gauge::new(
                CHECKPOINT,
                "when a checkpoint was last put outside; 0 where none is",
            )?,
            checkpoint_failures: IntCounter::new(
                CHECKPOINT_FAILURES,
                "checkpoints that could not be put outside",
            )?,
            disk_free: IntGauge::new(DISK_FREE, "free of the disk under the folder")?,
            disk_size: IntGauge::new(DISK_SIZE, "size of the disk under the folder")?,
            cpu: Mutex::new(cpu.clone()),
            resident: IntGauge::new(RESIDENT, "memory in use")?,
            open_fds: IntGauge::new(OPEN_FDS, "open files and connections")?,
            max_fds: IntGauge::new(MAX_FDS, "most open files and connections")?,
            threads: IntGauge::new(THREADS, "threads")?,
        };
        let version = Opts::new(BUILD, "which version it is");
        let build = IntGaugeVec::new(version, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let started = Gauge::new(START_TIME, "when the process began")?;
        set(&started, Utc::now());
        let all: [Box<dyn Collector>; 19] = [
            Box::new(vitals.books.clone()),
            Box::new(vitals.differing.clone()),
            Box::new(vitals.proved.clone()),
            Box::new(vitals.statements.clone()),
            Box::new(vitals.unmatched.clone()),
            Box::new(vitals.closed_until.clone()),
            Box::new(vitals.ready.clone()),
            Box::new(vitals.certificate.clone()),
            Box::new(vitals.checkpoint.clone()),
            Box::new(vitals.checkpoint_failures.clone()),
            Box::new(vitals.disk_free.clone()),
            Box::new(vitals.disk_size.clone()),
            Box::new(cpu),
            Box::new(vitals.resident.clone()),
            Box::new(vitals.open_fds.clone()),
            Box::new(vitals.max_fds.clone()),
            Box::new(vitals.threads.clone()),
            Box::new(build),
            Box::new(started),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))?;
        Ok(vitals)
    }

    /// Looks at the process and its disk.
    pub fn observe(&self) {
        // What cannot be read stays as it was last seen.
        if let Ok(disk) = rustix::fs::statvfs(self.folder.as_path()) {
            self.disk_free.set(signed(disk.f_bavail.saturating_mul(disk.f_frsize)));
            self.disk_size.set(signed(disk.f_blocks.saturating_mul(disk.f_frsize)));
        }
        let Ok(process) = Process::look() else { return };
        let cpu = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        cpu.inc_by((process.cpu_seconds - cpu.get()).max(0.0));
        self.resident.set(signed(process.resident_bytes));
        self.open_fds.set(signed(process.open_fds));
        self.max_fds.set(signed(process.max_fds));
        self.threads.set(signed(process.threads));
    }

    /// The books were proved: so many cents differ, and so many statements.
    pub fn proved(&self, proof: &Proof, now: DateTime<Utc>) {
        self.books.set(proof.difference_cents());
        self.differing.set(i64::try_from(proof.differing()).unwrap_or(i64::MAX));
        set(&self.proved, now);
    }

    /// How statements and payments stand.
    pub fn settled(&self, states: &[(StatementState, i64)], unmatched: usize) {
        for state in StatementState::ALL {
            let of = states.iter().find(|(known, _)| *known == state);
            let count = of.map_or(0, |(_, count)| *count);
            self.statements.with_label_values(&[state.code()]).set(count);
        }
        self.unmatched.set(i64::try_from(unmatched).unwrap_or(i64::MAX));
    }

    /// Months are closed up to an instant.
    pub fn closed_until(&self, end: DateTime<Utc>) {
        set(&self.closed_until, end);
    }

    /// The node answers as it should.
    pub fn ready(&self) {
        self.ready.set(1);
    }

    /// The certificate of the doors ends then.
    pub fn certificate(&self, expires: DateTime<Utc>) {
        set(&self.certificate, expires);
    }

    /// Checkpoints of the audit trail are outside as of an instant.
    pub fn checkpoint_is_outside(&self, now: DateTime<Utc>) {
        set(&self.checkpoint, now);
    }

    /// A checkpoint could not be put outside.
    pub fn checkpoint_stays(&self, error: &Failure) {
        self.checkpoint_failures.inc();
        let error: &dyn std::error::Error = error;
        tracing::error!(error, "a checkpoint of the audit trail is not outside yet");
    }
}

fn set(gauge: &Gauge, instant: DateTime<Utc>) {
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    gauge.set(instant.timestamp() as f64);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
