//! Who may append, and on what: what stands between a lost cache and the stream.
//!
//! A record is decided on counters of one generation. Before a generation ends, every append on it
//! has ended; afterwards none begins. So whoever rebuilds from the stream in the next generation
//! reads all that the last one decided.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ingest::{
    error::LogError,
    log::Log,
    record::{Position, Record, Stored},
    topic::Topic,
};
use tokio::sync::RwLock;

/// How far apart what is decided looks for room on a full disk.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Bits for the generations of one start; with the starts above them they stay exact in Lua.
const GENERATIONS_OF_A_START: u32 = 32;

/// The start of a process in which a generation began.
#[must_use]
pub const fn start_of(generation: u64) -> u64 {
    generation >> GENERATIONS_OF_A_START
}

/// One decision loop, as the fence knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author(u64);

impl Author {
    /// Its number, unlike any other's of this process.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// On what a batch was decided, and by whom. The embedded cache knows but one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The decision loop.
    pub author: Author,
    /// The generation of the counters it read and moved.
    pub generation: u64,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Its counters are of a generation that has ended, or its author was given up for dead;
    /// nothing was appended, and everything in it is to be decided again.
    #[error("the batch was decided on counters that are no longer those in force")]
    Stale,
    /// The log failed.
    #[error("the batch could not be appended")]
    Log(#[from] LogError),
    /// The task that appends was lost; whether the batch stands in the log is not known.
    #[error("the append was lost on its way")]
    Lost,
}

/// The fence before one log, shared by all its authors.
#[derive(Debug)]
pub struct Fence {
    /// Appends read it while they are under way; a new generation writes it.
    gate: Arc<RwLock<()>>,
    generation: AtomicU64,
    next_author: AtomicU64,
    /// Valid authors, and when each was last heard of.
    authors: Mutex<HashMap<Author, Instant>>,
}

impl Fence {
    /// A fence for the `start`-th start of a process over its log, from 1: the number must be on
    /// the stream before anything is decided, and never come again, because counters of an earlier
    /// start may lie in Redis. 0 is for the embedded cache, which begins with nothing.
    #[must_use]
    pub fn new(start: u64) -> Arc<Self> {
        Arc::new(Self {
            gate: Arc::default(),
            generation: AtomicU64::new(start << GENERATIONS_OF_A_START),
            next_author: AtomicU64::new(1),
            authors: Mutex::new(HashMap::from([(Author::default(), Instant::now())])),
        })
    }

    /// The generation in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// A new author.
    #[must_use]
    pub fn enlist(&self) -> Author {
        let author = Author(self.next_author.fetch_add(1, Ordering::SeqCst));
        self.known().insert(author, Instant::now());
        author
    }

    /// The author lives. One that was revoked stays so.
    pub fn renew(&self, author: Author) {
        if let Some(heard) = self.known().get_mut(&author) {
            *heard = Instant::now();
        }
    }

    /// An author ends in order, with nothing under way.
    pub fn retire(&self, author: Author) {
        self.known().remove(&author);
    }

    /// Whether the author may append.
    #[must_use]
    pub fn is_valid(&self, author: Author) -> bool {
        self.known().contains_key(&author)
    }

    /// How many authors share this log, beside the embedded cache's.
    #[must_use]
    pub fn authors(&self) -> usize {
        self.known().len().saturating_sub(1)
    }

    /// Authors that were not heard of for so long.
    #[must_use]
    pub fn overdue(&self, silence: Duration) -> Vec<Author> {
        let known = self.known();
        let silent = |(author, heard): (&Author, &Instant)| {
            (author.0 > 0 && heard.elapsed() > silence).then_some(*author)
        };
        known.iter().filter_map(silent).collect()
    }

    /// Ends `seen`, the generation in which something was found lost: waits for the appends under
    /// way and begins the next. Does nothing where another has done so; gives what is in force.
    pub async fn advance(&self, seen: u64) -> u64 {
        let _alone = self.gate.write().await;
        let next = seen + 1;
        match self.generation.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => next,
            Err(current) => current,
        }
    }

    /// Gives up an author for dead: it appends no more, and because it may have moved counters for
    /// records that never come, a new generation begins.
    pub async fn revoke(&self, author: Author) -> u64 {
        let _alone = self.gate.write().await;
        if self.known().remove(&author).is_none() {
            return self.generation();
        }
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Appends a batch, unless what it was decided on has ended, and gives it back with where each
    /// record stands. The append goes on behind the fence even where the caller stops waiting.
    ///
    /// # Errors
    /// [`FenceError::Stale`] with nothing appended; else what the log says.
    pub async fn append(
        &self,
        stamp: Stamp,
        log: &Arc<dyn Log>,
        topic: Topic,
        records: Vec<Record>,
    ) -> Result<Vec<Stored>, FenceError> {
        let passing = Arc::clone(&self.gate).read_owned().await;
        if stamp.generation != self.generation() || !self.is_valid(stamp.author) {
            return Err(FenceError::Stale);
        }
        self.renew(stamp.author);
        let log = Arc::clone(log);
        let append = tokio::spawn(async move {
            let _passing = passing;
            let positions = append_given_room(&*log, topic, &records).await?;
            let stored = records.into_iter().zip(positions);
            Ok::<_, LogError>(
                stored.map(|(record, position)| Stored { position, record }).collect(),
            )
        });
        Ok(append.await.map_err(|_| FenceError::Lost)??)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Author, Instant>> {
        // Nothing between lock and unlock can leave the map half changed.
        self.authors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends what is decided already. Where the disk has become full since, it waits for room, however
/// long: nothing more is decided meanwhile, and whoever asks hears so.
async fn append_given_room(
    log: &dyn Log,
    topic: Topic,
    records: &[Record],
) -> Result<Vec<Position>, LogError> {
    let mut is_told = false;
    loop {
        match log.append(topic, records).await {
            Err(refused) if refused.nothing_written() => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::error!(error = %refused, "what was decided waits for room");
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_generation_ends_once_however_many_find_it_lost() {
        let fence = Fence::new(3);
        let first = fence.generation();
        assert_eq!(fence.advance(first).await, first + 1);
        assert_eq!(fence.advance(first).await, first + 1, "another has done so");
        assert!(Fence::new(4).generation() > first + 1000, "starts never share a number");
        assert_eq!(start_of(first + 1000), 3);
    }

    #[tokio::test]
    async fn a_revoked_author_stays_revoked() {
        let fence = Fence::new(1);
        let (dead, other) = (fence.enlist(), fence.enlist());
        let first = fence.generation();
        assert_eq!(fence.revoke(dead).await, first + 1);
        fence.renew(dead);
        assert!(!fence.is_valid(dead) && fence.is_valid(other));
        assert_eq!(fence.revoke(dead).await, first + 1, "once");
        assert_eq!(fence.authors(), 1);
        assert_eq!(fence.overdue(Duration::ZERO), [other]);
    }
}
