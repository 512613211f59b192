//! A stopped node's log, opened to be read: up to what the disk has lost, and then it says where.
//!
//! The store cannot open a folder without writing to it. It cuts a journal off where that is damaged,
//! makes tables of what journals hold, merges them, and removes what it takes for left over. So it gets a
//! folder of its own (`linked`), without a thread that would merge anything, and the log stays as it is
//! found. Of a damaged table it gets what is whole (`mended`); a row that is lost is a gap in the
//! offsets, and is told as one. Whoever wants to append opens the log itself, which goes on over no
//! damage.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use chrono::{DateTime, Utc};
use fjall::Database;
use tokio::sync::watch;

use super::{
    ends, folder,
    journal::{self, Journal, Rest},
    linked::{KEYSPACES, Linked, NAMES, keyspaces},
    mended::Mended,
    space::Space,
    store,
    streams::{MISSING, Partition, Streams},
};
use crate::{
    error::LogError,
    folder::Claim,
    log::{Log, Pending},
    record::{Position, Record, Stored},
    topic::Topic,
};

/// Streams in a folder of this machine that no node has, to be read and no more.
#[derive(Debug)]
pub struct StoppedLog {
    streams: Streams,
    folder: PathBuf,
    damages: Vec<LogError>,
    /// Where the journals end to be whole, where they do.
    broken: Option<String>,
    /// Which tables of a stream have lost rows, where some have.
    lost: HashMap<Topic, String>,
    /// Why it is not known what a partition has behind its last record, or where it has none.
    unknown: HashMap<(Topic, u32), String>,
    /// Removed once the store is closed.
    _linked: Linked,
    /// Given back last.
    _claim: Option<Claim>,
}

/// The store over its own folder, and the streams that it cannot open.
struct Opened {
    database: Database,
    linked: Linked,
    closed: Vec<(OsString, fjall::Error)>,
}

impl StoppedLog {
    /// Opens the log in `folder`, in which nothing is changed.
    ///
    /// # Errors
    /// Where there is none, a node has it, or too much of it is damaged to tell its streams apart.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let opened = |source: io::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        let claim = folder::share(folder)?;
        let journals = journal::survey(folder).map_err(opened)?;
        let known = ends::known(folder).map_err(opened)?;
        let Opened { database, linked, closed } = Opened::over(folder, &journals)?;
        let there = database.list_keyspace_names();
        let space = Space::of(folder, 0).map_err(opened)?;
        let told = known.clone().unwrap_or_default();
        let streams = Streams::open(&database, folder, &told, space, Partition::told)?;
        let lost = lost(&streams, folder, linked.mended());
        let broken = journals.iter().find(|journal| journal.rest != Rest::Nothing);
        let damaged = broken.is_some_and(|journal| journal.rest == Rest::Damaged);
        let broken = broken.map(|journal| {
            format!(
                "the journal {} is not whole from byte {}",
                journal.path.display(),
                journal.whole
            )
        });
        let shut: Vec<String> = closed.iter().map(|(name, _)| shown(folder, name)).collect();
        let shut = format!("what lies in {} cannot be opened", shut.join(", "));
        let mut unknown = HashMap::new();
        for (topic, partition, _) in streams.ends() {
            let is_closed = !closed.is_empty() && there.iter().all(|name| **name != *topic.name());
            let reason = if is_closed {
                Some(shut.clone())
            } else if let Some(error) = streams.newest_error(topic, partition) {
                Some(format!("the newest records cannot be read: {error}"))
            } else {
                let ends = broken.as_ref().filter(|_| damaged).or_else(|| lost.get(&topic));
                let ends = ends.filter(|_| known.is_none());
                ends.map(|ends| format!("{ends}, and whether more followed is not known"))
            };
            unknown.extend(reason.map(|reason| ((topic, partition), reason)));
        }
        let journals = journals.into_iter().filter(|journal| journal.rest == Rest::Damaged);
        let mut damages: Vec<_> = journals
            .map(|Journal { path, whole: at, .. }| LogError::DamagedJournal { path, at })
            .collect();
        damages.extend(closed.into_iter().map(|(name, source)| LogError::Open {
            path: folder.join(KEYSPACES).join(name),
            source: Box::new(source),
        }));
        damages.extend(linked.mended().iter().map(|file| LogError::DamagedFile {
            path: folder.join(&file.place),
            lost: !file.lost.is_empty(),
        }));
        let folder = folder.to_path_buf();
        Ok(Self { streams, folder, damages, broken, lost, unknown, _linked: linked, _claim: claim })
    }

    /// What is damaged of the log as a whole. Of a single record only who reads it finds that out.
    #[must_use]
    pub fn damages(&self) -> &[LogError] {
        &self.damages
    }

    fn read_some(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let (stored, read) = self.streams.read_up_to(topic, partition, from, most);
        // What is wrong behind them is told to whoever reads on.
        if !stored.is_empty() || most == 0 {
            return Ok(stored);
        }
        let unknown = self.unknown.get(&(topic, partition));
        let (offset, reason) = match read {
            Ok(()) => match unknown {
                Some(unknown) => (self.streams.end(topic, partition), unknown.clone()),
                None => return Ok(stored),
            },
            Err(LogError::Engine { source, .. }) => (from, self.within(topic, &source.to_string())),
            Err(LogError::Damaged { offset, reason, .. }) => {
                let why = match unknown {
                    Some(unknown) => vec![unknown.as_str()],
                    None => self.losses(topic),
                };
                let is_told = reason == MISSING && !why.is_empty();
                let told = is_told.then(|| format!("{reason}: {}", why.join("; ")));
                (offset, told.unwrap_or_else(|| self.within(topic, &reason)))
            }
            Err(error) => return Err(error),
        };
        Err(LogError::damaged(topic, partition, offset, &reason))
    }

    /// What records of a stream may be missing by.
    fn losses(&self, topic: Topic) -> Vec<&str> {
        let losses = self.lost.get(&topic).into_iter().chain(&self.broken);
        losses.map(String::as_str).collect()
    }

    /// What is wrong with a stream's tables, and where they lie.
    fn within(&self, topic: Topic, reason: &str) -> String {
        format!("{reason}, in {}", shown(&self.folder, name(&self.streams, topic)))
    }
}

/// Which tables of each stream have lost rows. A partition of which they may have been the first then
/// begins at 0: what is lost was not let go of.
fn lost(streams: &Streams, folder: &Path, mended: &[Mended]) -> HashMap<Topic, String> {
    let mut told = HashMap::new();
    for topic in Topic::ALL {
        let place = Path::new(KEYSPACES).join(name(streams, topic));
        let of_topic = |file: &&Mended| file.place.starts_with(&place) && !file.lost.is_empty();
        let tables: Vec<&Mended> = mended.iter().filter(of_topic).collect();
        if tables.is_empty() {
            continue;
        }
        for (number, partition) in (0..).zip(&streams.stream(topic).partitions) {
            let start = partition.start.load(Ordering::Acquire);
            let mut lost = tables.iter().flat_map(|table| &table.lost);
            if start > 0 && lost.any(|lost| lost.may_hold_before(number, start)) {
                partition.start.store(0, Ordering::Release);
            }
        }
        let paths = tables.iter().map(|table| folder.join(&table.place).display().to_string());
        let paths: Vec<String> = paths.collect();
        told.insert(topic, format!("rows of {} are lost", paths.join(" and ")));
    }
    told
}

/// What the folder of a stream's tables is called.
fn name(streams: &Streams, topic: Topic) -> &OsStr {
    streams.stream(topic).blocks.path().file_name().unwrap_or_default()
}

fn shown(folder: &Path, name: &OsStr) -> String {
    folder.join(KEYSPACES).join(name).display().to_string()
}

impl Opened {
    fn over(folder: &Path, journals: &[Journal]) -> Result<Self, LogError> {
        let copied = |source: io::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        let linked = Linked::of(folder, journals, |_| true).map_err(copied)?;
        let source = match open(&linked) {
            Ok(database) => return Ok(Self { database, linked, closed: Vec::new() }),
            Err(source) => source,
        };
        // The store opens all streams or none, and does not say which one it cannot.
        let mut closed = Vec::new();
        for name in keyspaces(folder).map_err(copied)? {
            let alone = Linked::of(folder, &[], |other| other == name || other == NAMES);
            if let Err(error) = open(&alone.map_err(copied)?) {
                closed.push((name, error));
            }
        }
        let is_open = |name: &OsStr| closed.iter().all(|(closed, _)| closed != name);
        if closed.is_empty() || !is_open(OsStr::new(NAMES)) {
            return Err(LogError::Open { path: folder.to_path_buf(), source: Box::new(source) });
        }
        let linked = Linked::of(folder, journals, is_open).map_err(copied)?;
        let database = open(&linked).map_err(|source| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        })?;
        Ok(Self { database, linked, closed })
    }
}

/// Without a thread of its own the store makes no tables and merges none.
fn open(linked: &Linked) -> fjall::Result<Database> {
    store(linked.folder()).worker_threads_unchecked(0).open()
}

impl Log for StoppedLog {
    /// Nothing is ever taken.
    fn append<'a>(&'a self, _: Topic, _: &'a [Record]) -> Pending<'a, Vec<Position>> {
        Box::pin(std::future::ready(Err(LogError::Stopped { sync_failed: false })))
    }

    fn takes(&self) -> Result<(), LogError> {
        Err(LogError::Stopped { sync_failed: false })
    }

    /// Up to what cannot be read; whoever reads on from there hears why.
    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        Box::pin(std::future::ready(self.read_some(topic, partition, from, most)))
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        Ok(self.streams.end(topic, partition))
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        Ok(self.streams.start(topic, partition))
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        let found = self.streams.at(topic, partition, instant.timestamp_micros());
        Box::pin(std::future::ready(found))
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.streams.stream(topic).grown.subscribe()
    }
}
