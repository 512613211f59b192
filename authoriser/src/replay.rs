//! Recorded transactions under other rules: what would have been given, beside what was.
//!
//! Every record of the stream is played in the order in which it was decided: baskets are decided anew
//! with the recorded recipient and groups, and what became of them (captured, voided, expired, refunded)
//! happens to the new decision too. Counters start where the stream starts, so limits bind as they would
//! have. Under the rules of then this gives what happened.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{
    authorisation::Status,
    decision::Decision,
    id::{AuthorisationId, GroupId, InstructionId, RecipientId},
};
use ingest::{
    record::Stored,
    wire::{
        Shared,
        v1::{AuthorisationChanged, AuthorisationDecided, AuthorisationLine, Event},
    },
};
use rustc_hash::FxHashMap;

use crate::{
    cache::{Movements, embedded::EmbeddedCache},
    history::{self, History, Sold},
    publish,
    rules::{self, Refunded, RuleSet, Sale},
};

/// Who is in a group whose meaning is not the recorded one: told by recipient and local day.
pub trait Regrouped: Send {
    /// The groups of a recipient, given those that were recorded.
    fn groups(
        &self,
        recipient: RecipientId,
        day: NaiveDate,
        recorded: Vec<GroupId>,
    ) -> Vec<GroupId>;
}

/// Recorded transactions, played under a set of rules.
pub struct Replay<'a> {
    rules: &'a RuleSet,
    regrouped: Option<&'a dyn Regrouped>,
    counters: EmbeddedCache,
    /// Decisions under the new rules that something may still become of.
    decided: FxHashMap<AuthorisationId, Played>,
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("decided", &self.decided.len()).finish_non_exhaustive()
    }
}

/// A decision under the new rules, beside its record.
struct Played {
    event: Shared<AuthorisationDecided>,
    sold: Sold,
    decision: Decision,
    terminal: Option<rules::TerminalIndex>,
    refunded: Refunded,
}

impl Played {
    fn recipient(&self) -> Option<RecipientId> {
        self.sold.recipient.as_ref().map(|recipient| recipient.id)
    }

    /// What this or a later record of it did on a day, where that is anything.
    fn compared(&self, day: NaiveDate, then: Vec<Part>, now: Vec<Part>) -> Option<Compared> {
        if then.is_empty() && now.is_empty() {
            return None;
        }
        Some(Compared {
            authorisation: AuthorisationId::parse(&self.event.authorisation_id)?,
            day,
            territory: self.event.territory.clone(),
            recipient: self.event.recipient.clone(),
            then,
            now,
        })
    }

    /// What its capture gave.
    fn captured(&self, lines: &[AuthorisationLine]) -> Option<Compared> {
        let then = recorded(lines, &limited(&self.sold.decision), 1);
        self.compared(self.event.date.parse().ok()?, then, decided(&self.decision))
    }
}

/// What one record gave or took back, then and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The authorisation.
    pub authorisation: AuthorisationId,
    /// The local day that it counts for.
    pub day: NaiveDate,
    /// Where.
    pub territory: String,
    /// To whom, as tables have it; none for an anonymous basket.
    pub recipient: Option<String>,
    /// As it was recorded.
    pub then: Vec<Part>,
    /// As it would have been.
    pub now: Vec<Part>,
}

/// What one instruction gave or took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The instruction.
    pub instruction: InstructionId,
    /// Baskets in which it gave a cent; a refund takes none back.
    pub uses: i64,
    /// The benefit.
    pub cents: i64,
    /// The grantor's part.
    pub grantor_cents: i64,
    /// Baskets in which a limit cut it.
    pub limited: i64,
}

impl<'a> Replay<'a> {
    /// Begins with no counters.
    #[must_use]
    pub fn new(rules: &'a RuleSet, regrouped: Option<&'a dyn Regrouped>) -> Self {
        let (counters, decided) = (EmbeddedCache::default(), FxHashMap::default());
        Self { rules, regrouped, counters, decided }
    }

    /// Plays one record; answers what it gave or took back, where it did either, then or now.
    pub fn play(&mut self, stored: &Stored) -> Option<Compared> {
        match &stored.record.event {
            Event::AuthorisationDecided(event) => self.decide(event),
            Event::AuthorisationChanged(event) => self.change(event),
            _ => None,
        }
    }

    fn decide(&mut self, event: &Shared<AuthorisationDecided>) -> Option<Compared> {
        let id = AuthorisationId::parse(&event.authorisation_id)?;
        let mut sold = History::of(event.clone()).sold()?;
        if let (Some(regrouped), Some(recipient)) = (self.regrouped, &mut sold.recipient) {
            let recorded = std::mem::take(&mut recipient.groups);
            let day = event.date.parse().ok()?;
            recipient.groups = regrouped.groups(recipient.id, day, recorded);
        }
        let terminal = history::terminal(event).and_then(|id| self.rules.terminal(&id));
        let decision = match terminal {
            Some(terminal) => rules::evaluate(self.rules, &sold.input(terminal), &self.counters),
            // Where nobody stands any more nothing is given.
            None => without_benefit(&sold.decision),
        };
        let (event, refunded) = (event.clone(), Refunded::default());
        let played = Played { event, sold, decision, terminal, refunded };
        self.counters.restore(&publish::movements(&played.decision, played.recipient()));
        let status = Status::parse(&played.event.status);
        let captured = status == Some(Status::Captured);
        let compared = captured.then(|| played.captured(&played.event.lines)).flatten();
        if status != Some(Status::Voided) {
            self.decided.insert(id, played);
        }
        compared
    }

    fn change(&mut self, event: &AuthorisationChanged) -> Option<Compared> {
        let id = AuthorisationId::parse(&event.authorisation_id)?;
        match event.transition.as_str() {
            "capture" => self.decided.get(&id)?.captured(&event.lines),
            "void" | "expire" => {
                let played = self.decided.remove(&id)?;
                let movements = publish::movements(&played.decision, played.recipient());
                self.counters.restore(&movements.reversed());
                None
            }
            "refund" => {
                let played = self.decided.get_mut(&id)?;
                let now = refunded(self.rules, &mut self.counters, played, &event.lines);
                let then = recorded(&event.lines, &[], 0);
                played.compared(event.date.parse().ok()?, then, now)
            }
            _ => None,
        }
    }
}

/// A decision in which nothing is given on the same lines.
fn without_benefit(of: &Decision) -> Decision {
    let mut decision = of.clone();
    for line in &mut decision.lines {
        line.benefits.clear();
        line.payable = line.total;
    }
    decision.instructions.clear();
    decision.counters.clear();
    decision.points.clear();
    decision
}

/// What comes back under the new rules of what came back then.
fn refunded(
    rules: &RuleSet,
    counters: &mut EmbeddedCache,
    played: &mut Played,
    lines: &[AuthorisationLine],
) -> Vec<Part> {
    let Some(terminal) = played.terminal else { return Vec::new() };
    let returned = history::returned(lines);
    let sale = Sale { input: played.sold.input(terminal), decision: &played.decision };
    let Ok(refund) = rules::refund(rules, &sale, &mut played.refunded, &returned) else {
        return Vec::new();
    };
    let points = publish::points_of(played.recipient(), &refund.points);
    counters.restore(&Movements { counters: refund.counters, points });
    let mut parts = Parts::default();
    for back in &refund.benefits {
        parts.add(&back.instruction, -back.amount.cents(), -back.grantor_amount.cents());
    }
    parts.finish(&[], 0)
}

/// The instructions that a limit cut in a decision.
fn limited(decision: &Decision) -> Vec<InstructionId> {
    let cut = decision.instructions.iter().filter(|outcome| outcome.is_cut());
    cut.map(|outcome| outcome.instruction.clone()).collect()
}

/// Parts by instruction.
#[derive(Default)]
struct Parts(BTreeMap<InstructionId, Part>);

impl Parts {
    fn of(&mut self, instruction: &InstructionId) -> &mut Part {
        self.0.entry(instruction.clone()).or_insert_with(|| Part {
            instruction: instruction.clone(),
            uses: 0,
            cents: 0,
            grantor_cents: 0,
            limited: 0,
        })
    }

    fn add(&mut self, instruction: &InstructionId, cents: i64, grantor_cents: i64) {
        let part = self.of(instruction);
        part.cents += cents;
        part.grantor_cents += grantor_cents;
    }

    fn finish(mut self, limited: &[InstructionId], uses: i64) -> Vec<Part> {
        for instruction in limited {
            self.of(instruction).limited = 1;
        }
        let mut parts: Vec<_> = self.0.into_values().collect();
        for part in &mut parts {
            part.uses = if part.cents != 0 { uses } else { 0 };
        }
        parts.retain(|part| part.cents != 0 || part.grantor_cents != 0 || part.limited != 0);
        parts
    }
}

/// What was given on recorded lines.
fn recorded(lines: &[AuthorisationLine], limited: &[InstructionId], uses: i64) -> Vec<Part> {
    let mut parts = Parts::default();
    for benefit in lines.iter().flat_map(|line| &line.benefits) {
        if let Ok(instruction) = InstructionId::new(&benefit.instruction_id) {
            parts.add(&instruction, benefit.amount_cents, benefit.grantor_cents);
        }
    }
    parts.finish(limited, uses)
}

/// What a decision gives.
fn decided(decision: &Decision) -> Vec<Part> {
    let mut parts = Parts::default();
    for benefit in decision.lines.iter().flat_map(|line| &line.benefits) {
        parts.add(&benefit.instruction, benefit.amount.cents(), benefit.grantor_amount.cents());
    }
    parts.finish(&limited(decision), 1)
}
