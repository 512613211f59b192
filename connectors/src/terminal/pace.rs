//! How often one caller may ask, a terminal or a source: so many requests at once, and so many a
//! second after that.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Callers remembered; the terminals of a nation are fewer.
const MOST: usize = 100_000;

/// The pace of every caller.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    per_second: f64,
    at_once: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Clone + Eq + Hash> Pace<K> {
    pub(crate) fn new(per_second: u32, at_once: u32) -> Self {
        let (per_second, at_once) = (f64::from(per_second.max(1)), f64::from(at_once.max(1)));
        Self { per_second, at_once, buckets: Mutex::default() }
    }

    /// Takes one request of a caller's, or says after how many seconds it may ask again.
    pub(crate) fn take(&self, caller: &K, now: Instant) -> Result<(), u32> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(caller) {
            buckets.clear();
        }
        let full = Bucket { left: self.at_once, at: now };
        let bucket = buckets.entry(caller.clone()).or_insert(full);
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * self.per_second).min(self.at_once);
        bucket.at = now;
        if bucket.left < 1.0 {
            let seconds = ((1.0 - bucket.left) / self.per_second).ceil();
            // At least one second, at most as long as the slowest pace takes for one request.
            return Err(if seconds > 1.0 { seconds as u32 } else { 1 });
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::id::TerminalId;

    use super::*;

    #[test]
    fn a_terminal_waits_after_a_burst_and_no_other_with_it() {
        let pace = Pace::new(10, 3);
        let (one, other) =
            (TerminalId::new("T-1").expect("an id"), TerminalId::new("T-2").expect("an id"));
        let start = Instant::now();
        assert!((0..3).all(|_| pace.take(&one, start).is_ok()));
        assert_eq!(pace.take(&one, start), Err(1));
        assert_eq!(pace.take(&other, start), Ok(()));
        assert_eq!(pace.take(&one, start + Duration::from_millis(100)), Ok(()));
        assert_eq!(pace.take(&one, start + Duration::from_millis(101)), Err(1));
    }
}
