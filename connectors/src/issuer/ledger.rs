//! Every means as it is now, from the stream of its changes, and one change at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use domain::id::{MeansToken, RecordId};
use ingest::{
    error::LogError,
    log::{Log, READ_BATCH},
    record::{Record, Stored},
    register::issued::{Issued, Listed},
    topic::Topic,
    wire::v1::{Event, MeansChanged},
};
use tokio::sync::{Mutex, MutexGuard};

/// Registrations that are remembered by their keys.
const KEYS: usize = 1_000_000;
const TOPIC: Topic = Topic::MeansChanges;
/// Lists that are looked for at once.
static LOOKING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// The means, as new as their stream. It is read when they are first asked for.
#[derive(Debug)]
pub(super) struct Ledger {
    log: Arc<dyn Log>,
    issued: RwLock<Issued>,
    turn: Mutex<Turn>,
}

/// Whoever has it changes means, and nobody else.
#[derive(Debug, Default)]
pub(super) struct Turn {
    next: u64,
    keys: HashMap<RecordId, Registered>,
    order: VecDeque<RecordId>,
}

/// What a key was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    /// What it registered.
    pub(super) token: MeansToken,
    /// The keyed hash of the request.
    pub(super) request_hash: Vec<u8>,
}

/// A means, and which state of it that is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// What is known of it.
    pub(super) change: MeansChanged,
    /// The place of that record: another one after every change.
    pub(super) version: u64,
}

impl Ledger {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, issued: RwLock::default(), turn: Mutex::default() }
    }

    /// Waits for the turn to change means, with everything known that was changed before.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, Turn>, LogError> {
        let mut turn = self.turn.lock().await;
        self.catch_up(&mut turn).await?;
        Ok(turn)
    }

    /// Appends changes in one's turn, all or none, and answers once they are durable.
    pub(super) async fn append(&self, turn: &mut Turn, records: &[Record]) -> Result<(), LogError> {
        self.log.append(TOPIC, records).await?;
        self.catch_up(turn).await
    }

    /// A means as it is now.
    pub(super) async fn find(&self, token: MeansToken) -> Result<Option<Kept>, LogError> {
        drop(self.turn().await?);
        self.known(token).await
    }

    /// A means as it is in one's turn.
    pub(super) async fn known(&self, token: MeansToken) -> Result<Option<Kept>, LogError> {
        let place = self.read().get(token).map(|listed| listed.offset);
        match place {
            Some(place) => self.at(place).await,
            None => Ok(None),
        }
    }

    /// At most so many means that are wanted, after some token, in the order of the register.
    pub(super) async fn list(
        &self,
        after: Option<MeansToken>,
        most: usize,
        wanted: impl Fn(&Listed<'_>) -> bool,
    ) -> Result<Vec<Kept>, LogError> {
        drop(self.turn().await?);
        // Whoever has few means is looked for among all: that must not take the machine from the tills.
        let _turn = LOOKING.acquire().await;
        let first = after.map_or(0, Issued::part_of);
        let mut places = Vec::new();
        for part in first..Issued::PARTS {
            let after = after.filter(|_| part == first);
            places.extend(self.part(part, after, &wanted));
            if places.len() >= most {
                break;
            }
            // A nation's means take a while; others get their turn.
            tokio::task::yield_now().await;
        }
        let mut kept = Vec::new();
        for (_, place) in places.into_iter().take(most) {
            kept.extend(self.at(place).await?);
        }
        Ok(kept)
    }

    fn part(
        &self,
        part: usize,
        after: Option<MeansToken>,
        wanted: impl Fn(&Listed<'_>) -> bool,
    ) -> Vec<(MeansToken, u64)> {
        let issued = self.read();
        let rest = issued.part(part).filter(|of| after.is_none_or(|after| of.token > after));
        let mut found: Vec<_> = rest.filter(wanted).map(|of| (of.token, of.offset)).collect();
        found.sort_unstable();
        found
    }

    async fn at(&self, place: u64) -> Result<Option<Kept>, LogError> {
        let read = self.log.read(TOPIC, 0, place, 1).await?;
        let found = read.into_iter().find(|stored| stored.position.offset == place);
        Ok(found.and_then(|stored| match stored.record.event {
            Event::MeansChanged(change) => Some(Kept { change, version: place }),
            _ => None,
        }))
    }

    async fn catch_up(&self, turn: &mut Turn) -> Result<(), LogError> {
        let end = self.log.end(TOPIC, 0)?;
        turn.next = turn.next.max(self.log.start(TOPIC, 0)?);
        while turn.next < end {
            let batch = self.log.read(TOPIC, 0, turn.next, READ_BATCH).await?;
            let Some(last) = batch.last() else { break };
            let next = last.position.offset + 1;
            {
                let mut issued = self.write();
                batch.iter().for_each(|stored| issued.apply(stored));
            }
            batch.iter().for_each(|stored| turn.note(stored));
            turn.next = next;
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Issued> {
        self.issued.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Issued> {
        self.issued.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// What a key was used for, if it was.
    pub(super) fn registered(&self, key: RecordId) -> Option<&Registered> {
        self.keys.get(&key)
    }

    fn note(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        let Some(token) = MeansToken::parse(&change.token) else { return };
        if change.request_hash.is_empty() {
            return;
        }
        let registered = Registered { token, request_hash: change.request_hash.clone() };
        if self.keys.insert(stored.record.id, registered).is_none() {
            self.order.push_back(stored.record.id);
        }
        while self.order.len() > KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }
}
