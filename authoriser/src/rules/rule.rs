//! One instruction, with all that can be known of it before a basket comes.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    amount::Amount,
    decision::{InstructionOutcome, SkipReason},
    id::{GrantorId, GroupId, InstructionId},
    instruction::{Effect, Instruction, OnLimit, Stacking},
    limit::{Limit, Per},
    period::{LocalTime, Schedule, Validity},
    registry::Registry,
};

use super::{
    content::{Content, Marks},
    index::{Bits, Index},
};

/// A grantor's place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrantorIndex(pub(super) u32);

/// An instruction with what is looked up for it.
#[derive(Debug)]
pub(super) struct Rule {
    /// Apart, because decisions go through the rest of all rules.
    pub(super) instruction: Box<Instruction>,
    pub(super) valid: Validity,
    pub(super) grantor: GrantorIndex,
    /// `best_of` of the same grantor and name have the same number.
    pub(super) contest: Option<u32>,
    pub(super) closing: Closing,
    pub(super) content: Content,
    pub(super) effect: Effect,
    pub(super) on_limit: OnLimit,
    pub(super) limits: Box<[RuleLimit]>,
    /// Whether some limit counts recipients or households, so that anonymous baskets get nothing.
    pub(super) counts_people: bool,
    /// The explanation of one that gives nothing; what was found is filled in.
    pub(super) outcome: InstructionOutcome,
    schedule: Option<Schedule>,
    recipients: Recipients,
    /// Of the last version of an id the validity of the others: it speaks where none of them does.
    others: Option<Box<[Validity]>>,
}

/// A limit, and whether one before it in the same instruction moves the same counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleLimit {
    pub(super) limit: Limit,
    pub(super) repeats: bool,
}

/// Which lines stacking leaves to an instruction, and to whom it closes those it gives on (3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    Nobody,
    Grantor,
    Everybody,
}

/// Who a rule is for, by the groups' places.
#[derive(Debug)]
struct Recipients {
    everyone: bool,
    any: Box<[u32]>,
    all: Box<[u32]>,
    none: Box<[u32]>,
}

impl Rule {
    /// Whether the recipients include this person: (`everyone`, or in some of `any`, and in all of
    /// `all`) and in none of `none` (1). An anonymous basket is in no group.
    pub(super) fn is_for(&self, groups: &Bits) -> bool {
        let Recipients { everyone, any, all, none } = &self.recipients;
        let member = |group: &u32| groups.contains(*group);
        !none.iter().any(member)
            && (*everyone || ((any.is_empty() || any.iter().any(member)) && all.iter().all(member)))
    }

    /// Whether this version is the one that is told of: where several versions of one id name a
    /// person, the one valid that day speaks for all, else the last.
    pub(super) fn speaks(&self, day: NaiveDate) -> bool {
        let silent = |others: &[Validity]| !others.iter().any(|valid| valid.contains(day));
        self.valid.contains(day) || self.others.as_deref().is_some_and(silent)
    }

    /// The first reason of time why it does not come into question.
    pub(super) fn untimely(&self, local: LocalTime) -> Option<SkipReason> {
        if !self.valid.contains(local.date) {
            return Some(SkipReason::Validity);
        }
        let outside = self.schedule.as_ref().is_some_and(|schedule| !schedule.holds(local));
        outside.then_some(SkipReason::Schedule)
    }
}

/// The registry's instructions in the order of application: ascending priority, then id, then
/// version.
pub(super) fn rules(
    registry: &Registry,
    groups: &Index<GroupId, u32>,
    grantors: &Index<GrantorId, u32>,
    marks: &Marks,
) -> Vec<Rule> {
    let benefits: HashMap<_, _> =
        registry.benefits.iter().map(|benefit| (&benefit.id, &benefit.grantor)).collect();
    let mut contests: HashMap<(u32, &str), u32> = HashMap::new();
    let mut rules = Vec::with_capacity(registry.instructions.len());
    for instruction in &registry.instructions {
        // Analysis has refused instructions of unknown benefits and grantors.
        let Some(grantor_id) = benefits.get(&instruction.benefit) else { continue };
        let Some(grantor) = grantors.get(*grantor_id) else { continue };
        let contest = match &instruction.stacking {
            Stacking::BestOf(name) => {
                let next = u32::try_from(contests.len()).unwrap_or(u32::MAX);
                Some(*contests.entry((*grantor, name)).or_insert(next))
            }
            _ => None,
        };
        rules.push(Rule {
            instruction: Box::new(instruction.clone()),
            valid: instruction.valid,
            grantor: GrantorIndex(*grantor),
            contest,
            closing: closing(&instruction.stacking),
            content: marks.content(&instruction.content),
            effect: instruction.effect,
            on_limit: instruction.on_limit,
            limits: limits(&instruction.limits),
            counts_people: instruction.limits.iter().any(|limit| limit.per != Per::Instruction),
            outcome: outcome(instruction, grantor_id),
            schedule: instruction.schedule.clone(),
            recipients: recipients(&instruction.recipients, groups),
            others: None,
        });
    }
    rules.sort_by(|a, b| {
        let key = |rule: &Rule| {
            let Instruction { priority, id, version, .. } = &*rule.instruction;
            (*priority, id.clone(), *version)
        };
        key(a).cmp(&key(b))
    });
    note_versions(&mut rules);
    rules
}

/// Notes with the last version of each id when the others are valid.
fn note_versions(rules: &mut [Rule]) {
    let mut versions: HashMap<InstructionId, Vec<(usize, u32, Validity)>> = HashMap::new();
    for (at, rule) in rules.iter().enumerate() {
        let of_id = versions.entry(rule.instruction.id.clone()).or_default();
        of_id.push((at, rule.instruction.version, rule.valid));
    }
    for (at, rule) in rules.iter_mut().enumerate() {
        let Some(of_id) = versions.get(&rule.instruction.id) else { continue };
        let others = of_id.iter().filter(|(_, version, _)| *version != rule.instruction.version);
        if others.clone().all(|(other, ..)| *other < at) {
            rule.others = Some(others.map(|(.., valid)| *valid).collect());
        }
    }
}

const fn closing(stacking: &Stacking) -> Closing {
    match stacking {
        Stacking::Stack | Stacking::BestOf(_) => Closing::Nobody,
        Stacking::Exclusive => Closing::Grantor,
        Stacking::ExclusiveAll => Closing::Everybody,
    }
}

fn limits(limits: &[Limit]) -> Box<[RuleLimit]> {
    let counts = |limit: &Limit| (limit.per, limit.period, limit.measure);
    let with_repeats = limits.iter().enumerate().map(|(at, limit)| RuleLimit {
        limit: *limit,
        repeats: limits[..at].iter().any(|before| counts(before) == counts(limit)),
    });
    with_repeats.collect()
}

fn recipients(
    recipients: &domain::instruction::Recipients,
    groups: &Index<GroupId, u32>,
) -> Recipients {
    let places = |ids: &[GroupId]| ids.iter().filter_map(|id| groups.get(id).copied()).collect();
    Recipients {
        everyone: recipients.everyone,
        any: places(&recipients.any),
        all: places(&recipients.all),
        none: places(&recipients.none),
    }
}

fn outcome(instruction: &Instruction, grantor: &GrantorId) -> InstructionOutcome {
    InstructionOutcome {
        instruction: instruction.id.clone(),
        version: instruction.version,
        benefit: instruction.benefit.clone(),
        grantor: grantor.clone(),
        skipped: Some(SkipReason::NothingPayable),
        amount: Amount::ZERO,
        wanted: None,
        points: 0,
        limits: Vec::new(),
    }
}
