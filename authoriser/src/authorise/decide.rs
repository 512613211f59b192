//! One basket: what it wants to read, what is decided, and its record.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use domain::{
    authorisation::Status,
    basket::{Mode, Request},
    decision::{Decision, InstructionOutcome, LimitRoom, Outcome, SkipReason},
    id::{AuthorisationId, RecordId},
    invariant,
    limit::{CounterKey, Per},
    merchant::Category,
    period::LocalTime,
};
use ingest::{
    record::{Record, outside_id},
    vault::Purpose,
    wire::{
        Shared,
        v1::{self, Event},
    },
};

use super::{Answer, Authoriser, Cache, Change, Command, History, Job, Outgoing, Reply};
use crate::{
    cache::{Movements, Wanted},
    command::What,
    publish::{self, Facts},
    refresh::Presented,
    rules::{self, RuleSet, TerminalIndex},
};

/// A basket with everything that was looked up for it.
pub(super) struct Prepared {
    rules: Arc<RuleSet>,
    terminal: TerminalIndex,
    presented: Presented,
    local: LocalTime,
    pub(super) wanted: Wanted,
}

impl Prepared {
    /// Whether it reads no limit and no balance, so that it can be decided without a cache.
    pub(super) const fn wants_nothing(&self) -> bool {
        self.wanted.counters.is_empty()
            && self.wanted.budgets.is_empty()
            && self.wanted.points.is_empty()
    }

    /// Whether it reads one of these budgets.
    pub(super) fn wants_any(&self, budgets: &[(CounterKey, i64)]) -> bool {
        self.wanted.budgets.iter().any(|(key, _)| budgets.iter().any(|(of, _)| of == key))
    }

    fn input<'a>(&'a self, request: &'a Request) -> rules::Input<'a> {
        rules::Input {
            terminal: self.terminal,
            lines: &request.lines,
            instant: request.occurred_at,
            recipient: self.presented.recipient.as_ref(),
            means_status: self.presented.status,
            declined: self.presented.declined,
            points: request.spend_points,
        }
    }

    /// The budgets of which only a part was read, and that cut this decision: to less, or to less than
    /// another of its name gives.
    pub(super) fn cut_by_part(
        &self,
        decision: &Decision,
        cache: &impl Cache,
    ) -> Vec<(CounterKey, i64)> {
        let is_cut = |outcome: &&InstructionOutcome| {
            outcome.is_cut() || outcome.skipped == Some(SkipReason::BestOf)
        };
        let cut = decision.instructions.iter().filter(is_cut);
        let of_cut = |key: &CounterKey| {
            cut.clone().any(|outcome| {
                outcome.instruction == key.instruction
                    && outcome.limits.iter().any(|room| room.per == Per::Instruction)
            })
        };
        let part = |(key, _): &&(CounterKey, i64)| of_cut(key) && !cache.is_whole(key);
        self.wanted.budgets.iter().filter(part).cloned().collect()
    }

    /// Leaves out what is left of budgets of which only a part was read: that is a slice of this
    /// authoriser's, and neither a receipt nor the stream has it for the whole. It has cut nothing,
    /// so whoever decides again for a refund misses nothing.
    pub(super) fn leave_out_parts(&self, decision: &mut Decision, cache: &impl Cache) {
        for (key, _) in self.wanted.budgets.iter().filter(|(key, _)| !cache.is_whole(key)) {
            let is_part = |room: &LimitRoom| {
                let of = (room.per, room.period, room.measure);
                of == (Per::Instruction, key.period, key.measure)
            };
            let of_budget =
                |outcome: &&mut InstructionOutcome| outcome.instruction == key.instruction;
            for outcome in decision.instructions.iter_mut().filter(of_budget) {
                outcome.limits.retain(|room| !is_part(room));
            }
        }
    }
}

impl<C: Cache> Authoriser<C> {
    /// Looks up what a decision needs; `None` where the terminal is not in the registry, and for
    /// what is no decision.
    pub(super) fn prepare(&self, command: &Command) -> Option<Prepared> {
        let Command::Decide(request) = command else { return None };
        let rules = Arc::clone(self.registers.rules());
        let terminal = rules.terminal(&request.terminal)?;
        let local = LocalTime::of(request.occurred_at);
        let presented = self.registers.present(request.means, request.occurred_at, local.date);
        let wanted = Wanted::default();
        let mut prepared = Prepared { rules, terminal, presented, local, wanted };
        prepared.wanted = prepared.rules.wanted(&prepared.input(request));
        Some(prepared)
    }

    pub(super) fn evaluate(&self, request: &Request, prepared: &Prepared) -> Decision {
        let started = Instant::now();
        let decision = rules::evaluate(&prepared.rules, &prepared.input(request), &self.cache);
        self.parts.metrics.evaluated(started.elapsed());
        if let Err(broken) = invariant::decision(&decision) {
            self.parts.metrics.broken(&broken);
            debug_assert!(false, "{broken}");
        }
        decision
    }

    /// The decision's record, and what it moves.
    pub(super) fn decided(
        &self,
        id: AuthorisationId,
        job: &Job,
        request: &Request,
        prepared: &Prepared,
        decision: &Decision,
    ) -> (Shared<v1::AuthorisationDecided>, Movements) {
        let Prepared { rules, terminal, presented, local, .. } = prepared;
        let site = rules.site(*terminal);
        let recipient = presented.recipient.as_ref();
        let pseudonym = recipient.map(|recipient| {
            self.parts.vault.pseudonym(Purpose::Recipient, recipient.id.as_u128()).to_string()
        });
        let category =
            |line| rules.category(*terminal, line).map_or("", Category::as_str).to_owned();
        let status = status(request.mode, decision);
        let facts = Facts {
            id,
            request,
            body_hash: job.tickets.first().map(|ticket| ticket.body().to_vec()).unwrap_or_default(),
            day: local.date,
            merchant: site.merchant.as_str(),
            place: site.place.as_str(),
            territory: site.territory.as_str(),
            status,
            expires_at: (status == Status::Reserved)
                .then(|| self.now(request) + self.settings.hold),
            recipient,
            home: None,
            pseudonym,
            categories: request.lines.iter().map(category).collect(),
            excess: rules::excess(rules, request, decision),
            registry_version: self.registers.registry_version(),
            uploads_next: job.uploads_next,
        };
        let recipient = recipient.map(|recipient| recipient.id);
        let mut movements = publish::movements(decision, recipient);
        let facts = Facts { home: self.also_at_home(recipient, &mut movements), ..facts };
        (publish::decided(&facts, decision, rules).into(), movements)
    }

    /// Nothing is recorded before it happened, however a terminal's clock runs.
    fn now(&self, request: &Request) -> DateTime<Utc> {
        self.parts.clock.now().max(request.occurred_at)
    }

    pub(super) fn decision_record(
        &self,
        id: AuthorisationId,
        request: &Request,
        event: &Shared<v1::AuthorisationDecided>,
    ) -> Record {
        Record {
            id: RecordId::from_u128(id.as_u128()),
            key: partition_key(event),
            source: request.terminal.to_string(),
            sequence: 0,
            event_time: request.occurred_at,
            recorded_at: self.now(request),
            event: Event::AuthorisationDecided(event.clone()),
        }
    }

    pub(super) fn change_record(
        &self,
        history: &History,
        event: Shared<v1::AuthorisationChanged>,
        now: DateTime<Utc>,
    ) -> Record {
        let (source, id) = if event.idempotency_key.is_empty() {
            ("authoriser".to_owned(), outside_id("expire", &event.authorisation_id))
        } else {
            let id = outside_id(&event.terminal_id, &event.idempotency_key);
            (event.terminal_id.clone(), id)
        };
        Record {
            id,
            key: partition_key(&history.decided),
            source,
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::AuthorisationChanged(event),
        }
    }
}

/// All records of an authorisation stand in one partition, that of its household.
fn partition_key(event: &v1::AuthorisationDecided) -> String {
    event.household_id.clone().unwrap_or_else(|| event.terminal_id.clone())
}

/// Where a decision leaves the authorisation. What was declined holds nothing; what happened
/// offline has happened.
const fn status(mode: Mode, decision: &Decision) -> Status {
    match (mode, decision.outcome) {
        (Mode::Offline, _) => Status::Captured,
        (_, Outcome::Declined(_)) => Status::Voided,
        (Mode::Reserve, _) => Status::Reserved,
        (Mode::Sale, _) => Status::Captured,
    }
}

impl Change {
    /// Puts the caller's key on a record.
    pub(super) fn sign(&self, mut event: v1::AuthorisationChanged) -> v1::AuthorisationChanged {
        event.idempotency_key = self.caller.key.to_string();
        event.body_hash = self.caller.body.to_vec();
        if let What::Reverse(key) = &self.what {
            event.reversed_key = Some(key.to_string());
        }
        event
    }
}

impl Outgoing {
    /// Blocks a key under which nothing has come.
    pub(super) fn block(&mut self, job: Job, now: DateTime<Utc>) {
        let Command::Block(caller, key) = &job.command else { return };
        let blocked = v1::KeyBlocked {
            terminal_id: caller.terminal.to_string(),
            idempotency_key: caller.key.to_string(),
            body_hash: caller.body.to_vec(),
            reversed_key: key.to_string(),
            occurred_at: now.timestamp_micros(),
        };
        self.records.push(Record {
            id: outside_id(caller.terminal.as_str(), caller.key.as_str()),
            key: caller.terminal.to_string(),
            source: caller.terminal.to_string(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::KeyBlocked(blocked.clone()),
        });
        let Job { tickets, reply, .. } = job;
        self.answers.push(Answer {
            tickets,
            reply,
            result: Ok(Reply::Blocked(Arc::new(blocked))),
            record: Some(self.records.len() - 1),
        });
    }
}
