//! How instructions stand to one recipient on a day, wherever that is and whatever is bought.

use chrono::NaiveDate;
use domain::{
    id::GrantorId,
    instruction::Instruction,
    limit::{CounterKey, Limit},
    recipient::Recipient,
};

use super::{compile::RuleSet, limits::Counting, rule::Rule};

/// An instruction valid on a day, seen by one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a, 'of> {
    rule: &'a Rule,
    counting: Counting<'of>,
    /// Whether its recipients include this one.
    pub is_for: bool,
}

impl RuleSet {
    /// The instructions valid on a local day, in the order of application, as they stand to a
    /// recipient of that day's groups.
    pub fn standings<'a, 'of>(
        &'a self,
        recipient: &'of Recipient,
        day: NaiveDate,
    ) -> impl Iterator<Item = Standing<'a, 'of>> {
        let groups = self.groups_of(Some(recipient));
        let counting = Counting::new(Some(recipient), day);
        let valid = self.rules.iter().filter(move |rule| rule.valid.contains(day));
        valid.map(move |rule| Standing { rule, counting, is_for: rule.is_for(&groups) })
    }
}

impl<'a, 'of> Standing<'a, 'of> {
    /// The instruction.
    #[must_use]
    pub fn instruction(&self) -> &'a Instruction {
        &self.rule.instruction
    }

    /// Who funds it.
    #[must_use]
    pub const fn grantor(&self) -> &'a GrantorId {
        &self.rule.outcome.grantor
    }

    /// Its limits, each with the counter that a decision of that day would read; none for a limit per
    /// basket.
    pub fn limits(&self) -> impl Iterator<Item = (Limit, Option<CounterKey>)> + use<'a, 'of> {
        let Self { rule, counting, .. } = *self;
        rule.limits.iter().map(move |of| (of.limit, counting.key(rule, &of.limit)))
    }
}
