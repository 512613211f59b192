//! How long single runs take. These machines are noisy: the quantiles say more than the mean.

use std::time::{Duration, Instant};

const FOR: Duration = Duration::from_secs(2);

/// The processor time that this process has used so far. Other work on the machine makes it much
/// less wrong than it makes rates.
pub fn processor() -> Duration {
    // Fields after the name, which is in brackets: user and kernel time are the 12th and 13th, in
    // hundredths of a second.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|of| of.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// How long one run of something takes, the reading of the clock included.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Half take no longer.
    pub p50_ns: u64,
    /// One of a hundred takes longer.
    pub p99_ns: u64,
    /// On average.
    pub mean_ns: u64,
}

impl Times {
    /// Runs a second.
    pub fn rate(&self) -> f64 {
        1e9 / self.mean_ns.max(1) as f64
    }
}

/// Times each run by itself; `once` is given the numbers below `count` in turn.
pub fn times(count: usize, mut once: impl FnMut(usize)) -> Times {
    let mut all: Vec<u64> = Vec::new();
    let started = Instant::now();
    while started.elapsed() < FOR {
        for at in 0..count {
            let before = Instant::now();
            once(at);
            all.push(u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    // The first tenth warms caches and the clock of the processor up.
    let mut all = all.split_off(all.len() / 10);
    all.sort_unstable();
    Times {
        p50_ns: all[all.len() / 2],
        p99_ns: all[all.len() * 99 / 100],
        mean_ns: all.iter().sum::<u64>() / all.len() as u64,
    }
}
