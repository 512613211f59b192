//! What happens to the lines while instructions are applied to them.

use domain::{
    basket::Line,
    decision::{LineBenefit, LineDecision},
    instruction::Stacking,
};

use super::compile::{GrantorIndex, Rule, RuleSet};

/// One line as the instructions before have left it.
#[derive(Clone, Debug)]
pub(super) struct LineState {
    pub(super) number: u32,
    pub(super) total: i64,
    pub(super) payable: i64,
    pub(super) units: i64,
    /// Who has given a cent on it.
    touched_by: Vec<GrantorIndex>,
    /// To whose later instructions it is closed.
    closed_to: Vec<GrantorIndex>,
    closed_to_all: bool,
    pub(super) benefits: Vec<LineBenefit>,
}

/// What one instruction gives on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The line's place in the basket.
    pub(super) at: usize,
    /// Cents.
    pub(super) cents: i64,
    /// Units it is given on.
    pub(super) units: i64,
    /// Cents it would have been without limits.
    pub(super) wanted: i64,
}

impl LineState {
    pub(super) fn of(line: &Line) -> Self {
        let total = line.total().cents();
        Self {
            number: line.number,
            total,
            payable: total,
            units: line.quantity.units(),
            touched_by: Vec::new(),
            closed_to: Vec::new(),
            closed_to_all: false,
            benefits: Vec::new(),
        }
    }

    /// Whether stacking leaves this line to an instruction (3).
    pub(super) fn is_left_to(&self, rule: &Rule) -> bool {
        let closed = self.closed_to_all || self.closed_to.contains(&rule.grantor);
        !closed
            && match rule.instruction.stacking {
                Stacking::Stack | Stacking::BestOf(_) => true,
                Stacking::Exclusive => !self.touched_by.contains(&rule.grantor),
                Stacking::ExclusiveAll => self.touched_by.is_empty(),
            }
    }

    pub(super) fn decided(self) -> LineDecision {
        LineDecision {
            number: self.number,
            total: domain::amount::Amount::from_cents(self.total),
            payable: domain::amount::Amount::from_cents(self.payable),
            benefits: self.benefits,
        }
    }
}

/// Gives an instruction's shares: lowers what is payable, marks and closes the lines, and splits
/// the cost between grantor and merchant (7).
pub(super) fn give(lines: &mut [LineState], rule: &Rule, shares: &[Share]) {
    use domain::amount::{Amount, allocate};

    let cents: Vec<i64> = shares.iter().map(|share| share.cents).collect();
    let sum: i64 = cents.iter().sum();
    let grantor_sum = rule.instruction.grantor_share.of(sum);
    let grantor_parts = allocate(grantor_sum, &cents);
    for (share, grantor_part) in shares.iter().zip(grantor_parts) {
        let line = &mut lines[share.at];
        line.payable -= share.cents;
        line.touched_by.push(rule.grantor);
        match rule.instruction.stacking {
            Stacking::Stack | Stacking::BestOf(_) => {}
            Stacking::Exclusive => line.closed_to.push(rule.grantor),
            Stacking::ExclusiveAll => line.closed_to_all = true,
        }
        line.benefits.push(LineBenefit {
            instruction: rule.instruction.id.clone(),
            version: rule.instruction.version,
            units: share.units,
            amount: Amount::from_cents(share.cents),
            wanted: (share.wanted != share.cents).then(|| Amount::from_cents(share.wanted)),
            grantor_amount: Amount::from_cents(grantor_part),
        });
    }
}

/// Which rules name a person, in order: where several versions of one id do, the one valid that day
/// speaks for all.
pub(super) fn speaking(rules: &RuleSet, day: chrono::NaiveDate) -> impl Fn(usize) -> bool + '_ {
    move |at: usize| {
        let this = &rules.rules[at].instruction;
        if this.valid.contains(day) {
            return true;
        }
        let mut others = rules.rules.iter().enumerate().filter(|(_, rule)| {
            rule.instruction.id == this.id && rule.instruction.version != this.version
        });
        !others.any(|(other, rule)| rule.instruction.valid.contains(day) || other > at)
    }
}
