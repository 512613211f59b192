//! Whose turn a key is: of requests under one key one is decided, the others wait for its answer.
//!
//! A key is claimed before the index on disk is asked, and leaves memory only once the index has it,
//! so a key that was ever used is always found in one of the two.

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use domain::id::RecordId;
use ingest::record::{Position, outside_id};
use tokio::sync::oneshot;

use crate::{command::Refusal, index::Index, reply::Reply};

/// Answered keys that stay in memory, in all shards together, beyond those that the index has not.
/// Few: who retries is rare, and memory that is used again soon is fast memory.
const KEPT: usize = 4_096;
const SHARDS: usize = 16;

/// The hash of what a key was used for.
pub type BodyHash = [u8; 16];

/// The key of a terminal, as one number.
#[must_use]
pub fn key_of(terminal: &str, key: &str) -> RecordId {
    outside_id(terminal, key)
}

/// The hash of a body whatever its length, as records keep it.
#[must_use]
pub fn body_hash(bytes: &[u8]) -> BodyHash {
    let mut short = BodyHash::default();
    let length = bytes.len().min(short.len());
    short[..length].copy_from_slice(&bytes[..length]);
    short
}

/// What became of a claim.
type Settled = Result<(BodyHash, Reply), Refusal>;

#[derive(Debug)]
enum Entry {
    /// Somebody waits for what an upload under this key will be.
    Watched(Vec<oneshot::Sender<Settled>>),
    /// It is being decided, or will be once an upload is read again.
    Pending { body: Option<BodyHash>, turn: Turn, waiting: Vec<oneshot::Sender<Settled>> },
    /// It was decided.
    Done { body: BodyHash, reply: Reply },
}

/// Whose a pending key is.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Somebody's who asks; should that be refused, an upload for this body has it next.
    Asked { next: Option<BodyHash> },
    /// An upload's that is read again.
    Promised,
    /// An upload's.
    Upload,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<RecordId, Entry>,
    /// Answered keys in the order of their records, with where these stand.
    done: VecDeque<(RecordId, Position)>,
}

/// The keys in use and those used a short while ago.
#[derive(Debug)]
pub struct Claims {
    shards: Vec<Mutex<Shard>>,
    index: Arc<Index>,
}

/// What claiming a key gives.
#[derive(Debug)]
pub enum Claim {
    /// It is the first under this key: whoever holds the ticket decides.
    First(Ticket),
    /// It was decided: for this body, and so.
    Known(BodyHash, Reply),
    /// Another is being decided.
    Wait(Waiting),
}

/// The answer that another request under the same key will get.
#[derive(Debug)]
pub struct Waiting {
    /// What the other asked for; none where nobody has asked yet, or the key is being blocked.
    pub body: Option<BodyHash>,
    answer: oneshot::Receiver<Settled>,
}

impl Waiting {
    /// Waits for it.
    ///
    /// # Errors
    /// What refused it; [`Refusal::Stopped`] where its decider is gone.
    pub async fn answer(self) -> Settled {
        self.answer.await.unwrap_or(Err(Refusal::Stopped))
    }
}

/// The right to decide a key. Dropped without an answer, it gives the key free.
#[derive(Debug)]
pub struct Ticket {
    claims: Arc<Claims>,
    key: RecordId,
    body: Option<BodyHash>,
    open: bool,
}

impl Claims {
    /// No keys yet; what was used before is in the index.
    #[must_use]
    pub fn over(index: Arc<Index>) -> Arc<Self> {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Arc::new(Self { shards, index })
    }

    /// Claims a key for a body; for none, to block it.
    pub fn claim(self: &Arc<Self>, key: RecordId, body: Option<BodyHash>) -> Claim {
        self.with(key, |shard| {
            let waiting = match shard.entries.get_mut(&key) {
                Some(Entry::Done { body, reply }) => return Claim::Known(*body, reply.clone()),
                Some(Entry::Pending { body, waiting, .. }) => {
                    let (told, answer) = oneshot::channel();
                    waiting.push(told);
                    return Claim::Wait(Waiting { body: *body, answer });
                }
                Some(Entry::Watched(waiting)) => std::mem::take(waiting),
                None => Vec::new(),
            };
            let turn = Turn::Asked { next: None };
            shard.entries.insert(key, Entry::Pending { body, turn, waiting });
            Claim::First(Ticket { claims: Arc::clone(self), key, body, open: true })
        })
    }

    /// Claims a key for an upload; none where it was decided, or is another upload's. It breaks off
    /// where somebody asks under the key: should that be refused the upload has it next, so that
    /// whoever asks again and again keeps no upload waiting.
    pub fn claim_upload(
        self: &Arc<Self>,
        key: RecordId,
        body: BodyHash,
    ) -> ControlFlow<(), Option<Ticket>> {
        self.with(key, |shard| {
            let waiting = match shard.entries.get_mut(&key) {
                Some(Entry::Pending { turn: Turn::Asked { next }, .. }) => {
                    *next = Some(body);
                    return ControlFlow::Break(());
                }
                Some(Entry::Done { .. } | Entry::Pending { turn: Turn::Upload, .. }) => {
                    return ControlFlow::Continue(None);
                }
                Some(Entry::Watched(waiting) | Entry::Pending { waiting, .. }) => {
                    std::mem::take(waiting)
                }
                None => Vec::new(),
            };
            let body = Some(body);
            shard.entries.insert(key, Entry::Pending { body, turn: Turn::Upload, waiting });
            let claims = Arc::clone(self);
            ControlFlow::Continue(Some(Ticket { claims, key, body, open: true }))
        })
    }

    /// Waits for what an upload under this key will be, without claiming it.
    #[must_use]
    pub fn watch(&self, key: RecordId) -> Claim {
        self.with(key, |shard| {
            let (told, answer) = oneshot::channel();
            let body = match shard.entries.entry(key).or_insert(Entry::Watched(Vec::new())) {
                Entry::Done { body, reply } => return Claim::Known(*body, reply.clone()),
                Entry::Pending { body, waiting, .. } => {
                    waiting.push(told);
                    *body
                }
                Entry::Watched(waiting) => {
                    waiting.push(told);
                    None
                }
            };
            Claim::Wait(Waiting { body, answer })
        })
    }

    fn with<T>(&self, key: RecordId, act: impl FnOnce(&mut Shard) -> T) -> T {
        let place = usize::try_from(key.as_u128() % SHARDS as u128).unwrap_or(0);
        // A panic inside left at most one entry unfinished; its ticket gives it free.
        act(&mut self.shards[place].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn settle(&self, key: RecordId, settled: Settled, position: Option<Position>) {
        let waiting = self.with(key, |shard| {
            let before = match (&settled, position) {
                (Ok((body, reply)), Some(position)) => {
                    shard.done.push_back((key, position));
                    let done = Entry::Done { body: *body, reply: reply.clone() };
                    shard.entries.insert(key, done)
                }
                // Refused, or in the index already.
                _ => shard.entries.remove(&key),
            };
            if let Some(Entry::Pending { turn: Turn::Asked { next: Some(next) }, .. }) = &before
                && settled.is_err()
            {
                let (body, turn, waiting) = (Some(*next), Turn::Promised, Vec::new());
                shard.entries.insert(key, Entry::Pending { body, turn, waiting });
            }
            self.forget(shard);
            match before {
                Some(Entry::Pending { waiting, .. } | Entry::Watched(waiting)) => waiting,
                Some(Entry::Done { .. }) | None => Vec::new(),
            }
        });
        for told in waiting {
            // Who does not wait any more needs no answer.
            let _ = told.send(settled.clone());
        }
    }

    /// Forgets the oldest answered keys that the index has.
    fn forget(&self, shard: &mut Shard) {
        while shard.done.len() > KEPT / SHARDS {
            let Some((key, position)) = shard.done.front() else { break };
            if self.index.next(position.partition) <= position.offset {
                break;
            }
            shard.entries.remove(key);
            shard.done.pop_front();
        }
    }
}

impl Ticket {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> RecordId {
        self.key
    }

    /// What was asked for.
    #[must_use]
    pub fn body(&self) -> BodyHash {
        self.body.unwrap_or_default()
    }

    /// Answers everybody who waits: what was decided stands at `position`.
    pub fn decided(mut self, reply: Reply, position: Position) {
        self.open = false;
        self.claims.settle(self.key, Ok((self.body(), reply)), Some(position));
    }

    /// Answers everybody with what the index has of this key.
    pub fn known(mut self, body: BodyHash, reply: Reply) {
        self.open = false;
        self.claims.settle(self.key, Ok((body, reply)), None);
    }

    /// Tells everybody that it was refused; the key is free again.
    pub fn refused(mut self, refusal: Refusal) {
        self.open = false;
        self.claims.settle(self.key, Err(refusal), None);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.claims.settle(self.key, Err(Refusal::Stopped), None);
        }
    }
}
