//! How a table is kept small and quick: what its writer does between commits, and when.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

/// When a table's files are merged, its log is shortened, and what nothing needs is removed.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// How often it is looked after at most; in between, asking costs nothing.
    pub every: Duration,
    /// How large a file is meant to be.
    pub file_bytes: u64,
    /// Small files of about one size, in one partition, from which on they are merged.
    pub small_files: usize,
    /// A past day is closed when nothing has come for it for so long.
    pub quiet: Duration,
    /// Small files that a closed day may keep; with more it is merged, so late rows merge it again
    /// only when they are many.
    pub closed_files: usize,
    /// Merges in one turn at most, so that a turn is short; the rest waits for the next.
    pub merges: usize,
    /// Commits between two checkpoints of the log.
    pub checkpoint_commits: u64,
    /// How many past days of rows are kept, where the table is partitioned; none is all.
    pub keep_days: Option<u32>,
    /// How long the log tells of past versions.
    pub keep_log: Duration,
    /// How long a merged file stays for those who opened the table before, so a query must not take
    /// longer. The log itself forgets removed files after seven days; those that it has forgotten
    /// go by their age.
    pub keep_removed: Duration,
    /// How long a file that no commit names stays; one that is being written is younger.
    pub keep_orphans: Duration,
    /// How often files that nothing needs are looked for.
    pub vacuum_every: Duration,
    /// Whether nothing could make the table again: then all of it is on the disk before the log's next
    /// entry, so that a power cut takes the newest commits at most and leaves none that lacks a file.
    pub only_copy: bool,
}

impl Default for Upkeep {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Self {
            every: Duration::from_secs(300),
            file_bytes: 64 << 20,
            small_files: 32,
            quiet: Duration::from_secs(6 * HOUR),
            closed_files: 2,
            merges: 4,
            checkpoint_commits: 100,
            keep_days: None,
            keep_log: Duration::from_secs(6 * HOUR),
            keep_removed: Duration::from_secs(2 * 24 * HOUR),
            keep_orphans: Duration::from_secs(24 * HOUR),
            vacuum_every: Duration::from_secs(6 * HOUR),
            only_copy: false,
        }
    }
}

/// What one turn of upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Files of days that are not kept any longer.
    pub expired: usize,
    /// Files that were merged away.
    pub merged: usize,
    /// Files that took their place.
    pub written: usize,
    /// Whether the log got a checkpoint.
    pub checkpoint: bool,
    /// Entries of the log that were removed.
    pub log_entries: usize,
    /// Files that nothing needs any more, and that were removed.
    pub removed: usize,
}

/// A file as planning sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Its day, where the table is partitioned.
    pub date: Option<NaiveDate>,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub written: DateTime<Utc>,
}

impl Upkeep {
    /// The files of days that are not kept any longer, by their places, and the first day that is.
    pub(crate) fn expired(
        &self,
        files: &[File],
        today: NaiveDate,
    ) -> Option<(NaiveDate, Vec<usize>)> {
        let first = today.checked_sub_days(Days::new(self.keep_days?.into()))?;
        let old = |place: &usize| files[*place].date.is_some_and(|date| date < first);
        let expired: Vec<_> = (0..files.len()).filter(old).collect();
        (!expired.is_empty()).then_some((first, expired))
    }

    /// The files to merge with each other, by their places; each merge is about one whole file.
    pub(crate) fn merges(
        &self,
        files: &[File],
        now: DateTime<Utc>,
        today: NaiveDate,
    ) -> Vec<Vec<usize>> {
        let mut places: Vec<usize> = (0..files.len()).collect();
        places.sort_by_key(|place| (files[*place].date, files[*place].written));
        let mut merges = Vec::new();
        for partition in places.chunk_by(|one, other| files[*one].date == files[*other].date) {
            let small: Vec<usize> = partition
                .iter()
                .copied()
                .filter(|place| files[*place].bytes < self.file_bytes / 2)
                .collect();
            let newest = partition.iter().map(|place| files[*place].written).max();
            let quiet = newest.is_some_and(|newest| newest <= before(now, self.quiet));
            let past = files[partition[0]].date.is_some_and(|date| date < today);
            if past && quiet {
                if small.len() > self.closed_files {
                    self.fill(files, &small, &mut merges);
                }
                continue;
            }
            for tier in 0..=self.tier(self.file_bytes) {
                let alike: Vec<usize> = small
                    .iter()
                    .copied()
                    .filter(|place| self.tier(files[*place].bytes) == tier)
                    .collect();
                if alike.len() >= self.small_files.max(2) {
                    self.fill(files, &alike, &mut merges);
                }
            }
        }
        merges
    }

    /// Which size a file is of: each is as many times the one before as files are merged, so that a
    /// row is written again a few times in all, however long a table grows.
    fn tier(&self, bytes: u64) -> u32 {
        const SMALLEST: u64 = 256 << 10;
        let times = u64::try_from(self.small_files.max(2)).unwrap_or(u64::MAX);
        (bytes / SMALLEST).checked_ilog(times).map_or(0, |tier| tier + 1)
    }

    fn fill(&self, files: &[File], places: &[usize], merges: &mut Vec<Vec<usize>>) {
        let (mut merge, mut bytes) = (Vec::new(), 0);
        for place in places {
            if bytes + files[*place].bytes > self.file_bytes && merge.len() > 1 {
                merges.push(std::mem::take(&mut merge));
                bytes = 0;
            }
            merge.push(*place);
            bytes += files[*place].bytes;
        }
        if merge.len() > 1 {
            merges.push(merge);
        }
    }
}

/// The instant so long before another.
pub(crate) fn before(now: DateTime<Utc>, long: Duration) -> DateTime<Utc> {
    let long = TimeDelta::from_std(long).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(long).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPKEEP: fn() -> Upkeep = || Upkeep { small_files: 4, ..Upkeep::default() };

    fn now() -> DateTime<Utc> {
        "2025-01-20T12:00:00Z".parse().expect("an instant")
    }

    fn file(day: u32, bytes: u64, hours_ago: i64) -> File {
        let date = NaiveDate::from_ymd_opt(2025, 1, day);
        File { date, bytes, written: now() - TimeDelta::hours(hours_ago) }
    }

    fn check(files: &[File], expected: &[&[usize]]) {
        assert_eq!(UPKEEP().merges(files, now(), now().date_naive()), expected);
    }

    #[test]
    fn a_day_is_merged_when_it_is_closed() {
        let day =
            |hours_ago| vec![file(19, 1_000, 30), file(19, 1_000, 20), file(19, 9, hours_ago)];
        check(&day(7), &[&[0, 1, 2]]);
        check(&day(5), &[]);
        // Today is never closed, however quiet it is.
        check(&[file(20, 1, 9), file(20, 1, 9), file(20, 1, 9)], &[]);
    }

    #[test]
    fn a_merged_day_is_left_alone_until_late_rows_are_many() {
        check(&[file(10, 9_000, 200)], &[]);
        check(&[file(10, 9_000, 200), file(10, 10, 9)], &[]);
        check(&[file(10, 9_000, 200), file(10, 10, 9), file(10, 10, 8)], &[&[0, 1, 2]]);
        // What is large already stays as it is.
        check(&[file(10, 60 << 20, 200), file(10, 10, 9), file(10, 10, 8)], &[]);
    }

    #[test]
    fn files_of_one_size_are_merged_while_a_day_runs() {
        let small = |count| vec![file(20, 1_000, 0); count];
        check(&small(3), &[]);
        check(&small(4), &[&[0, 1, 2, 3]]);
        // What was merged waits for others of its size.
        let mut grown = vec![file(20, 900 << 10, 1); 3];
        grown.extend(small(3));
        check(&grown, &[]);
        grown.push(file(20, 900 << 10, 1));
        check(&grown, &[&[0, 1, 2, 6]]);
    }

    #[test]
    fn tables_without_days_are_merged_by_number() {
        let file = File { date: None, bytes: 10, written: now() - TimeDelta::days(90) };
        check(&vec![file.clone(); 3], &[]);
        check(&vec![file; 5], &[&[0, 1, 2, 3, 4]]);
    }

    #[test]
    fn a_merge_is_about_one_file() {
        let files = vec![file(1, 20 << 20, 90); 7];
        check(&files, &[&[0, 1, 2], &[3, 4, 5]]);
    }
}
