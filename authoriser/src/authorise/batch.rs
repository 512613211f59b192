//! One batch through the cache: loaded once, decided in order, committed once; what conflicts or
//! touches the same authorisation twice goes round again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Answer, Authoriser, AuthoriserError, Cache, CacheError, Change, Command, HashSet, Held,
    History, Job, Outgoing, Record, Refusal, Reply, Reserved, decide::Prepared,
};
use crate::{
    cache::{Operation, Wanted},
    changes::{self, Acting, Next},
};
use domain::{authorisation::Status, id::AuthorisationId, limit::CounterKey};
use ingest::{
    error::LogError,
    record::number_at,
    wire::{
        Shared,
        v1::{self, Event},
    },
};

/// Reservations ended in one batch.
const MOST_ENDED: usize = 1_024;
/// How long another authoriser is given to append what it was faster with.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
/// How often one request is decided again because another was faster.
pub(super) const MOST_ROUNDS: usize = 64;

/// What a request will be once the cache has moved.
struct Step {
    job: Job,
    id: AuthorisationId,
    history: History,
    record: Record,
    /// Whether it stands without the cache: it reads no counter and moves none.
    stands: bool,
}

impl Step {
    /// The same without saying that the uploads before it are decided.
    fn alone(mut self) -> Self {
        if let Event::AuthorisationDecided(event) = &self.record.event
            && event.uploads_next.is_some()
        {
            let alone = v1::AuthorisationDecided { uploads_next: None, ..(**event).clone() };
            let alone = Shared::from(alone);
            self.history = History::of(alone.clone());
            self.record.event = Event::AuthorisationDecided(alone);
        }
        self
    }
}

/// What one round gathers.
#[derive(Default)]
struct Round {
    steps: Vec<Step>,
    again: VecDeque<Job>,
    budgets: Vec<(CounterKey, i64)>,
    touched: HashSet<AuthorisationId>,
    conflicts: bool,
    exists: bool,
    /// Whether an upload is decided again in the next round.
    uploads_wait: bool,
    /// Whether an upload was put off to another batch.
    uploads_off: bool,
}

impl Round {
    fn decide_again(&mut self, job: Job) {
        self.uploads_wait |= job.uploads_next.is_some();
        self.again.push_back(job);
    }
}

/// What loading came to.
pub(super) enum Loaded {
    /// The cache is as the last batch left it, or away.
    As(Result<(), CacheError>),
    /// It is another; everything is looked up again.
    Anew,
    /// It is another, and this batch has moved the last one.
    TooLate,
}

impl<C: Cache> Authoriser<C> {
    /// Ends what is due, then decides a batch.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read; this authoriser must not be used any more then.
    pub async fn decide(&mut self, jobs: Vec<Job>) -> Result<Outgoing, AuthoriserError> {
        self.begin_era().await?;
        self.registers.refresh(&self.parts.log).await?;
        self.batches += 1;
        self.seats.clear();
        let (era, stamp) = (self.era, self.stamp);
        let mut outgoing = Outgoing { sequence: self.batches, era, stamp, ..Outgoing::default() };
        let takes = self.parts.log.takes();
        self.behind = takes.is_err() || !self.follow_moves(&mut outgoing).await?;
        for _ in 0..MOST_ROUNDS {
            if self.behind || !self.end_due(&mut outgoing).await? {
                break;
            }
        }
        let mut waiting = VecDeque::from(jobs);
        if let Err(refused) = takes {
            waiting = self.refuse_without_room(waiting, &refused);
        }
        let mut budgets = Vec::new();
        for _ in 0..MOST_ROUNDS {
            if waiting.is_empty() {
                break;
            }
            let round = self.round(waiting, budgets, &mut outgoing).await?;
            (waiting, budgets) = (round.again, round.budgets);
            if round.conflicts {
                // Another authoriser was faster: what it did is on the stream, or will be soon.
                self.parts.clock.sleep(CONFLICT_PAUSE).await;
                self.parts.index.catch_up(&self.parts.log).await?;
            }
            if round.exists && outgoing.records.is_empty() {
                // Counters moved for a record that never came: they are those of no stream.
                self.parts.fence.advance(self.stamp.generation).await;
            }
        }
        for job in waiting {
            self.refuse_away(job, &mut outgoing);
        }
        if !outgoing.is_empty() {
            self.sent = outgoing.sequence;
        }
        self.number(&mut outgoing.records);
        Ok(outgoing)
    }

    /// Numbers records in the order in which they were decided, which their partitions do not tell:
    /// by their instant, and always rising.
    pub(super) fn number(&mut self, records: &mut [Record]) {
        let now = number_at(self.parts.clock.now());
        for record in records {
            self.order = now.max(self.order + 1);
            record.sequence = self.order;
        }
    }

    /// Loads what is wanted. Where that took up other counters than the last batch stood on, because
    /// those were lost, it waits until every earlier batch has been appended or refused, and begins
    /// anew from the stream: else what it moves now could stand beside what is refused then.
    pub(super) async fn load(
        &mut self,
        wanted: &[Wanted],
        outgoing: &mut Outgoing,
    ) -> Result<Loaded, AuthoriserError> {
        if self.cache.moves_somebody(wanted) {
            self.wait_until_dealt().await;
        }
        let loaded = self.cache.load(wanted).await;
        let stamp = self.cache.stamp();
        if stamp == self.stamp {
            return Ok(Loaded::As(loaded));
        }
        if !outgoing.records.is_empty() {
            // This batch itself stands on the lost ones, or is remembered nowhere else until it is
            // appended; the next one begins anew.
            return Ok(Loaded::TooLate);
        }
        self.wait_until_dealt().await;
        self.begin_anew().await?;
        self.stamp = stamp;
        (outgoing.era, outgoing.stamp) = (self.era, stamp);
        Ok(Loaded::Anew)
    }

    /// Tells that the cache could not take part. An upload is not lost: it is read again.
    fn refuse_away(&mut self, job: Job, outgoing: &mut Outgoing) {
        self.put_off(job, Refusal::Away, outgoing);
    }

    fn put_off(&mut self, job: Job, refusal: Refusal, outgoing: &mut Outgoing) {
        if job.uploads_next.is_none() {
            return outgoing.refuse(job, refusal);
        }
        // It is read again by the next batch, which passes over a key that is still claimed: so the
        // claim does not wait for what is appended before it.
        self.refuse_at_once(job, refusal);
    }

    /// Refuses a request behind nobody else; an upload is read again.
    fn refuse_at_once(&mut self, job: Job, refusal: Refusal) {
        if let Some(next) = job.uploads_next {
            self.uploads_next = self.uploads_next.min(next - 1);
        }
        Answer::of(job, Err(refusal)).give(&[]);
    }

    /// Refuses what would be recorded, at once: what was decided before may be waiting for room. Leaves
    /// what only looks something up.
    fn refuse_without_room(&mut self, waiting: VecDeque<Job>, refused: &LogError) -> VecDeque<Job> {
        let looks = |job: &Job| matches!(job.command, Command::LookUp(_));
        let (looking, asking): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(looks);
        if !asking.is_empty() {
            tracing::error!(error = %refused, requests = asking.len(), "nothing is decided");
        }
        asking.into_iter().for_each(|job| self.refuse_at_once(job, Refusal::NoRoom));
        looking
    }

    async fn round(
        &mut self,
        mut waiting: VecDeque<Job>,
        budgets: Vec<(CounterKey, i64)>,
        outgoing: &mut Outgoing,
    ) -> Result<Round, AuthoriserError> {
        let mut prepared: Vec<Option<Prepared>> =
            waiting.iter().map(|job| self.prepare(&job.command)).collect();
        let wanted = self.wanted(&mut waiting, &mut prepared, outgoing).await?;
        let loaded = match self.load(&wanted, outgoing).await? {
            // Who lives where is not counted yet.
            Loaded::As(_) if self.behind => Err(CacheError::Unknown { what: "who has moved" }),
            Loaded::As(loaded) => loaded,
            // What was looked up before may be gone.
            Loaded::Anew => {
                let again = std::mem::take(&mut waiting);
                return Ok(Round { again, budgets, ..Round::default() });
            }
            Loaded::TooLate => {
                waiting.into_iter().for_each(|job| self.refuse_away(job, outgoing));
                return Ok(Round::default());
            }
        };
        let gathered = match budgets.is_empty() || loaded.is_err() {
            true => Ok(()),
            false => self.cache.gather(&budgets).await,
        };
        let mut round = Round::default();
        for (job, prepared) in waiting.into_iter().zip(prepared) {
            let id = subject(&job.command, &job);
            // Uploads keep their order: where one has to wait, all after it wait.
            if round.uploads_wait && job.uploads_next.is_some() {
                round.decide_again(job);
                continue;
            }
            // A second step of one authorisation sees the first only once it holds.
            if !round.touched.insert(id) {
                round.again.push_back(job);
                continue;
            }
            match &job.command {
                Command::Decide(_) => {
                    let away = loaded.as_ref().err().or_else(|| {
                        let of_held = prepared.as_ref().is_some_and(|of| of.wants_any(&budgets));
                        let waits = round.uploads_off && job.uploads_next.is_some();
                        gathered.as_ref().err().filter(|_| of_held || waits)
                    });
                    round.uploads_off |= away.is_some() && job.uploads_next.is_some();
                    self.decide_one(job, id, prepared, away, &mut round, outgoing);
                }
                Command::Change(change) => {
                    let change = change.clone();
                    self.change_one(job, &change, loaded.is_err(), &mut round, outgoing).await?;
                }
                Command::Block(..) => outgoing.block(job, self.parts.clock.now()),
                Command::LookUp(_) => {
                    let found = self.history(id).await?;
                    outgoing.answer(job, found.map(Reply::Authorisation).ok_or(Refusal::NotFound));
                }
            }
        }
        let committed = match &loaded {
            // Only what stands without the cache was staged.
            Err(_) => Ok(vec![Reserved::Done; round.steps.len()]),
            Ok(()) => self.commit().await,
        };
        self.settle(&mut round, committed, outgoing);
        Ok(round)
    }

    /// Makes what was staged hold. A cache over the network tells of each of its round trips itself.
    async fn commit(&mut self) -> Result<Vec<Reserved>, CacheError> {
        let started = Instant::now();
        let committed = self.cache.commit().await;
        if !C::IS_LOADED {
            self.parts.metrics.cache_asked("embedded", "commit", started.elapsed());
        }
        committed
    }

    /// What a batch wants to read, for a cache that must be told before. There a recipient is in one
    /// household at a time: what wants it in another one waits for what is under way.
    async fn wanted(
        &mut self,
        waiting: &mut VecDeque<Job>,
        prepared: &mut Vec<Option<Prepared>>,
        outgoing: &mut Outgoing,
    ) -> Result<Vec<Wanted>, AuthoriserError> {
        let (mut all, mut uploads_wait) = (Vec::new(), false);
        if !C::IS_LOADED {
            return Ok(all);
        }
        let asked = std::mem::take(waiting).into_iter().zip(std::mem::take(prepared));
        for (job, found) in asked {
            let wanted = match (&job.command, &found) {
                (Command::Change(change), _) => {
                    self.history(change.id).await?.map(|history| history.wanted())
                }
                (_, found) => found.as_ref().map(|found| found.wanted.clone()),
            };
            let waits = wanted.as_ref().is_some_and(|wanted| !self.takes_seat(wanted));
            let is_upload = job.uploads_next.is_some();
            uploads_wait |= waits && is_upload;
            if waits || uploads_wait && is_upload {
                self.refuse_away(job, outgoing);
                continue;
            }
            all.extend(wanted);
            waiting.push_back(job);
            prepared.push(found);
        }
        Ok(all)
    }

    /// Notes in which household a batch wants recipients; false where one is wanted in another.
    fn takes_seat(&mut self, wanted: &Wanted) -> bool {
        let Some(household) = wanted.household else { return true };
        let mut recipients = wanted.recipients();
        recipients.all(|who| *self.seats.entry(who).or_insert(household) == household)
    }

    fn decide_one(
        &mut self,
        job: Job,
        id: AuthorisationId,
        prepared: Option<Prepared>,
        away: Option<&CacheError>,
        round: &mut Round,
        outgoing: &mut Outgoing,
    ) {
        let Command::Decide(request) = &job.command else { return };
        let Some(prepared) = prepared else {
            return outgoing.refuse(job, Refusal::UnknownTerminal);
        };
        if away.is_some() && (job.uploads_next.is_some() || !prepared.wants_nothing()) {
            return self.refuse_away(job, outgoing);
        }
        let mut decided = self.evaluate(request, &prepared);
        let part = prepared.cut_by_part(&decided, &self.cache);
        if !part.is_empty() {
            for budget in part {
                if !round.budgets.contains(&budget) {
                    round.budgets.push(budget);
                }
            }
            return round.decide_again(job);
        }
        prepared.leave_out_parts(&mut decided, &self.cache);
        let (event, movements) = self.decided(id, &job, request, &prepared, &decided);
        // Points are earned without reading any, and are lost to a cache that is not there to add them.
        let moves = !movements.is_empty();
        if away.is_some() && moves {
            return self.refuse_away(job, outgoing);
        }
        let record = self.decision_record(id, request, &event);
        let stands = prepared.wants_nothing() && !moves && job.uploads_next.is_none();
        self.cache.stage(Operation {
            id: record.id,
            authorisation: id,
            step: 0,
            household: prepared.wanted.household,
            movements,
        });
        let history = History::of(event);
        round.steps.push(Step { job, id, history, record, stands });
    }

    async fn change_one(
        &mut self,
        job: Job,
        change: &Change,
        away: bool,
        round: &mut Round,
        outgoing: &mut Outgoing,
    ) -> Result<(), AuthoriserError> {
        let Some(mut history) = self.history(change.id).await? else {
            outgoing.refuse(job, Refusal::NotFound);
            return Ok(());
        };
        let rules = std::sync::Arc::clone(self.registers.rules());
        let index = rules.terminal(&change.caller.terminal);
        let site = index.map(|index| rules.site(index));
        // The merchant's terminals may change it; to others it does not exist.
        let Some(site) = site.filter(|site| site.merchant.as_str() == history.decided.merchant_id)
        else {
            outgoing.refuse(job, Refusal::NotFound);
            return Ok(());
        };
        let terminal = (change.caller.terminal.as_str(), site.place.as_str());
        let acting = Acting { terminal: Some(terminal), index, now: self.parts.clock.now() };
        match changes::next(&rules, &history, &change.what, acting) {
            Err(refusal) => outgoing.refuse(job, refusal),
            Ok(None) => outgoing.answer(job, Ok(Reply::Authorisation(history))),
            // A capture moves nothing: it is taken while the cache is away.
            Ok(Some(next)) if away && !next.movements.is_empty() => {
                self.refuse_away(job, outgoing);
            }
            Ok(Some(mut next)) => {
                let home = self.also_at_home(history.recipient(), &mut next.movements);
                next.event.home_id = home.map(|home| home.to_string());
                let event = Shared::from(change.sign(next.event));
                let record = self.change_record(&history, event.clone(), acting.now);
                let stands = next.movements.is_empty();
                self.stage_change(&history, &record, next.movements);
                history.changes.push(event);
                round.steps.push(Step { job, id: change.id, history, record, stands });
            }
        }
        Ok(())
    }

    fn stage_change(
        &mut self,
        history: &History,
        record: &Record,
        movements: crate::cache::Movements,
    ) {
        self.cache.stage(Operation {
            id: record.id,
            authorisation: history.id(),
            step: history.next_step(),
            household: history.household(),
            movements,
        });
    }

    /// Keeps what holds, and sends round again what another was faster with.
    fn settle(
        &mut self,
        round: &mut Round,
        committed: Result<Vec<Reserved>, CacheError>,
        outgoing: &mut Outgoing,
    ) {
        let steps = std::mem::take(&mut round.steps);
        let reserved = match committed {
            Ok(reserved) => reserved,
            Err(error) => {
                tracing::warn!(%error, "the cache did not commit");
                let stands = |step: &Step| {
                    if step.stands { Reserved::Done } else { Reserved::Conflict }
                };
                let kept: Vec<_> = steps.iter().map(stands).collect();
                return self.settle_without(steps, &kept, outgoing);
            }
        };
        for (step, reserved) in steps.into_iter().zip(reserved) {
            match reserved {
                // It holds, and does not say that the uploads before it do.
                Reserved::Done if round.uploads_wait => self.hold(step.alone(), outgoing),
                Reserved::Done => self.hold(step, outgoing),
                // What moved under this id is not on the stream, or was another author's.
                Reserved::Exists | Reserved::Conflict => {
                    round.exists |= reserved == Reserved::Exists;
                    round.conflicts = true;
                    self.kept.forget(step.id);
                    round.decide_again(step.job);
                }
            }
        }
    }

    fn settle_without(&mut self, steps: Vec<Step>, kept: &[Reserved], outgoing: &mut Outgoing) {
        for (step, kept) in steps.into_iter().zip(kept) {
            match kept {
                Reserved::Conflict => self.refuse_away(step.job, outgoing),
                Reserved::Done | Reserved::Exists => self.hold(step, outgoing),
            }
        }
    }

    fn hold(&mut self, step: Step, outgoing: &mut Outgoing) {
        let Step { job, id, history, record, stands } = step;
        if let Some(expires_at) = history.decided.expires_at {
            let held = Held { expires_at, id };
            match history.changes.is_empty() {
                true => self.held.insert(held),
                false => self.held.remove(&held),
            };
        }
        self.kept.put(id, history.clone(), self.batches);
        outgoing.fenced |= !stands;
        outgoing.latest = outgoing.latest.max(Some(record.event_time));
        outgoing.records.push(record);
        outgoing.answers.push(Answer {
            tickets: job.tickets,
            reply: job.reply,
            result: Ok(Reply::Authorisation(history)),
            record: Some(outgoing.records.len() - 1),
        });
    }

    /// Ends reservations whose time has come: by a record, like everything. Those that the cache
    /// cannot take now stay due. Whether it is to be tried again at once.
    async fn end_due(&mut self, outgoing: &mut Outgoing) -> Result<bool, AuthoriserError> {
        let now = self.parts.clock.now();
        let is_due = |held: &&Held| held.expires_at <= now.timestamp_micros();
        let due: Vec<Held> =
            self.held.iter().take_while(is_due).take(MOST_ENDED).copied().collect();
        if due.is_empty() {
            return Ok(false);
        }
        let mut ending = Vec::with_capacity(due.len());
        for held in due {
            match self.history(held.id).await? {
                Some(history) if history.status() == Status::Reserved => {
                    ending.push((held, history));
                }
                // Another authoriser has ended it.
                _ => drop(self.held.remove(&held)),
            }
        }
        let mut wanted = Vec::new();
        if C::IS_LOADED {
            ending.retain(|(_, history)| {
                let one = history.wanted();
                let takes = self.takes_seat(&one);
                wanted.extend(takes.then_some(one));
                // It is due with the next batch; what it holds cannot be given before.
                self.behind |= !takes;
                takes
            });
        }
        match self.load(&wanted, outgoing).await? {
            Loaded::As(Ok(())) => {}
            Loaded::Anew => return Ok(true),
            // They are due with the next batch.
            Loaded::As(Err(_)) | Loaded::TooLate => return Ok(false),
        }
        let mut records = Vec::with_capacity(ending.len());
        for (_, history) in &mut ending {
            let Some(Next { mut event, mut movements }) = changes::expire(history, now) else {
                continue;
            };
            let home = self.also_at_home(history.recipient(), &mut movements);
            event.home_id = home.map(|home| home.to_string());
            let event = Shared::from(event);
            let record = self.change_record(history, event.clone(), now);
            self.stage_change(history, &record, movements);
            history.changes.push(event);
            records.push(record);
        }
        let Ok(reserved) = self.cache.commit().await else { return Ok(false) };
        let mut again = false;
        for (((held, history), record), reserved) in ending.into_iter().zip(records).zip(reserved) {
            if reserved != Reserved::Done {
                self.kept.forget(held.id);
                again = true;
                continue;
            }
            self.held.remove(&held);
            self.kept.put(held.id, history, self.batches);
            outgoing.fenced = true;
            outgoing.records.push(record);
        }
        Ok(again)
    }
}

/// The authorisation that a command is about.
fn subject(command: &Command, job: &Job) -> AuthorisationId {
    match command {
        Command::Change(change) => change.id,
        Command::LookUp(id) => *id,
        Command::Decide(_) | Command::Block(..) => {
            let key = job.tickets.first().map_or(0, |ticket| ticket.key().as_u128());
            AuthorisationId::from_u128(key)
        }
    }
}

impl Outgoing {
    fn answer(&mut self, job: Job, result: Result<Reply, Refusal>) {
        self.answers.push(Answer::of(job, result));
    }

    fn refuse(&mut self, job: Job, refusal: Refusal) {
        self.answer(job, Err(refusal));
    }
}
