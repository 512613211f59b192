//! The decision loop's work: batch by batch, in order of arrival, appended before anybody hears of it.
//!
//! **Invariant:** what an answer says is on the stream and synced before it is given. The cache moves
//! first; where the append fails the loop ends and the node starts anew from the stream, so a
//! movement without a record cannot outlive the process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use domain::id::{AuthorisationId, HouseholdId, RecipientId, RecordId};
use ingest::{
    clock::Clock,
    log::Log,
    record::{Record, Stored},
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};
use tokio::sync::{oneshot, watch};

use crate::{
    cache::{Cache, CacheError, Reserved},
    claims::{Claims, Ticket, body_hash, key_of},
    command::{Change, Command, Refusal},
    error::AuthoriserError,
    fence::{Fence, FenceError, Stamp},
    history::History,
    index::{Held, Index},
    kept::Kept,
    metrics::Metrics,
    refresh::Registers,
    reply::Reply,
    upload,
};

mod batch;
mod decide;
mod moves;
mod open;

/// What the authoriser is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a reservation lasts.
    pub hold: chrono::TimeDelta,
}

impl Default for Settings {
    fn default() -> Self {
        Self { hold: chrono::TimeDelta::minutes(15) }
    }
}

/// What every part of an authoriser works over.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The streams.
    pub log: Arc<dyn Log>,
    /// The keys of pseudonyms.
    pub vault: Vault,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// What operators see.
    pub metrics: Metrics,
    /// What each key did.
    pub index: Arc<Index>,
    /// Whose turn each key is.
    pub claims: Arc<Claims>,
    /// What stands between a lost cache and the stream.
    pub fence: Arc<Fence>,
}

/// Decides, over one cache.
#[derive(Debug)]
pub struct Authoriser<C> {
    parts: Parts,
    settings: Settings,
    registers: Registers,
    cache: C,
    kept: Kept,
    /// Reservations by the instant of their end.
    held: BTreeSet<Held>,
    uploads_next: u64,
    batches: u64,
    /// The number of the last record that was decided.
    order: u64,
    /// Who moved and has not brought everything yet, with the household that was left, if known.
    moving: BTreeMap<RecipientId, Option<HouseholdId>>,
    /// Whether somebody could not bring it, so that limits cannot be read in this batch.
    behind: bool,
    /// In which household a batch wants a recipient, where the cache keeps it in one.
    seats: HashMap<RecipientId, HouseholdId>,
    /// How often what was decided had to be forgotten; whoever appends tells.
    era: u64,
    /// On which counters the last batch was decided.
    stamp: Stamp,
    /// The last batch that had something to append or to answer.
    sent: u64,
    marks: Marks,
}

/// A command with whoever waits for it.
#[derive(Debug)]
pub struct Job {
    /// What is asked.
    pub command: Command,
    /// The claimed key, and of a reversal of nothing also the key that it blocks.
    pub tickets: Vec<Ticket>,
    /// Where the answer goes, beside whoever waits for the key.
    pub reply: Option<oneshot::Sender<Result<Reply, Refusal>>>,
    /// Where reading uploads goes on, when this is one.
    pub uploads_next: Option<u64>,
}

/// What a batch leaves to be appended, and the answers that follow.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Which batch it is.
    pub sequence: u64,
    /// In which era it was decided.
    pub era: u64,
    /// On which counters, and by whom.
    pub stamp: Stamp,
    /// Whether anything of it stands on counters.
    pub fenced: bool,
    /// The records, in order.
    pub records: Vec<Record>,
    /// The answers; where one has a record, its place among them.
    pub answers: Vec<Answer>,
    /// The latest instant that was decided.
    pub latest: Option<DateTime<Utc>>,
}

/// An answer that waits for its record to be durable.
#[derive(Debug)]
pub struct Answer {
    tickets: Vec<Ticket>,
    reply: Option<oneshot::Sender<Result<Reply, Refusal>>>,
    result: Result<Reply, Refusal>,
    /// The record that made it; none where it changed nothing.
    record: Option<usize>,
}

/// What became of some uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Decided and on the stream.
    pub decided: usize,
    /// Passed over: a key that came again.
    pub passed_over: usize,
    /// The latest instant that was decided.
    pub latest: Option<DateTime<Utc>>,
}

impl<C: Cache> Authoriser<C> {
    /// An authoriser over a cache that is as the index says.
    ///
    /// # Errors
    /// Where a stream cannot be read or holds what this version did not write.
    pub async fn open(parts: Parts, settings: Settings, cache: C) -> Result<Self, AuthoriserError> {
        let held = parts.index.held()?.into_iter().collect();
        let uploads_next = parts.index.uploads_next();
        let order = last_number(&parts).await?;
        let registers = Registers::new()?;
        let kept = Kept::default();
        let marks = Marks {
            indexed: kept.indexed(),
            eras: Arc::default(),
            dealt: Arc::new(watch::Sender::new(0)),
        };
        let stamp = cache.stamp();
        let mut authoriser = Self {
            parts,
            settings,
            registers,
            cache,
            kept,
            held,
            uploads_next,
            batches: 0,
            order,
            moving: BTreeMap::new(),
            behind: false,
            seats: HashMap::new(),
            era: 0,
            stamp,
            sent: 0,
            marks,
        };
        authoriser.registers.refresh(&authoriser.parts.log).await?;
        authoriser.find_moved()?;
        Ok(authoriser)
    }

    /// The registers that decisions look things up in.
    #[must_use]
    pub const fn registers(&self) -> &Registers {
        &self.registers
    }

    /// What it works over.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Reads what is new of rules, means and entitlements.
    ///
    /// # Errors
    /// Where a stream cannot be read.
    pub async fn refresh(&mut self) -> Result<(), AuthoriserError> {
        self.registers.refresh(&self.parts.log).await
    }

    /// Decides at most `most` uploads, in the order of their stream, and appends the decisions in
    /// one batch; nothing to decide gives zeros.
    ///
    /// # Errors
    /// Where a stream or the cache fails; this authoriser must not be used any more then.
    pub async fn decide_uploads(&mut self, most: usize) -> Result<Progress, AuthoriserError> {
        let (jobs, passed_over) = self.take_uploads(most).await?;
        let outgoing = self.decide(jobs).await?;
        let decided = outgoing.records.len();
        let progress = Progress { decided, passed_over, latest: outgoing.latest };
        append(&self.parts, outgoing, &self.marks()).await?;
        Ok(progress)
    }

    /// The next uploads as jobs, and how many were passed over because their key was used before.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read.
    pub async fn take_uploads(
        &mut self,
        most: usize,
    ) -> Result<(Vec<Job>, usize), AuthoriserError> {
        let topic = Topic::TerminalTransactions;
        let uploads = self.parts.log.read(topic, 0, self.uploads_next, most).await?;
        let (mut jobs, mut passed_over) = (Vec::with_capacity(uploads.len()), 0);
        for stored in &uploads {
            match self.take_upload(stored).await? {
                ControlFlow::Continue(Some(job)) => jobs.push(job),
                ControlFlow::Continue(None) => passed_over += 1,
                // Uploads keep their order: it is read again, and so are those after it.
                ControlFlow::Break(()) => break,
            }
            self.uploads_next = stored.position.offset + 1;
        }
        Ok((jobs, passed_over))
    }

    /// An upload as a job; none where its key was used before. It breaks off where somebody asks
    /// under the key: what comes of that is the upload's verdict, unless it is refused.
    async fn take_upload(
        &self,
        stored: &Stored,
    ) -> Result<ControlFlow<(), Option<Job>>, AuthoriserError> {
        let passed_over = ControlFlow::Continue(None);
        let Event::TransactionUploaded(upload) = &stored.record.event else {
            return Ok(passed_over);
        };
        let key = key_of(&upload.terminal_id, &upload.idempotency_key);
        let body = body_hash(&upload.body_hash);
        let ticket = match self.parts.claims.claim_upload(key, body) {
            ControlFlow::Continue(Some(ticket)) => ticket,
            ControlFlow::Continue(None) => return Ok(passed_over),
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        };
        if let Some((body, reply)) = stored_reply(&self.parts, key).await? {
            ticket.known(body, reply);
            return Ok(passed_over);
        }
        let Some(request) = upload::request(upload) else {
            ticket.refused(Refusal::UnknownTerminal);
            return Ok(passed_over);
        };
        Ok(ControlFlow::Continue(Some(Job {
            command: Command::Decide(Box::new(request)),
            tickets: vec![ticket],
            reply: None,
            uploads_next: Some(stored.position.offset + 1),
        })))
    }

    /// What whoever appends tells this authoriser.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.marks.clone()
    }

    /// Forgets what was decided and could not be appended, because its counters were lost: what is
    /// on the stream is what there is.
    async fn begin_era(&mut self) -> Result<(), AuthoriserError> {
        if self.marks.eras.load(Ordering::Acquire) == self.era {
            return Ok(());
        }
        self.begin_anew().await
    }

    /// Remembers nothing but what is on the stream. Where the counters are others this is due even
    /// if nothing of its own was refused: that another authoriser was faster with a step was known
    /// there alone.
    async fn begin_anew(&mut self) -> Result<(), AuthoriserError> {
        self.era = self.marks.eras.load(Ordering::Acquire);
        self.parts.index.catch_up(&self.parts.log).await?;
        self.kept.clear();
        self.held = self.parts.index.held()?.into_iter().collect();
        self.uploads_next = self.parts.index.uploads_next();
        Ok(())
    }

    /// Gives back what it holds of the cache.
    ///
    /// # Errors
    /// Where the cache cannot take it.
    pub async fn close(mut self) -> Result<(), AuthoriserError> {
        Ok(self.cache.close().await?)
    }

    /// The history of an authorisation: kept in memory, or read from the stream.
    async fn history(&mut self, id: AuthorisationId) -> Result<Option<History>, AuthoriserError> {
        if let Some(history) = self.kept.get(id) {
            return Ok(Some(history.clone()));
        }
        read_history(&self.parts, id, u32::MAX).await
    }
}

/// The last number of a record, so that a clock set back does not number later ones below it.
async fn last_number(parts: &Parts) -> Result<u64, AuthoriserError> {
    let topic = Topic::Authorisations;
    let mut last = 0;
    for partition in 0..parts.log.partitions(topic) {
        let newest = parts.log.end(topic, partition)?.saturating_sub(1);
        let newest = newest.max(parts.log.start(topic, partition)?);
        for stored in parts.log.read(topic, partition, newest, 1).await? {
            last = last.max(stored.record.order());
        }
    }
    Ok(last)
}

/// What whoever appends tells the authoriser that decided.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Up to which batch the index has everything.
    pub indexed: Arc<AtomicU64>,
    /// How often a batch was refused at the fence.
    pub eras: Arc<AtomicU64>,
    /// Up to which batch all were appended or refused.
    pub dealt: Arc<watch::Sender<u64>>,
}

/// Appends what a batch left, brings the index up to it, and answers.
///
/// # Errors
/// Where the stream or the index cannot be written; nobody is answered then.
pub async fn append(
    parts: &Parts,
    mut outgoing: Outgoing,
    marks: &Marks,
) -> Result<(), AuthoriserError> {
    let sequence = outgoing.sequence;
    let records = std::mem::take(&mut outgoing.records);
    let stored = append_records(parts, records, &mut outgoing, marks).await?;
    marks.dealt.send_replace(sequence);
    let Some(stored) = stored else {
        outgoing.refuse_all();
        return Ok(());
    };
    if !parts.index.apply(&stored)? {
        parts.index.catch_up(&parts.log).await?;
    }
    marks.indexed.store(sequence, Ordering::Release);
    outgoing.give(&stored);
    Ok(())
}

/// Appends records behind the fence; `None` where their counters were lost meanwhile, so that they
/// are decided again.
///
/// # Errors
/// Where the stream cannot be appended to.
pub async fn append_records(
    parts: &Parts,
    records: Vec<Record>,
    decided: &mut Outgoing,
    marks: &Marks,
) -> Result<Option<Vec<Stored>>, AuthoriserError> {
    if decided.era < marks.eras.load(Ordering::Acquire) {
        return Ok(None);
    }
    if records.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let topic = Topic::Authorisations;
    let mut stamp = decided.stamp;
    if !decided.fenced {
        stamp.generation = parts.fence.generation();
    }
    let count = records.len();
    match parts.fence.append(stamp, &parts.log, topic, records).await {
        Ok(stored) => {
            parts.metrics.recorded(&stored);
            Ok(Some(stored))
        }
        Err(FenceError::Stale) => {
            parts.metrics.counters_lost(count);
            marks.eras.fetch_max(decided.era + 1, Ordering::AcqRel);
            Ok(None)
        }
        Err(FenceError::Log(error)) => Err(error.into()),
        Err(FenceError::Lost) => Err(AuthoriserError::Stopped),
    }
}

impl Outgoing {
    /// Whether there is nothing to append and nobody to answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.answers.is_empty()
    }

    /// Whether a later batch may be appended with this one.
    #[must_use]
    pub fn is_followed_by(&self, later: &Self) -> bool {
        self.era == later.era && self.stamp == later.stamp && self.fenced == later.fenced
    }

    /// Takes a later batch behind this one.
    pub fn follow(&mut self, later: Self) {
        let before = self.records.len();
        self.sequence = later.sequence;
        self.latest = self.latest.max(later.latest);
        self.records.extend(later.records);
        self.answers.extend(later.answers.into_iter().map(|mut answer| {
            answer.record = answer.record.map(|place| place + before);
            answer
        }));
    }

    /// Gives the answers, now that the records are on the stream.
    pub fn give(self, stored: &[Stored]) {
        self.answers.into_iter().for_each(|answer| answer.give(stored));
    }

    /// Tells everybody to ask again: nothing of this batch has happened.
    pub fn refuse_all(self) {
        for mut answer in self.answers {
            if answer.record.is_some() || answer.result.is_ok() {
                answer.result = Err(Refusal::Away);
            }
            answer.give(&[]);
        }
    }
}

impl Answer {
    /// An answer that has no record.
    fn of(job: Job, result: Result<Reply, Refusal>) -> Self {
        let Job { tickets, reply, .. } = job;
        Self { tickets, reply, result, record: None }
    }

    /// Gives the answer, now that its record stands at its place.
    fn give(self, stored: &[Stored]) {
        let position = self.record.and_then(|place| stored.get(place)).map(|of| of.position);
        for ticket in self.tickets {
            match (&self.result, position) {
                (Ok(reply), Some(position)) => ticket.decided(reply.clone(), position),
                (Ok(reply), None) => {
                    let body = ticket.body();
                    ticket.known(body, reply.clone());
                }
                (Err(refusal), _) => ticket.refused(refusal.clone()),
            }
        }
        if let Some(reply) = self.reply {
            // Who does not wait any more needs no answer.
            let _ = reply.send(self.result);
        }
    }
}

/// What the index knows of a key, as the answer that it had.
///
/// # Errors
/// Where index or stream cannot be read.
pub async fn stored_reply(
    parts: &Parts,
    key: RecordId,
) -> Result<Option<([u8; 16], Reply)>, AuthoriserError> {
    let Some(used) = parts.index.key(key)? else { return Ok(None) };
    let place = used.position;
    let read = parts.log.read(Topic::Authorisations, place.partition, place.offset, 1).await?;
    let broken = || AuthoriserError::Record { offset: place.offset };
    let stored = read.into_iter().next().ok_or_else(broken)?;
    let reply = match stored.record.event {
        Event::AuthorisationDecided(event) => Reply::Authorisation(History::of(event)),
        Event::AuthorisationChanged(event) => {
            let id = AuthorisationId::parse(&event.authorisation_id).ok_or_else(broken)?;
            let history = read_history(parts, id, event.step).await?;
            Reply::Authorisation(history.ok_or_else(broken)?)
        }
        Event::KeyBlocked(event) => Reply::Blocked(Arc::new(event)),
        _ => return Err(broken()),
    };
    Ok(Some((used.body, reply)))
}

/// An authorisation's records up to a step, from index and stream.
///
/// # Errors
/// Where index or stream cannot be read.
pub async fn read_history(
    parts: &Parts,
    id: AuthorisationId,
    last_step: u32,
) -> Result<Option<History>, AuthoriserError> {
    let Some(used) = parts.index.key(RecordId::from_u128(id.as_u128()))? else {
        return Ok(None);
    };
    let mut positions = vec![used.position];
    positions.extend(parts.index.changes(id)?);
    let mut history: Option<History> = None;
    for place in positions {
        let read = parts.log.read(Topic::Authorisations, place.partition, place.offset, 1).await?;
        match (read.into_iter().next().map(|stored| stored.record.event), &mut history) {
            (Some(Event::AuthorisationDecided(event)), None) => {
                history = Some(History::of(event));
            }
            (Some(Event::AuthorisationChanged(event)), Some(history)) => {
                if event.step <= last_step {
                    history.changes.push(event);
                }
            }
            // The id is that of a key which did something else.
            _ => return Ok(None),
        }
    }
    Ok(history)
}
