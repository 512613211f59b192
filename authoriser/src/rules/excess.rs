//! What an offline terminal gave beyond our decision.
//!
//! On one line ours and the excess together are what the terminal gave there, if it gave more than we
//! do, and never more than its price. So where it gave by one instruction what we give by another,
//! that is not paid for twice.

use std::collections::BTreeMap;

use domain::{
    amount::allocate,
    basket::{Applied, Request},
    decision::{Decision, LineDecision},
    grantor::ExcessBearer,
    id::{GrantorId, InstructionId},
    period::LocalTime,
};

use super::RuleSet;
use crate::publish::Excess;

/// The lines of a decision by their numbers.
type Lines<'a> = BTreeMap<u32, &'a LineDecision>;

/// The excess of an upload that says what it gave, per line and instruction; it counts toward no
/// limit. Empty where the upload does not say.
#[must_use]
pub fn excess(rules: &RuleSet, request: &Request, decision: &Decision) -> Vec<Excess> {
    let applied = request.applied.as_deref().unwrap_or_default();
    if applied.is_empty() {
        return Vec::new();
    }
    let lines: Lines<'_> = decision.lines.iter().map(|line| (line.number, line)).collect();
    let mut found = given(rules, request, applied);
    for excess in &mut found {
        excess.cents = excess.cents.saturating_sub(ours(&lines, excess));
    }
    found.retain(|excess| excess.cents > 0);
    keep_within_lines(applied, &lines, &mut found);
    found
}

/// All that the terminal gave, in the order in which it says so; what it says by parts together. There may
/// be thousands of entries, and while they are looked through nobody else's basket is decided.
fn given(rules: &RuleSet, request: &Request, applied: &[Applied]) -> Vec<Excess> {
    let day = LocalTime::of(request.occurred_at).date;
    let terminal = rules.terminal(&request.terminal);
    let bearer = |grantor: Option<&GrantorId>| {
        let known = terminal.zip(grantor);
        known.map_or(ExcessBearer::Merchant, |(at, of)| rules.excess_bearer(at, of, day))
    };
    let mut found: Vec<Excess> = Vec::new();
    let mut places: BTreeMap<(u32, &InstructionId), usize> = BTreeMap::new();
    for applied in applied {
        let (line, instruction) = (applied.line, &applied.instruction);
        let place = *places.entry((line, instruction)).or_insert(found.len());
        if let Some(known) = found.get_mut(place) {
            known.cents = known.cents.saturating_add(applied.amount.cents());
            continue;
        }
        let rule = rules.rule_on(instruction, day);
        found.push(Excess {
            line,
            instruction: instruction.clone(),
            version: rule.map_or(0, |rule| rule.instruction.version),
            benefit: rule.map(|rule| (rule.outcome.benefit.clone(), rule.outcome.grantor.clone())),
            cents: applied.amount.cents(),
            borne_by: bearer(rule.map(|rule| &rule.outcome.grantor)),
        });
    }
    found
}

/// What we give by the same instruction on the same line.
fn ours(lines: &Lines<'_>, excess: &Excess) -> i64 {
    let benefits = lines.get(&excess.line).into_iter().flat_map(|line| &line.benefits);
    benefits
        .filter(|benefit| benefit.instruction == excess.instruction)
        .map(|benefit| benefit.amount.cents())
        .sum()
}

/// Leaves of the excess on each line no more than the terminal gave there beyond all that we give
/// there, cut in proportion; nothing on a line that was not sold.
fn keep_within_lines(applied: &[Applied], lines: &Lines<'_>, found: &mut Vec<Excess>) {
    let mut gave: BTreeMap<u32, i64> = BTreeMap::new();
    for applied in applied {
        let sum = gave.entry(applied.line).or_default();
        *sum = sum.saturating_add(applied.amount.cents());
    }
    let mut by_line: BTreeMap<u32, Vec<&mut Excess>> = BTreeMap::new();
    for excess in found.iter_mut() {
        by_line.entry(excess.line).or_default().push(excess);
    }
    for (line, on_line) in by_line {
        let weights: Vec<i64> = on_line.iter().map(|of| of.cents).collect();
        let all = weights.iter().fold(0_i64, |sum, cents| sum.saturating_add(*cents));
        let gave = gave.get(&line).copied().unwrap_or(0);
        let most = lines.get(&line).map_or(0, |decided| most_on(decided, gave));
        if all <= most {
            continue;
        }
        let parts = allocate(most, &weights);
        on_line.into_iter().zip(parts).for_each(|(excess, part)| excess.cents = part);
    }
    found.retain(|excess| excess.cents > 0);
}

/// What a terminal that `gave` so much on a line can have given there beyond ours.
fn most_on(decided: &LineDecision, gave: i64) -> i64 {
    let ours: i64 = decided.benefits.iter().map(|benefit| benefit.amount.cents()).sum();
    gave.saturating_sub(ours).min(decided.payable.cents()).max(0)
}
