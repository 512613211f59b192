//! Which instructions come into question, and on which lines (1).

use domain::{
    basket::Lines,
    decision::{InstructionOutcome, SkipReason},
    period::LocalTime,
};

use super::{
    compile::{RuleSet, Site, TerminalIndex},
    content::Marked,
    index::Bits,
    line_set::{FEW, LineSet, MANY},
    rule::Rule,
    state::LineState,
};

/// Where, when and for whom a basket is, as instructions ask for it.
#[derive(Debug)]
pub(super) struct Occasion<'a> {
    site: &'a Site,
    local: LocalTime,
    groups: Bits,
    /// The grantors with a contract in force.
    contracted: Bits,
}

impl<'a> Occasion<'a> {
    pub(super) fn new(
        rules: &'a RuleSet,
        terminal: TerminalIndex,
        local: LocalTime,
        groups: Bits,
    ) -> Self {
        let contracted = rules.contracted(terminal, local.date);
        Self { site: rules.site(terminal), local, groups, contracted }
    }

    /// Whether the explanation tells of a rule.
    pub(super) fn names(&self, rule: &Rule) -> bool {
        rule.is_for(&self.groups) && rule.speaks(self.local.date)
    }

    /// The matching lines of a rule that comes into question, or the first reason why it does not.
    pub(super) fn candidate<const WORDS: usize>(
        &self,
        at: u32,
        rule: &Rule,
        marked: &Marked<WORDS>,
        states: &[LineState],
    ) -> Result<LineSet<WORDS>, SkipReason> {
        if let Some(reason) = rule.untimely(self.local) {
            return Err(reason);
        }
        if !self.site.is_in_scope(at) {
            return Err(SkipReason::Scope);
        }
        if !self.contracted.contains(rule.grantor.0) {
            return Err(SkipReason::Contract);
        }
        marked.matching(&rule.content, states).ok_or(SkipReason::Content)
    }
}

/// The matching lines of a rule that came into question when the lines were sold, or the reason that
/// was told of it then: where and when that was stays as it was.
pub(super) fn again<const WORDS: usize>(
    rule: &Rule,
    told: &InstructionOutcome,
    marked: &Marked<WORDS>,
    states: &[LineState],
) -> Result<LineSet<WORDS>, SkipReason> {
    use SkipReason::{Contract, Schedule, Scope, Validity};
    match told.skipped {
        Some(reason @ (Validity | Schedule | Scope | Contract)) => Err(reason),
        _ => marked.matching(&rule.content, states).ok_or(SkipReason::Content),
    }
}

/// The places of the sold lines that a rule's content matches, wherever and whenever that is; none
/// where what it asks for is not there.
pub(super) fn matching(rules: &RuleSet, rule: &Rule, lines: &Lines) -> Vec<usize> {
    fn places<const WORDS: usize>(rules: &RuleSet, rule: &Rule, lines: &Lines) -> Vec<usize> {
        let states: Vec<LineState> = lines.iter().map(LineState::of).collect();
        let mut marked = Marked::<WORDS>::default();
        rules.mark_sold(lines, &mut marked);
        let matching = marked.matching(&rule.content, &states);
        matching.map(|lines| lines.places().collect()).unwrap_or_default()
    }
    if lines.len() <= 64 * FEW {
        places::<FEW>(rules, rule, lines)
    } else {
        places::<MANY>(rules, rule, lines)
    }
}
