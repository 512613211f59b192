//! What an offline terminal gave beyond our decision.
//!
//! On one line ours and the excess together are what the terminal gave there, if it gave more than we
//! do, and never more than its price. So where it gave by one instruction what we give by another,
//! that is not paid for twice.

use std::collections::BTreeSet;

use domain::{
    amount::allocate, basket::Request, decision::Decision, grantor::ExcessBearer, id::GrantorId,
    period::LocalTime,
};

use super::RuleSet;
use crate::publish::Excess;

/// The excess of an upload that says what it gave, per line and instruction; it counts toward no
/// limit. Empty where the upload does not say.
#[must_use]
pub fn excess(rules: &RuleSet, request: &Request, decision: &Decision) -> Vec<Excess> {
    let day = LocalTime::of(request.occurred_at).date;
    let terminal = rules.terminal(&request.terminal);
    let bearer = |grantor: Option<&GrantorId>| {
        let known = terminal.zip(grantor);
        known.map_or(ExcessBearer::Merchant, |(at, of)| rules.excess_bearer(at, of, day))
    };
    let mut found: Vec<Excess> = Vec::new();
    for applied in request.applied.iter().flatten() {
        let known = found.iter_mut().find(|excess| {
            excess.line == applied.line && excess.instruction == applied.instruction
        });
        if let Some(known) = known {
            known.cents = known.cents.saturating_add(applied.amount.cents());
            continue;
        }
        let rule = rules.rule_on(&applied.instruction, day);
        found.push(Excess {
            line: applied.line,
            instruction: applied.instruction.clone(),
            version: rule.map_or(0, |rule| rule.instruction.version),
            benefit: rule.map(|rule| (rule.outcome.benefit.clone(), rule.outcome.grantor.clone())),
            cents: applied.amount.cents(),
            borne_by: bearer(rule.map(|rule| &rule.outcome.grantor)),
        });
    }
    for excess in &mut found {
        let lines = decision.lines.iter().filter(|line| line.number == excess.line);
        let ours = lines
            .flat_map(|line| &line.benefits)
            .filter(|benefit| benefit.instruction == excess.instruction)
            .map(|benefit| benefit.amount.cents())
            .sum::<i64>();
        excess.cents = excess.cents.saturating_sub(ours);
    }
    found.retain(|excess| excess.cents > 0);
    keep_within_lines(request, decision, &mut found);
    found
}

/// Leaves of the excess on each line no more than the terminal gave there beyond all that we give
/// there, cut in proportion; nothing on a line that was not sold.
fn keep_within_lines(request: &Request, decision: &Decision, found: &mut Vec<Excess>) {
    let lines: BTreeSet<u32> = found.iter().map(|excess| excess.line).collect();
    for line in lines {
        let on_line = |excess: &Excess| excess.line == line;
        let weights: Vec<i64> = found.iter().filter(|of| on_line(of)).map(|of| of.cents).collect();
        let all = weights.iter().fold(0_i64, |sum, cents| sum.saturating_add(*cents));
        let most = most_on(request, decision, line);
        if all <= most {
            continue;
        }
        let parts = allocate(most, &weights);
        let of_line = found.iter_mut().filter(|of| on_line(of));
        of_line.zip(parts).for_each(|(excess, part)| excess.cents = part);
    }
    found.retain(|excess| excess.cents > 0);
}

/// What the terminal can have given on a line beyond ours.
fn most_on(request: &Request, decision: &Decision, line: u32) -> i64 {
    let Some(decided) = decision.lines.iter().find(|decided| decided.number == line) else {
        return 0;
    };
    let applied = request.applied.iter().flatten().filter(|applied| applied.line == line);
    let gave = applied.fold(0_i64, |sum, of| sum.saturating_add(of.amount.cents()));
    let ours: i64 = decided.benefits.iter().map(|benefit| benefit.amount.cents()).sum();
    gave.saturating_sub(ours).min(decided.payable.cents()).max(0)
}
