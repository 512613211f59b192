//! Recorded transactions under other rules: what would have been given, beside what was.
//!
//! Every record of the stream is played in the order in which it was decided: baskets are decided anew
//! with the recorded recipient and groups, and what became of them (captured, voided, expired, refunded)
//! happens to the new decision too. Counters start where the stream starts, so limits bind as they would
//! have. Under the rules of then this gives what happened.

use chrono::NaiveDate;
use domain::{
    authorisation::Status,
    decision::{Decision, Outcome},
    id::{AuthorisationId, GroupId, InstructionId, RecipientId},
    refund::ReturnedLine,
};
use ingest::{
    record::Stored,
    wire::v1::{AuthorisationChanged, AuthorisationLine, Event},
};
use rustc_hash::FxHashMap;

use crate::{
    cache::{Movements, embedded::EmbeddedCache},
    history::{self, History, Sold},
    publish,
    rules::{self, Input, Refunded, RuleSet, Sale},
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

/// A decision under the new rules.
struct Played {
    sold: Sold,
    decision: Decision,
    terminal: Option<rules::TerminalIndex>,
    refunded: Refunded,
    day: NaiveDate,
    territory: String,
    recipient: Option<String>,
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
            Event::AuthorisationDecided(event) => self.decide(History::of(event.clone())),
            Event::AuthorisationChanged(event) => self.change(event),
            _ => None,
        }
    }

    fn decide(&mut self, history: History) -> Option<Compared> {
        let event = &history.decided;
        let id = AuthorisationId::parse(&event.authorisation_id)?;
        let mut sold = history.sold()?;
        let day: NaiveDate = event.date.parse().ok()?;
        if let (Some(regrouped), Some(recipient)) = (self.regrouped, &mut sold.recipient) {
            let recorded = std::mem::take(&mut recipient.groups);
            recipient.groups = regrouped.groups(recipient.id, day, recorded);
        }
        let terminal = history::terminal(event).and_then(|id| self.rules.terminal(&id));
        let decision = match terminal {
            Some(terminal) => {
                let input = input(&sold, terminal);
                rules::evaluate(self.rules, &input, &self.counters)
            }
            // Where nobody stands any more nothing is given.
            None => Decision { instructions: Vec::new(), ..without_benefit(&sold.decision) },
        };
        let recipient_id = sold.recipient.as_ref().map(|recipient| recipient.id);
        self.counters.restore(&publish::movements(&decision, recipient_id));
        let captured = Status::parse(&event.status) == Some(Status::Captured);
        let compared = captured.then(|| Compared {
            authorisation: id,
            day,
            territory: event.territory.clone(),
            recipient: event.recipient.clone(),
            then: recorded(&event.lines, &limited(&sold.decision), 1),
            now: decided(&decision),
        });
        if Status::parse(&event.status) != Some(Status::Voided) {
            let played = Played {
                sold,
                decision,
                terminal,
                refunded: Refunded::default(),
                day,
                territory: event.territory.clone(),
                recipient: event.recipient.clone(),
            };
            self.decided.insert(id, played);
        }
        compared.filter(|compared| !(compared.then.is_empty() && compared.now.is_empty()))
    }

    fn change(&mut self, event: &AuthorisationChanged) -> Option<Compared> {
        let id = AuthorisationId::parse(&event.authorisation_id)?;
        let played = self.decided.get_mut(&id)?;
        let recipient = played.sold.recipient.as_ref().map(|recipient| recipient.id);
        let (then, now, day) = match event.transition.as_str() {
            "capture" => {
                let then = recorded(&event.lines, &limited(&played.sold.decision), 1);
                (then, decided(&played.decision), played.day)
            }
            "void" | "expire" => {
                let mut movements = publish::movements(&played.decision, recipient);
                for moved in &mut movements.counters {
                    moved.change = -moved.change;
                }
                for moved in &mut movements.points {
                    moved.2 = -moved.2;
                }
                self.counters.restore(&movements);
                self.decided.remove(&id);
                return None;
            }
            "refund" => {
                let then = recorded(&event.lines, &[], 0);
                let now = refunded(self.rules, &mut self.counters, played, &event.lines);
                (then, now, event.date.parse().ok()?)
            }
            _ => return None,
        };
        if then.is_empty() && now.is_empty() {
            return None;
        }
        let (territory, recipient) = (played.territory.clone(), played.recipient.clone());
        Some(Compared { authorisation: id, day, territory, recipient, then, now })
    }
}

fn input(sold: &Sold, terminal: rules::TerminalIndex) -> Input<'_> {
    Input {
        terminal,
        lines: &sold.lines,
        instant: sold.instant,
        recipient: sold.recipient.as_ref(),
        means_status: sold.decision.means_status,
        declined: match sold.decision.outcome {
            Outcome::Declined(reason) => Some(reason),
            Outcome::Approved | Outcome::NoBenefit => None,
        },
        points: sold.points,
    }
}

/// A decision in which nothing is given on the same lines.
fn without_benefit(of: &Decision) -> Decision {
    let mut decision = of.clone();
    for line in &mut decision.lines {
        line.benefits.clear();
        line.payable = line.total;
    }
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
    let returned: Vec<_> = lines
        .iter()
        .filter(|line| line.quantity_thousandths != 0)
        .map(|line| ReturnedLine {
            number: line.line,
            quantity: domain::amount::Quantity::from_thousandths(-line.quantity_thousandths),
        })
        .collect();
    let sale = Sale { input: input(&played.sold, terminal), decision: &played.decision };
    let Ok(refund) = rules::refund(rules, &sale, &mut played.refunded, &returned) else {
        return Vec::new();
    };
    let recipient = played.sold.recipient.as_ref().map(|recipient| recipient.id);
    counters.restore(&Movements {
        counters: refund.counters,
        points: publish::points_of(recipient, &refund.points),
    });
    let mut parts = Parts::default();
    for back in &refund.benefits {
        parts.add(&back.instruction, -back.amount.cents(), -back.grantor_amount.cents());
    }
    parts.0
}

/// The instructions that a limit cut in a decision.
fn limited(decision: &Decision) -> Vec<InstructionId> {
    let cut = decision.instructions.iter().filter(|outcome| {
        outcome.wanted.is_some() || outcome.skipped == Some(domain::decision::SkipReason::Limit)
    });
    cut.map(|outcome| outcome.instruction.clone()).collect()
}

/// Parts by instruction, in the order of their first mention.
#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn of(&mut self, instruction: &InstructionId) -> &mut Part {
        let at = self.0.iter().position(|part| part.instruction == *instruction);
        let at = at.unwrap_or_else(|| {
            self.0.push(Part {
                instruction: instruction.clone(),
                uses: 0,
                cents: 0,
                grantor_cents: 0,
                limited: 0,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn add(&mut self, instruction: &InstructionId, cents: i64, grantor_cents: i64) {
        let part = self.of(instruction);
        part.cents += cents;
        part.grantor_cents += grantor_cents;
    }

    fn finish(mut self, limited: &[InstructionId], uses: i64) -> Vec<Part> {
        for part in &mut self.0 {
            part.uses = if part.cents != 0 { uses } else { 0 };
        }
        for instruction in limited {
            self.of(instruction).limited = 1;
        }
        self.0.retain(|part| part.cents != 0 || part.grantor_cents != 0 || part.limited != 0);
        self.0
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
