//! The authoriser as others use it: a handle to ask, a thread that decides, a task that appends.
//!
//! The thread has a runtime of its own, so that nobody's query slows a till. While one batch is
//! being synced the next is decided; what was decided meanwhile goes under one sync.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use domain::{
    basket::{Mode, Request},
    id::{AuthorisationId, IdempotencyKey, RecordId},
};
use ingest::topic::Topic;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    authorise::{Authoriser, Job, Marks, Outgoing, Parts, append_records, stored_reply},
    cache::Cache,
    claims::{BodyHash, Claim, Ticket, key_of},
    command::{Caller, Change, Command, Refusal, What},
    error::AuthoriserError,
    history::History,
    refresh::People,
    reply::Reply,
    rules::RuleSet,
};

mod entering;
mod steps;
mod writes;

use writes::Writes;

/// Requests that wait to be decided.
const QUEUE: usize = 4_096;
/// Requests decided at once: so many share one turn of the cache.
const BATCH: usize = 512;
/// Batches decided ahead of the one that is being synced.
const AHEAD: usize = 4;
/// Records appended under one answer of the log.
const APPENDED_AT_ONCE: usize = 4_096;
/// How long nothing may come before rules, uploads and ends of reservations are looked at anyway.
const PAUSE: Duration = Duration::from_millis(100);
/// How long somebody waits for an answer, at most: a terminal goes on by itself sooner.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far a request's instant may be from ours.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Online, at most this far from now; none lifts the bound.
    pub online: Option<TimeDelta>,
    /// An upload, at most so many days ago: as long as keys are kept at least.
    pub horizon_days: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { online: Some(TimeDelta::minutes(10)), horizon_days: 40 }
    }
}

/// Asks the authoriser.
#[derive(Clone, Debug)]
pub struct Handle {
    parts: Parts,
    queue: mpsc::Sender<Job>,
    bounds: Bounds,
    rules: watch::Receiver<Arc<RuleSet>>,
    people: Arc<RwLock<People>>,
    writes: Arc<Writes>,
}

/// Where the parts of an authoriser run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The decision loop on a thread of its own, the index on one for what blocks.
    Apart,
    /// Everything in turns on the caller's runtime.
    InTurns,
}

/// An authoriser at work.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    decides: oneshot::Receiver<Result<(), AuthoriserError>>,
    appends: tokio::task::JoinHandle<Result<(), AuthoriserError>>,
}

/// Starts an authoriser.
///
/// # Errors
/// Where no thread can be started.
pub fn start<C: Cache>(
    authoriser: Authoriser<C>,
    bounds: Bounds,
) -> Result<(Handle, Running), AuthoriserError> {
    let (loops, handle, running) = prepare(authoriser, bounds, Place::Apart);
    let Loop { authoriser, jobs, out, told, stopped, ended } = loops;
    std::thread::Builder::new()
        .name("authoriser".into())
        .spawn(move || {
            // Whoever started it may be gone by the time it ends.
            let _ = ended.send(decide(authoriser, jobs, out, told, stopped));
        })
        .map_err(AuthoriserError::Thread)?;
    Ok((handle, running))
}

/// Starts an authoriser of which all parts take turns on the caller's runtime: for simulation, where
/// one thread and the clock passed in decide what comes when.
pub fn start_in_turns<C: Cache + Sync>(
    authoriser: Authoriser<C>,
    bounds: Bounds,
) -> (Handle, Running) {
    let (loops, handle, running) = prepare(authoriser, bounds, Place::InTurns);
    let Loop { authoriser, jobs, out, told, stopped, ended } = loops;
    tokio::spawn(async move {
        let _ = ended.send(turns(authoriser, jobs, out, told, stopped).await);
    });
    (handle, running)
}

/// What the decision loop begins with.
struct Loop<C> {
    authoriser: Authoriser<C>,
    jobs: mpsc::Receiver<Job>,
    out: mpsc::Sender<Outgoing>,
    told: watch::Sender<Arc<RuleSet>>,
    stopped: watch::Receiver<bool>,
    ended: oneshot::Sender<Result<(), AuthoriserError>>,
}

/// Starts whoever appends, and gives what the decision loop begins with.
fn prepare<C: Cache>(
    authoriser: Authoriser<C>,
    bounds: Bounds,
    place: Place,
) -> (Loop<C>, Handle, Running) {
    let parts = authoriser.parts().clone();
    let (queue, jobs) = mpsc::channel(QUEUE);
    let (stop, stopped) = watch::channel(false);
    let (out, outgoing) = mpsc::channel(AHEAD);
    let (ended, decides) = oneshot::channel();
    let marks = authoriser.marks();
    let people = Arc::clone(authoriser.registers().people());
    let (told, rules) = watch::channel(Arc::clone(authoriser.registers().rules()));
    let writes = Arc::new(Writes::default());
    let appending = append(parts.clone(), outgoing, marks.clone(), (place, Arc::clone(&writes)));
    let appends = tokio::spawn(async move {
        let ended = appending.await;
        // Nobody waits for what is not appended any more.
        marks.dealt.send_replace(u64::MAX);
        ended
    });
    let loops = Loop { authoriser, jobs, out, told, stopped, ended };
    let handle = Handle { parts, queue, bounds, rules, people, writes };
    (loops, handle, Running { stop, decides, appends })
}

/// The thread's work, on a runtime of its own.
fn decide<C: Cache>(
    authoriser: Authoriser<C>,
    jobs: mpsc::Receiver<Job>,
    out: mpsc::Sender<Outgoing>,
    rules: watch::Sender<Arc<RuleSet>>,
    stop: watch::Receiver<bool>,
) -> Result<(), AuthoriserError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AuthoriserError::Thread)?.block_on(turns(authoriser, jobs, out, rules, stop))
}

/// Takes what has come, decides it, hands it over; in order of arrival.
async fn turns<C: Cache>(
    mut authoriser: Authoriser<C>,
    mut jobs: mpsc::Receiver<Job>,
    out: mpsc::Sender<Outgoing>,
    rules: watch::Sender<Arc<RuleSet>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), AuthoriserError> {
    let mut uploads = authoriser.parts().log.subscribe(Topic::TerminalTransactions);
    let clock = Arc::clone(&authoriser.parts().clock);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let more = tokio::select! {
            biased;
            stopped = stop.wait_for(|stop| *stop) => {
                // Whether it was said or its sender is gone, this is the end.
                let _ = stopped;
                break;
            }
            taken = jobs.recv_many(&mut batch, BATCH) => taken > 0,
            changed = uploads.changed() => changed.is_ok(),
            () = clock.sleep(PAUSE) => true,
        };
        if !more {
            break;
        }
        let started = Instant::now();
        let (taken, _) = authoriser.take_uploads(BATCH).await?;
        batch.extend(taken);
        let requests = batch.len();
        let outgoing = authoriser.decide(std::mem::take(&mut batch)).await?;
        steps::decided(&outgoing.records, started.elapsed());
        let (parts, registers) = (authoriser.parts(), authoriser.registers());
        parts.metrics.turned(requests, started.elapsed());
        parts.metrics.refreshed(parts.clock.now(), registers.registry_version());
        let now = registers.rules();
        rules.send_if_modified(|known| {
            let changed = !Arc::ptr_eq(known, now);
            known.clone_from(now);
            changed
        });
        // The appender has failed; its error is the one to tell.
        if !outgoing.is_empty() && out.send(outgoing).await.is_err() {
            break;
        }
    }
    authoriser.close().await
}

/// Appends what was decided, answers, and brings the index up to it.
async fn append(
    parts: Parts,
    mut batches: mpsc::Receiver<Outgoing>,
    marks: Marks,
    (place, writes): (Place, Arc<Writes>),
) -> Result<(), AuthoriserError> {
    let (entries, indexing) = entering::start(&parts, &marks, place);
    let mut next = None;
    loop {
        let Some(mut first) = (match next.take() {
            Some(first) => Some(first),
            None => batches.recv().await,
        }) else {
            break;
        };
        while first.records.len() < APPENDED_AT_ONCE {
            let Ok(later) = batches.try_recv() else { break };
            if !first.is_followed_by(&later) {
                next = Some(later);
                break;
            }
            first.follow(later);
        }
        let sequence = first.sequence;
        let records = std::mem::take(&mut first.records);
        let (started, is_write) = (Instant::now(), !records.is_empty());
        let stored = append_records(&parts, records, &mut first, &marks).await?;
        if is_write {
            writes.took(started.elapsed());
        }
        marks.dealt.send_replace(sequence);
        let Some(stored) = stored else {
            first.refuse_all();
            continue;
        };
        let took = started.elapsed();
        // Whoever waits is answered first.
        first.give(&stored);
        steps::appended(&stored, took);
        // The index thread has failed; its error is the one to tell.
        if entries.send((sequence, stored)).await.is_err() {
            break;
        }
    }
    drop(entries);
    indexing.await.unwrap_or(Err(AuthoriserError::Stopped))
}

impl Running {
    /// Lets what was taken be decided and appended, and ends.
    ///
    /// # Errors
    /// What ended it before.
    pub async fn stop(mut self) -> Result<(), AuthoriserError> {
        // One that has ended needs no word.
        let _ = self.stop.send(true);
        let decided = (&mut self.decides).await.unwrap_or(Err(AuthoriserError::Stopped));
        let appended = (&mut self.appends).await.unwrap_or(Err(AuthoriserError::Stopped));
        appended.and(decided)
    }

    /// Waits until it ends by itself, which it does only by failing.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> Result<(), AuthoriserError> {
        let ended = tokio::select! {
            ended = &mut self.appends => ended.unwrap_or(Err(AuthoriserError::Stopped)),
            ended = &mut self.decides => ended.unwrap_or(Err(AuthoriserError::Stopped)),
        };
        ended.and(Err(AuthoriserError::Stopped))
    }
}

impl Handle {
    /// Decides a basket.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then, unless it is [`Refusal::Late`].
    pub async fn authorise(&self, request: Request, body: BodyHash) -> Result<Reply, Refusal> {
        let key = key_of(request.terminal.as_str(), request.key.as_str());
        let command = || self.check_clock(&request).map(|()| Command::Decide(Box::new(request)));
        self.told("authorise", self.once(key, body, command)).await
    }

    /// Captures, voids or refunds.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then, unless it is [`Refusal::Late`].
    pub async fn change(&self, change: Change) -> Result<Reply, Refusal> {
        let caller = &change.caller;
        let key = key_of(caller.terminal.as_str(), caller.key.as_str());
        self.told("change", self.once(key, caller.body, || Ok(Command::Change(change)))).await
    }

    /// Undoes what a key did, or blocks it where nothing came under it.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then, unless it is [`Refusal::Late`].
    pub async fn reverse(&self, caller: Caller, key: IdempotencyKey) -> Result<Reply, Refusal> {
        self.told("reverse", self.undo(caller, key)).await
    }

    async fn undo(&self, caller: Caller, key: IdempotencyKey) -> Result<Reply, Refusal> {
        let own = key_of(caller.terminal.as_str(), caller.key.as_str());
        let undone = key_of(caller.terminal.as_str(), key.as_str());
        if own == undone {
            return Err(Refusal::KeyReused);
        }
        let ticket = match self.claim(own, caller.body).await? {
            Claimed::Known(reply) => return Ok(reply),
            Claimed::First(ticket) => ticket,
        };
        let (command, blocked) = match self.to_undo(&caller, undone, key).await {
            Ok(found) => found,
            Err(refusal) => {
                ticket.refused(refusal.clone());
                return Err(refusal);
            }
        };
        let mut tickets = vec![ticket];
        tickets.extend(blocked);
        self.submit(command, tickets).await
    }

    /// Where an authorisation stands; every record that shows in it is durable.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], and where the authoriser is stopping.
    pub async fn look_up(&self, id: AuthorisationId) -> Result<History, Refusal> {
        match self.in_time(self.submit(Command::LookUp(id), Vec::new())).await? {
            Reply::Authorisation(history) => Ok(history),
            Reply::Blocked(_) => Err(Refusal::NotFound),
        }
    }

    /// What an upload's key did already; none where it is new.
    ///
    /// # Errors
    /// Where it cannot be looked up.
    pub async fn known(&self, key: RecordId) -> Result<Option<(BodyHash, Reply)>, Refusal> {
        self.stored(key).await
    }

    /// Waits for what an upload under a key is decided to be. Called before the upload is appended,
    /// it misses nothing.
    #[must_use]
    pub fn watch(&self, key: RecordId) -> Claim {
        self.parts.claims.watch(key)
    }

    /// What an upload was decided to be. What the key did online stands, whatever the upload says.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn verdict(
        &self,
        watched: Claim,
        key: RecordId,
        body: BodyHash,
    ) -> Result<Reply, Refusal> {
        let (known, reply) = match watched {
            Claim::Known(known, reply) => (known, reply),
            Claim::Wait(waiting) => waiting.answer().await?,
            Claim::First(_) => return Err(Refusal::Stopped),
        };
        match not_blocked(key, reply)? {
            Reply::Authorisation(history)
                if history.decided.mode == Mode::Offline.code() && known != body =>
            {
                Err(Refusal::KeyReused)
            }
            reply => Ok(reply),
        }
    }

    /// The rules in force now.
    #[must_use]
    pub fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.borrow())
    }

    /// Means and memberships, as decisions see them.
    #[must_use]
    pub const fn people(&self) -> &Arc<RwLock<People>> {
        &self.people
    }

    /// What one write takes, undisturbed: no answer can come sooner.
    #[must_use]
    pub fn write(&self) -> Duration {
        self.writes.soonest()
    }

    /// The bounds of time.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What it works over.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Tells operators how full the queue is; called when they look.
    pub fn observe(&self) {
        let limit = self.queue.max_capacity();
        self.parts.metrics.queued(limit - self.queue.capacity(), limit);
    }

    async fn told(
        &self,
        command: &str,
        answer: impl Future<Output = Result<Reply, Refusal>>,
    ) -> Result<Reply, Refusal> {
        let answer = self.in_time(answer).await;
        answer.inspect_err(|refusal| self.parts.metrics.refused(command, refusal))
    }

    /// The answer, if it comes in time.
    async fn in_time(
        &self,
        answer: impl Future<Output = Result<Reply, Refusal>>,
    ) -> Result<Reply, Refusal> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.parts.clock.sleep(PATIENCE) => Err(Refusal::Late),
        }
    }

    /// One request of all under its key is decided; the others get its answer.
    async fn once(
        &self,
        key: RecordId,
        body: BodyHash,
        command: impl FnOnce() -> Result<Command, Refusal>,
    ) -> Result<Reply, Refusal> {
        match self.claim(key, body).await? {
            Claimed::Known(reply) => Ok(reply),
            Claimed::First(ticket) => match command() {
                Ok(command) => self.submit(command, vec![ticket]).await,
                Err(refusal) => {
                    ticket.refused(refusal.clone());
                    Err(refusal)
                }
            },
        }
    }

    async fn claim(&self, key: RecordId, body: BodyHash) -> Result<Claimed, Refusal> {
        let (known, reply) = match self.parts.claims.claim(key, Some(body)) {
            Claim::Known(known, reply) => (known, reply),
            Claim::Wait(waiting) if waiting.body.is_some_and(|other| other != body) => {
                return Err(Refusal::KeyReused);
            }
            Claim::Wait(waiting) => waiting.answer().await?,
            Claim::First(ticket) => match self.stored(key).await {
                Ok(None) => return Ok(Claimed::First(ticket)),
                Ok(Some((known, reply))) => {
                    ticket.known(known, reply.clone());
                    (known, reply)
                }
                Err(refusal) => {
                    ticket.refused(refusal.clone());
                    return Err(refusal);
                }
            },
        };
        let reply = not_blocked(key, reply)?;
        if known == body { Ok(Claimed::Known(reply)) } else { Err(Refusal::KeyReused) }
    }

    async fn stored(&self, key: RecordId) -> Result<Option<(BodyHash, Reply)>, Refusal> {
        stored_reply(&self.parts, key).await.map_err(|error| {
            tracing::error!(%error, "a used key cannot be looked up");
            Refusal::Stopped
        })
    }

    /// What undoing a key is: a change of what it did, or its blocking.
    async fn to_undo(
        &self,
        caller: &Caller,
        undone: RecordId,
        key: IdempotencyKey,
    ) -> Result<(Command, Option<Ticket>), Refusal> {
        loop {
            let reply = match self.parts.claims.claim(undone, None) {
                Claim::Known(_, reply) => reply,
                // What came of it is looked at again: it may have been refused.
                Claim::Wait(waiting) => {
                    let _ = waiting.answer().await;
                    continue;
                }
                Claim::First(ticket) => match self.stored(undone).await {
                    Ok(None) => return Ok((Command::Block(caller.clone(), key), Some(ticket))),
                    Ok(Some((body, reply))) => {
                        ticket.known(body, reply.clone());
                        reply
                    }
                    Err(refusal) => {
                        ticket.refused(refusal.clone());
                        return Err(refusal);
                    }
                },
            };
            let history = match reply {
                Reply::Authorisation(history) => history,
                Reply::Blocked(blocked) if blocked.reversed_key == key.as_str() => {
                    return Err(Refusal::KeyReversed);
                }
                Reply::Blocked(_) => return Err(Refusal::NotReversible { what: "reversal" }),
            };
            let last = history.changes.last().map(|change| change.transition.as_str());
            match last {
                Some("void") => return Err(Refusal::NotReversible { what: "void" }),
                Some("refund") => return Err(Refusal::NotReversible { what: "refund" }),
                _ => {}
            }
            let what = What::Reverse(key);
            let change = Change { caller: caller.clone(), id: history.id(), what };
            return Ok((Command::Change(change), None));
        }
    }

    async fn submit(&self, command: Command, tickets: Vec<Ticket>) -> Result<Reply, Refusal> {
        let (started, decides) = (Instant::now(), matches!(command, Command::Decide(_)));
        let (reply, answer) = oneshot::channel();
        let job = Job { command, tickets, reply: Some(reply), uploads_next: None };
        self.queue.send(job).await.map_err(|_| Refusal::Stopped)?;
        let answer = answer.await.unwrap_or(Err(Refusal::Stopped));
        if let (true, Ok(Reply::Authorisation(history))) = (decides, &answer) {
            let took = started.elapsed();
            self.parts.metrics.answered(&history.decided.decision, took);
            steps::authorised(&history.decided, took);
        }
        answer
    }

    fn check_clock(&self, request: &Request) -> Result<(), Refusal> {
        let Some(bound) = self.bounds.online.filter(|_| request.mode != Mode::Offline) else {
            return Ok(());
        };
        let off = request.occurred_at - self.parts.clock.now();
        if off.abs() > bound {
            return Err(Refusal::Clock { seconds: off.num_seconds() });
        }
        Ok(())
    }
}

enum Claimed {
    First(Ticket),
    Known(Reply),
}

/// A key that was reversed before anything came under it stays so.
fn not_blocked(key: RecordId, reply: Reply) -> Result<Reply, Refusal> {
    match &reply {
        Reply::Blocked(blocked) if key_of(&blocked.terminal_id, &blocked.reversed_key) == key => {
            Err(Refusal::KeyReversed)
        }
        _ => Ok(reply),
    }
}
