//! What more cores bring to decisions, durable sales and landing: each in a process of its own that may
//! use so many of them, beside as many times what it reaches on one.
//!
//! What more data and a longer history cost is told by [`GROWING`], which are made along with this.

use std::{
    num::{NonZero, ParseIntError},
    process::Command,
    thread::available_parallelism,
};

use crate::{decide, landing, outcome::Skipped, shared::sales, till::Till};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The measures whose rows are curves over data and history.
pub const GROWING: [&str; 3] = ["reads", "counters", "landing"];
/// The first argument of a process that does some work and says its rate.
pub const WORK: &str = "work";

const DECISIONS: &str = "decisions";
const SALES: &str = "durable sales, asked in process";
const LANDING: &str = "records landed";

/// Prints a row for each work and number of cores: 1, 2, 4 and so on up to all.
pub fn measure() -> Result<()> {
    let mut cores = cores()?;
    // A quota may allow fewer than there are.
    cores.truncate(available_parallelism().map_or(1, NonZero::get));
    if cores.len() < 2 {
        return Err(Skipped::because("one core is no curve"));
    }
    for work in [DECISIONS, SALES, LANDING] {
        let mut first = None;
        for count in steps(cores.len()) {
            let rate = apart(&cores[..count], work)?;
            let one: f64 = *first.get_or_insert(rate);
            let beside = format!("{count} × one core");
            crate::row(&format!("{work} on {count} cores"), rate, &beside, one * count as f64);
        }
    }
    Ok(())
}

/// Does some work with all cores that this process may use; how much a second.
pub async fn rate(work: &str) -> Result<f64> {
    match work {
        DECISIONS => decide::rate(available_parallelism()?.get()),
        SALES => {
            let till = Till::open().await?;
            let rate = sales(&till).await?;
            till.close().await?;
            Ok(rate)
        }
        LANDING => landing::rate().await,
        _ => Err(format!("there is no work {work}").into()),
    }
}

/// The rate of a process that may use these cores alone.
fn apart(cores: &[usize], work: &str) -> Result<f64> {
    let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores.join(",")]).arg(std::env::current_exe()?);
    let told = command.args([WORK, work]).output().map_err(|error| format!("taskset: {error}"))?;
    if !told.status.success() {
        let text = String::from_utf8_lossy(&told.stderr);
        return Err(format!("{work} on cores {}: {text}", cores.join(",")).into());
    }
    Ok(String::from_utf8(told.stdout)?.trim().parse()?)
}

/// The cores that this process may use.
fn cores() -> Result<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(listed(list.ok_or("the kernel tells of no cores")?)?)
}

/// The numbers of a list as the kernel writes it: `0-3,8`.
fn listed(list: &str) -> std::result::Result<Vec<usize>, ParseIntError> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<usize>()?..=last.parse::<usize>()?);
    }
    Ok(all)
}

fn steps(cores: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |count| Some(count * 2));
    doubled.take_while(|count| *count < cores).chain([cores]).collect()
}

#[cfg(test)]
mod tests {
    use super::{listed, steps};

    #[test]
    fn the_kernels_list_is_read() {
        assert_eq!(listed("\t0-3,8\n"), Ok(vec![0, 1, 2, 3, 8]));
        assert!(listed("").is_err());
    }

    #[test]
    fn steps_double_and_end_with_all() {
        assert_eq!(steps(2), [1, 2]);
        assert_eq!(steps(6), [1, 2, 4, 6]);
        assert_eq!(steps(8), [1, 2, 4, 8]);
    }
}
