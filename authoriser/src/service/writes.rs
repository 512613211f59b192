//! What a write takes, for those who ask how soon an answer can come.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// How long the last writes took.
#[derive(Debug, Default)]
pub(super) struct Writes {
    micros: [AtomicU64; 8],
    next: AtomicUsize,
}

impl Writes {
    pub(super) fn took(&self, time: Duration) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.micros.len();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros[at].store(micros, Ordering::Relaxed);
    }

    /// The shortest of them: what was added by whoever waited for a processor is no part of a write.
    pub(super) fn soonest(&self) -> Duration {
        let micros = self.micros.iter().map(|micros| micros.load(Ordering::Relaxed));
        Duration::from_micros(micros.min().unwrap_or(0))
    }
}
