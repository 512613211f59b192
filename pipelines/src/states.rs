//! Where pipelines keep what they have gathered, beside their tables.
//!
//! State N is synced before the commit that names it. Of a commit that fails nobody may know whether
//! it landed, or lands still: so a number that was taken is not taken again. And a commit that landed
//! in a folder is not synced, so a power cut may put the table back by some commits: a state goes only
//! when one that names a later state has landed so long ago that it is on the disk by itself, or the
//! table was synced since. That is done where states take much room.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long after it landed a commit may still be taken by a power cut. The kernel writes what has
/// waited for half a minute; a busy disk has several times that.
const WRITTEN: Duration = Duration::from_secs(180);

/// Where states are kept.
#[derive(Debug)]
pub enum States {
    /// In a folder: `<pipeline>/<number>.state`.
    Folder(PathBuf),
    /// In memory, for simulation and tests.
    Memory(Mutex<BTreeMap<(String, u64), Vec<u8>>>),
}

impl Default for States {
    fn default() -> Self {
        Self::Memory(Mutex::default())
    }
}

impl States {
    /// Keeps a pipeline's state under a number, so that no power cut takes it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, pipeline: &str, number: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Folder(folder) => write(&folder.join(pipeline), number, bytes),
            Self::Memory(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.insert((pipeline.to_owned(), number), bytes.to_vec());
                Ok(())
            }
        }
    }

    /// A pipeline's state of a number, if it is there.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn kept(&self, pipeline: &str, number: u64) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => match fs::read(file(&folder.join(pipeline), number)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Memory(kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(kept.get(&(pipeline.to_owned(), number)).cloned())
            }
        }
    }

    /// The highest number under which a pipeline's state is kept, committed or not; 0 where none
    /// is.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self, pipeline: &str) -> io::Result<u64> {
        let mut newest = 0;
        match self {
            Self::Folder(folder) => {
                let entries = match fs::read_dir(folder.join(pipeline)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    newest = newest.max(number_of(&entry?.path()).unwrap_or(0));
                }
            }
            Self::Memory(kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let numbers = kept.keys().filter(|(of, _)| of == pipeline);
                newest = numbers.map(|(_, number)| *number).max().unwrap_or(0);
            }
        }
        Ok(newest)
    }

    /// Lets go of states older than `oldest`.
    pub fn forget_before(&self, pipeline: &str, oldest: u64) {
        match self {
            Self::Folder(folder) => {
                let Ok(entries) = fs::read_dir(folder.join(pipeline)) else { return };
                for path in entries.flatten().map(|entry| entry.path()) {
                    if number_of(&path).is_some_and(|kept| kept < oldest) {
                        // What stays takes room, and goes next time.
                        let _ = fs::remove_file(path);
                    }
                }
            }
            Self::Memory(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.retain(|(of, at), _| of != pipeline || *at >= oldest);
            }
        }
    }
}

/// The states that a table's commits name.
#[derive(Debug)]
pub(crate) struct Landed {
    /// Those that landed within the time that a power cut may take back, and the one before, oldest
    /// first.
    named: VecDeque<Named>,
    /// The state that the table named when it was last synced.
    synced: u64,
}

/// A state that a commit names, its bytes, and when that commit landed.
#[derive(Clone, Copy, Debug)]
struct Named {
    state: u64,
    bytes: usize,
    at: Instant,
}

impl Landed {
    /// A table as it is found: nobody knows when its newest commit landed, nor which came before it.
    pub(crate) fn begin(state: u64, at: Instant) -> Self {
        let named = VecDeque::from([0, state].map(|state| Named { state, bytes: 0, at }));
        Self { named, synced: 0 }
    }

    pub(crate) fn add(&mut self, state: u64, bytes: usize, at: Instant) {
        self.named.push_back(Named { state, bytes, at });
    }

    /// The oldest state that the table may name after a power cut now.
    pub(crate) fn oldest(&mut self, now: Instant) -> u64 {
        let is_written = |named: &Named| now.duration_since(named.at) >= WRITTEN;
        while self.named.get(1).is_some_and(is_written) {
            self.named.pop_front();
        }
        self.named.front().map_or(0, |named| named.state).max(self.synced)
    }

    /// The table is on the disk, up to the commit that landed last.
    pub(crate) fn synced(&mut self) {
        self.synced = self.named.back().map_or(0, |named| named.state);
    }

    /// Bytes of the states that were written lately, whether they are kept or not.
    pub(crate) fn bytes(&self) -> usize {
        self.named.iter().map(|named| named.bytes).sum()
    }

    /// Bytes of the states that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = self.named.iter().filter(|named| named.state >= self.synced);
        kept.map(|named| named.bytes).sum()
    }
}

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.state"))
}

/// The number of a state's file; none of another file.
fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn write(folder: &Path, number: u64, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (unfinished, whole) = (folder.join("unfinished"), file(folder, number));
    let mut written = File::create(&unfinished)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&unfinished, &whole)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        for states in [States::Folder(folder.path().to_owned()), States::default()] {
            assert_eq!(states.newest("p").expect("read"), 0);
            for number in 1..5 {
                states.keep("p", number, &[u8::try_from(number).expect("small")]).expect("kept");
                states.forget_before("p", number - 1);
            }
            let kept = |number| states.kept("p", number).expect("read");
            assert_eq!([kept(2), kept(3), kept(4)], [None, Some(vec![3]), Some(vec![4])]);
            assert_eq!(states.kept("q", 4).expect("read"), None);
            assert_eq!(
                [states.newest("p").expect("read"), states.newest("q").expect("read")],
                [4, 0]
            );
        }
    }

    #[test]
    fn a_state_is_kept_until_the_disk_has_a_commit_with_a_later_one() {
        let begun = Instant::now();
        let mut landed = Landed::begin(7, begun);
        let after = |seconds| begun + Duration::from_secs(seconds);
        landed.add(8, 70, after(10));
        landed.add(9, 100, after(20));
        assert_eq!(landed.bytes(), 170);
        assert_eq!([0, 20, 179, 180].map(|now| landed.oldest(after(now))), [0, 0, 0, 7]);
        assert_eq!([189, 190, 199, 200].map(|now| landed.oldest(after(now))), [7, 8, 8, 9]);
        // However long nothing lands, the last one is what the table names.
        assert_eq!(landed.oldest(after(100_000)), 9);
        landed.add(12, 1, after(100_000));
        assert_eq!(landed.bytes(), 101);
        assert_eq!(landed.oldest(after(100_001)), 9);
    }

    #[test]
    fn once_the_table_is_synced_only_the_state_that_it_names_is_kept() {
        let begun = Instant::now();
        let mut landed = Landed::begin(7, begun);
        landed.synced();
        assert_eq!((landed.oldest(begun), landed.kept_bytes()), (7, 0));
        landed.add(8, 70, begun);
        landed.add(9, 100, begun);
        assert_eq!((landed.oldest(begun), landed.kept_bytes()), (7, 170));
        landed.synced();
        assert_eq!((landed.oldest(begun), landed.kept_bytes()), (9, 100));
        // What is written lately is no less for it.
        assert_eq!(landed.bytes(), 170);
        landed.add(10, 1, begun);
        assert_eq!((landed.oldest(begun), landed.kept_bytes()), (9, 101));
    }
}
