//! One batch through the cache: loaded once, decided in order, committed once; what conflicts or
//! touches the same authorisation twice goes round again.

use std::{collections::VecDeque, time::Duration};

use super::{
    Answer, Authoriser, AuthoriserError, Cache, CacheError, Change, Command, HashSet, Held,
    History, Job, Outgoing, Record, Refusal, Reply, Reserved, decide::Prepared,
};
use crate::{
    cache::{Operation, Wanted},
    changes::{self, Acting, Next},
};
use domain::{id::AuthorisationId, limit::CounterKey};

/// How long another authoriser is given to append what it was faster with.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
/// How often one request is decided again because another was faster.
const MOST_ROUNDS: usize = 64;

/// What a request will be once the cache has moved.
struct Step {
    job: Job,
    id: AuthorisationId,
    history: History,
    record: Record,
    /// Whether it stands without the cache: it only gives back, and the stream says so.
    stands: bool,
}

/// What one round gathers.
#[derive(Default)]
struct Round {
    steps: Vec<Step>,
    again: VecDeque<Job>,
    budgets: Vec<(CounterKey, i64)>,
    touched: HashSet<AuthorisationId>,
    conflicts: bool,
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
        // What stands on counters of before a loss is refused at the fence, with all of its batch.
        let (era, stamp) = (self.era, self.cache.stamp());
        let mut outgoing = Outgoing { sequence: self.batches, era, stamp, ..Outgoing::default() };
        self.end_due(&mut outgoing).await?;
        let mut waiting = VecDeque::from(jobs);
        let mut budgets = Vec::new();
        for _ in 0..MOST_ROUNDS {
            if waiting.is_empty() {
                break;
            }
            let round = self.round(waiting, budgets, &mut outgoing).await?;
            if outgoing.records.is_empty() {
                outgoing.stamp = self.cache.stamp();
            }
            (waiting, budgets) = (round.again, round.budgets);
            if round.conflicts {
                // Another authoriser was faster: what it did is on the stream, or will be soon.
                tokio::time::sleep(CONFLICT_PAUSE).await;
                self.parts.index.catch_up(&self.parts.log).await?;
            }
        }
        for job in waiting {
            self.refuse_away(job, &mut outgoing);
        }
        Ok(outgoing)
    }

    /// Tells that the cache could not take part. An upload is not lost: it is read again.
    fn refuse_away(&mut self, job: Job, outgoing: &mut Outgoing) {
        if let Some(next) = job.uploads_next {
            self.uploads_next = self.uploads_next.min(next - 1);
        }
        outgoing.refuse(job, Refusal::Away);
    }

    async fn round(
        &mut self,
        waiting: VecDeque<Job>,
        budgets: Vec<(CounterKey, i64)>,
        outgoing: &mut Outgoing,
    ) -> Result<Round, AuthoriserError> {
        let prepared: Vec<Option<Prepared>> =
            waiting.iter().map(|job| self.prepare(&job.command)).collect();
        let wanted: Vec<Wanted> =
            prepared.iter().flatten().map(|prepared| prepared.wanted.clone()).collect();
        let mut loaded = self.cache.load(&wanted).await;
        if loaded.is_ok() && !budgets.is_empty() {
            loaded = self.cache.gather(&budgets).await;
        }
        let mut round = Round::default();
        for (job, prepared) in waiting.into_iter().zip(prepared) {
            let id = subject(&job.command, &job);
            // A second step of one authorisation sees the first only once it holds.
            if !round.touched.insert(id) {
                round.again.push_back(job);
                continue;
            }
            match &job.command {
                Command::Decide(_) => {
                    self.decide_one(job, id, prepared, loaded.as_ref().err(), &mut round, outgoing);
                }
                Command::Change(change) => {
                    let change = change.clone();
                    self.change_one(job, &change, &mut round, outgoing).await?;
                }
                Command::Block(..) => outgoing.block(job, self.parts.clock.now()),
                Command::LookUp(_) => {
                    let found = self.history(id).await?;
                    outgoing.answer(job, found.map(Reply::Authorisation).ok_or(Refusal::NotFound));
                }
            }
        }
        let committed = self.cache.commit().await;
        self.settle(&mut round, committed, outgoing);
        Ok(round)
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
        // Uploads keep their order: where one has to wait, all after it wait.
        if away.is_some() && (job.uploads_next.is_some() || !prepared.wants_nothing()) {
            return self.refuse_away(job, outgoing);
        }
        let decided = self.evaluate(request, &prepared);
        let part = prepared.cut_by_part(&decided, &self.cache);
        if !part.is_empty() {
            round.budgets.extend(part);
            round.again.push_back(job);
            return;
        }
        let (event, movements) = self.decided(id, &job, request, &prepared, &decided);
        let record = self.decision_record(id, request, &event);
        let moves = !movements.counters.is_empty() || !movements.points.is_empty();
        self.cache.stage(Operation {
            id: record.id,
            authorisation: id,
            step: 0,
            household: prepared.wanted.household,
            movements,
        });
        let history = History::of(event);
        let stands = !moves && job.uploads_next.is_none();
        round.steps.push(Step { job, id, history, record, stands });
    }

    async fn change_one(
        &mut self,
        job: Job,
        change: &Change,
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
            Ok(Some(next)) => {
                let event = change.sign(next.event);
                let record = self.change_record(&history, event.clone(), acting.now);
                self.stage_change(&history, &record, next.movements);
                history.changes.push(std::sync::Arc::new(event));
                round.steps.push(Step { job, id: change.id, history, record, stands: true });
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
                Reserved::Done | Reserved::Exists => self.hold(step, outgoing),
                Reserved::Conflict => {
                    round.conflicts = true;
                    self.kept.forget(step.id);
                    round.again.push_back(step.job);
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
        let Step { job, id, history, record, .. } = step;
        if let Some(expires_at) = history.decided.expires_at {
            let held = Held { expires_at, id };
            match history.changes.is_empty() {
                true => self.held.insert(held),
                false => self.held.remove(&held),
            };
        }
        self.kept.put(id, history.clone(), self.batches);
        outgoing.latest = outgoing.latest.max(Some(record.event_time));
        outgoing.records.push(record);
        outgoing.answers.push(Answer {
            tickets: job.tickets,
            reply: job.reply,
            result: Ok(Reply::Authorisation(history)),
            record: Some(outgoing.records.len() - 1),
        });
    }

    /// Ends every reservation whose time has come: by a record, like everything.
    async fn end_due(&mut self, outgoing: &mut Outgoing) -> Result<(), AuthoriserError> {
        let now = self.parts.clock.now();
        while let Some(held) = self.held.first().copied() {
            if held.expires_at > now.timestamp_micros() {
                break;
            }
            self.held.remove(&held);
            let Some(mut history) = self.history(held.id).await? else { continue };
            let Some(Next { event, movements }) = changes::expire(&history, now) else { continue };
            let record = self.change_record(&history, event.clone(), now);
            self.stage_change(&history, &record, movements);
            // Whether the cache can take it or not, the stream says it; a cache that could not is
            // rebuilt from there.
            match self.cache.commit().await.as_deref() {
                Ok([Reserved::Conflict]) => continue,
                Ok(_) | Err(_) => {}
            }
            history.changes.push(std::sync::Arc::new(event));
            self.kept.put(held.id, history, self.batches);
            outgoing.records.push(record);
        }
        Ok(())
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
        let Job { tickets, reply, .. } = job;
        self.answers.push(Answer { tickets, reply, result, record: None });
    }

    fn refuse(&mut self, job: Job, refusal: Refusal) {
        self.answer(job, Err(refusal));
    }
}
