//! Which instructions come into question, and on which lines (1).

use chrono::NaiveDate;
use domain::{
    basket::{Line, Lines},
    decision::SkipReason,
    instruction::{Content, Selector},
    merchant::Category,
    period::LocalTime,
};

use super::{
    compile::{Rule, RuleSet, TerminalIndex},
    state::LineState,
};

/// A basket with each line's category.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) lines: &'a Lines,
    categories: Vec<Option<&'a Category>>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(rules: &'a RuleSet, terminal: TerminalIndex, lines: &'a Lines) -> Self {
        let categories = lines.iter().map(|line| rules.category(terminal, line)).collect();
        Self { lines, categories }
    }

    /// The places of the matching lines; `None` where what the content asks for is not there.
    pub(super) fn matching(&self, content: &Content, states: &[LineState]) -> Option<Vec<usize>> {
        let (mut matching, mut units, mut total) = (Vec::new(), 0_i64, 0_i64);
        for (at, state) in states.iter().enumerate() {
            if content.none.iter().any(|selector| self.selects(selector, at)) {
                continue;
            }
            total += state.total;
            let any = content.any.is_empty()
                || content.any.iter().any(|selector| self.selects(selector, at));
            if any {
                matching.push(at);
                units += state.units;
            }
        }
        let required = |selector: &Selector| (0..states.len()).any(|at| self.selects(selector, at));
        let there = !matching.is_empty()
            && units >= content.min_quantity
            && total >= content.min_basket.cents()
            && content.requires.iter().all(required);
        there.then_some(matching)
    }

    /// Whether a selector means a line; its keys hold together.
    fn selects(&self, selector: &Selector, at: usize) -> bool {
        let line: &Line = &self.lines[at];
        selector.item.as_ref().is_none_or(|item| *item == line.item)
            && selector.category.as_ref().is_none_or(|wanted| {
                self.categories[at].is_some_and(|category| category.is_within(wanted))
            })
            && selector
                .attributes
                .iter()
                .all(|(name, value)| line.attributes.get(name) == Some(value))
    }
}

/// The matching lines of an instruction that comes into question, or the first reason why it does
/// not.
pub(super) fn candidate(
    rules: &RuleSet,
    at: usize,
    terminal: TerminalIndex,
    local: LocalTime,
    contents: &Contents<'_>,
    states: &[LineState],
) -> Result<Vec<usize>, SkipReason> {
    let rule: &Rule = &rules.rules[at];
    let day: NaiveDate = local.date;
    let instruction = &rule.instruction;
    if !instruction.valid.contains(day) {
        return Err(SkipReason::Validity);
    }
    if instruction.schedule.as_ref().is_some_and(|schedule| !schedule.holds(local)) {
        return Err(SkipReason::Schedule);
    }
    if !rules.in_scope(terminal, at) {
        return Err(SkipReason::Scope);
    }
    if !rules.has_contract(terminal, rule.grantor, day) {
        return Err(SkipReason::Contract);
    }
    contents.matching(&instruction.content, states).ok_or(SkipReason::Content)
}
