//! What the kernel says of this process.

use std::{fs, io};

use rustix::process::{Resource, getrlimit};

/// Ticks of a second in `/proc/self/stat`: Linux shows them so to every program, whatever its own.
const TICKS: f64 = 100.0;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

impl Process {
    /// Asks for this process.
    ///
    /// # Errors
    /// Where `/proc` is not there, or not as Linux has it.
    pub(super) fn look() -> io::Result<Self> {
        let odd = || io::Error::from(io::ErrorKind::InvalidData);
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (cpu_seconds, threads) = times(&stat).ok_or_else(odd)?;
        let status = fs::read_to_string("/proc/self/status")?;
        let resident_bytes = resident(&status).ok_or_else(odd)?;
        // The one that is open to count them is not counted.
        let open_fds = (fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1);
        let max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Ok(Self { cpu_seconds, resident_bytes, threads, open_fds, max_fds })
    }
}

/// Seconds of processors and threads, from the line `stat`. The command's name is in parentheses, and may
/// hold some itself.
fn times(stat: &str) -> Option<(f64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(((ticks(11)? + ticks(12)?) / TICKS, fields.get(17)?.parse().ok()?))
}

/// Bytes in memory, from the lines of `status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 1250 250 0 0 20 0 9 0 100 1 1";
        assert_eq!(times(stat), Some((15.0, 9)));
        assert_eq!(times("7 (cut"), None);
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("VmPeak: 9 kB"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let seen = Process::look().expect("a kernel that tells");
        assert!(seen.resident_bytes > 1 << 20 && seen.threads > 0, "{seen:?}");
        assert!(0 < seen.open_fds && seen.open_fds < seen.max_fds, "{seen:?}");
    }
}
