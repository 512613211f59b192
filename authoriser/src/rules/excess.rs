//! What an offline terminal gave beyond our decision.

use domain::{
    basket::Request, decision::Decision, grantor::ExcessBearer, id::GrantorId, period::LocalTime,
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
    found
}
