//! Recorded transactions under other rules: what would have been given, beside what was.
//!
//! Every record of the stream is played in the order in which it was decided: baskets are decided anew
//! with the recorded recipient and groups, and what became of them (captured, voided, expired, refunded)
//! happens to the new decision too. Counters start where the stream starts, so limits bind as they would
//! have. Who moved brings to the new household what it used under these rules, when the stream tells of
//! it; it does of everybody who had used a limit per household by then. Under the rules of then this
//! gives what happened.

use std::{collections::BTreeMap, sync::Arc};

use chrono::NaiveDate;
use domain::{
    authorisation::Status,
    decision::Decision,
    id::{AuthorisationId, GroupId, HouseholdId, InstructionId, RecipientId},
};
use ingest::{
    error::LogError,
    log::Log,
    record::{Position, Stored},
    topic::Topic,
    wire::{
        Shared,
        v1::{
            AuthorisationChanged, AuthorisationDecided, AuthorisationLine, Event, HouseholdJoined,
        },
    },
};
use rustc_hash::FxHashMap;

use crate::{
    cache::{Movements, embedded::EmbeddedCache},
    history::{self, History, Sold},
    publish,
    rules::{self, Refunded, RuleSet, Sale, TerminalIndex},
    uses::Uses,
};
use merged::{Merged, Read};

mod merged;

/// Who is in a group whose meaning is not the recorded one: told by recipient and local day.
pub trait Regrouped: Send + Sync {
    /// The groups of a recipient, given those that were recorded.
    fn groups(
        &self,
        recipient: RecipientId,
        day: NaiveDate,
        recorded: Vec<GroupId>,
    ) -> Vec<GroupId>;
}

/// Plays the whole stream of decisions under a set of rules, and tells of each record that gave or took
/// back anything, then or now. Answers how many records there were.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn play(
    log: &Arc<dyn Log>,
    rules: &RuleSet,
    regrouped: Option<&dyn Regrouped>,
    mut each: impl FnMut(Progress),
) -> Result<u64, LogError> {
    let counters = EmbeddedCache::default();
    let (uses, decided) = (FxHashMap::default(), FxHashMap::default());
    let mut replay = Replay { log, rules, regrouped, counters, uses, decided };
    let mut merged = Merged::open(log).await?;
    let mut played = 0;
    while let Some(read) = merged.next().await? {
        played += 1;
        let compared = replay.play(read).await?;
        each(Progress { played, compared });
    }
    Ok(played)
}

/// How far it is, and what the newest record gave or took back.
#[derive(Debug)]
pub struct Progress {
    /// Records so far.
    pub played: u64,
    /// What the newest did.
    pub compared: Option<Compared>,
}

struct Replay<'a> {
    log: &'a Arc<dyn Log>,
    rules: &'a RuleSet,
    regrouped: Option<&'a dyn Regrouped>,
    counters: EmbeddedCache,
    /// What recipients used of limits per household.
    uses: FxHashMap<RecipientId, Uses>,
    /// Decisions that something may still become of.
    decided: FxHashMap<AuthorisationId, Kept>,
}

/// Of a decision what its record does not tell: most are never asked for again.
struct Kept {
    /// Where the record stands.
    position: Position,
    /// What is decided now, where that is something else.
    now: Option<Box<Decision>>,
    /// The whole, while it is reserved: what becomes of it is near.
    reserved: Option<Box<Played>>,
    /// What came back of it, if anything.
    refunded: Option<Box<Refunded>>,
}

/// A decision under the new rules, beside its record.
struct Played {
    event: Shared<AuthorisationDecided>,
    sold: Sold,
    now: Option<Box<Decision>>,
}

impl Played {
    fn recipient(&self) -> Option<RecipientId> {
        self.sold.recipient.as_ref().map(|recipient| recipient.id)
    }

    fn decision(&self) -> &Decision {
        self.now.as_deref().unwrap_or(&self.sold.decision)
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
            recipient: self.recipient(),
            pseudonym: self.event.recipient.clone(),
            then,
            now,
        })
    }

    /// What its capture gave.
    fn captured(&self, lines: &[AuthorisationLine]) -> Option<Compared> {
        let then = recorded(lines, &limited(&self.sold.decision), 1);
        self.compared(self.event.date.parse().ok()?, then, decided(self.decision()))
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
    /// To whom; none for an anonymous basket.
    pub recipient: Option<RecipientId>,
    /// The recipient as tables have it.
    pub pseudonym: Option<String>,
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

impl Replay<'_> {
    async fn play(&mut self, read: Read) -> Result<Option<Compared>, LogError> {
        let Read { stored: Stored { position, record }, sold } = read;
        match record.event {
            Event::AuthorisationDecided(event) => {
                Ok(sold.and_then(|sold| self.decide(position, event, sold)))
            }
            Event::AuthorisationChanged(change) => self.change(&change).await,
            Event::HouseholdJoined(joined) => {
                self.join(&joined);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Who joined a household brings what it used under these rules.
    fn join(&mut self, joined: &HouseholdJoined) {
        let who = RecipientId::parse(&joined.recipient_id);
        let home = HouseholdId::parse(&joined.household_id);
        let (Some(who), Some(home)) = (who, home) else { return };
        let Some(uses) = self.uses.get_mut(&who) else { return };
        let counters = uses.to_bring(home);
        counters.iter().for_each(|moved| uses.bring(&moved.key, moved.change));
        self.counters.restore(&Movements { counters, points: Vec::new() });
    }

    /// Moves counters, in the household where the recipient lived by then, too.
    fn moves(&mut self, who: Option<RecipientId>, home: Option<&str>, mut movements: Movements) {
        let counters = &movements.counters;
        if let Some(who) = who.filter(|_| counters.iter().any(|of| of.key.household().is_some())) {
            let uses = self.uses.entry(who).or_default();
            for moved in counters.iter().filter(|moved| moved.key.household().is_some()) {
                uses.decide(&moved.key, moved.change);
            }
            if let Some(home) = home.and_then(HouseholdId::parse) {
                let there = publish::at_home(home, counters);
                there.iter().for_each(|moved| uses.bring(&moved.key, moved.change));
                movements.counters.extend(there);
            }
        }
        self.counters.restore(&movements);
    }

    fn decide(
        &mut self,
        position: Position,
        event: Shared<AuthorisationDecided>,
        mut sold: Sold,
    ) -> Option<Compared> {
        let id = AuthorisationId::parse(&event.authorisation_id)?;
        self.regroup(&event, &mut sold);
        let now = match self.terminal(&event) {
            Some(terminal) => rules::evaluate(self.rules, &sold.input(terminal), &self.counters),
            // Where nobody stands any more nothing is given.
            None => without_benefit(&sold.decision),
        };
        let now = (now != sold.decision).then(|| Box::new(now));
        let played = Played { event, sold, now };
        let movements = publish::movements(played.decision(), played.recipient());
        self.moves(played.recipient(), played.event.home_id.as_deref(), movements);
        let status = Status::parse(&played.event.status);
        let captured = status == Some(Status::Captured);
        let compared = captured.then(|| played.captured(&played.event.lines)).flatten();
        let kept = match status {
            Some(Status::Voided) => return compared,
            Some(Status::Reserved) => {
                Kept { position, now: None, reserved: Some(played.into()), refunded: None }
            }
            _ => Kept { position, now: played.now, reserved: None, refunded: None },
        };
        self.decided.insert(id, kept);
        compared
    }

    async fn change(
        &mut self,
        change: &AuthorisationChanged,
    ) -> Result<Option<Compared>, LogError> {
        let id = AuthorisationId::parse(&change.authorisation_id);
        let Some((id, kept)) = id.and_then(|id| Some((id, self.decided.remove(&id)?))) else {
            return Ok(None);
        };
        let Kept { position, now, reserved, mut refunded } = kept;
        let played = match reserved {
            Some(played) => Some(*played),
            None => self.again(position, now).await?,
        };
        let Some(played) = played else { return Ok(None) };
        let compared = match change.transition.as_str() {
            "capture" => played.captured(&change.lines),
            "void" | "expire" => {
                let movements = publish::movements(played.decision(), played.recipient());
                let home = change.home_id.as_deref();
                self.moves(played.recipient(), home, movements.reversed());
                return Ok(None);
            }
            "refund" => {
                let now = self.refund(&played, refunded.get_or_insert_default(), change);
                let day = change.date.parse().ok();
                let then = recorded(&change.lines, &[], 0);
                day.and_then(|day| played.compared(day, then, now))
            }
            _ => None,
        };
        self.decided.insert(id, Kept { position, now: played.now, reserved: None, refunded });
        Ok(compared)
    }

    /// A decision that something has become of, read again.
    async fn again(
        &self,
        position: Position,
        now: Option<Box<Decision>>,
    ) -> Result<Option<Played>, LogError> {
        let Position { partition, offset } = position;
        let read = self.log.read(Topic::Authorisations, partition, offset, 1).await?;
        let played = read.into_iter().next().and_then(|stored| {
            let Event::AuthorisationDecided(event) = stored.record.event else { return None };
            let mut sold = History::of(event.clone()).sold()?;
            self.regroup(&event, &mut sold);
            Some(Played { event, sold, now })
        });
        Ok(played)
    }

    fn regroup(&self, event: &AuthorisationDecided, sold: &mut Sold) {
        if let (Some(regrouped), Some(recipient)) = (self.regrouped, &mut sold.recipient)
            && let Ok(day) = event.date.parse()
        {
            let recorded = std::mem::take(&mut recipient.groups);
            recipient.groups = regrouped.groups(recipient.id, day, recorded);
        }
    }

    fn terminal(&self, event: &AuthorisationDecided) -> Option<TerminalIndex> {
        history::terminal(event).and_then(|id| self.rules.terminal(&id))
    }

    /// What comes back under the new rules of what came back then.
    fn refund(
        &mut self,
        played: &Played,
        refunded: &mut Refunded,
        change: &AuthorisationChanged,
    ) -> Vec<Part> {
        let Some(terminal) = self.terminal(&played.event) else { return Vec::new() };
        let returned = history::returned(&change.lines);
        let sale = Sale { input: played.sold.input(terminal), decision: played.decision() };
        let Ok(refund) = rules::refund(self.rules, &sale, refunded, &returned) else {
            return Vec::new();
        };
        let points = publish::points_of(played.recipient(), &refund.points);
        let movements = Movements { counters: refund.counters, points };
        self.moves(played.recipient(), change.home_id.as_deref(), movements);
        let mut parts = Parts::default();
        for back in &refund.benefits {
            parts.add(&back.instruction, -back.amount.cents(), -back.grantor_amount.cents());
        }
        parts.finish(&[], 0)
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
