//! Refunds whose instruction says `on_refund: reevaluate`: the basket is decided again as if the
//! returned units had not been bought, with the sale's versions, groups and recorded room. Such an
//! instruction never gives more than it first gave, what an earlier refund took back stays taken back
//! (its room may be somebody else's by now), and the refund is never below zero.

use std::collections::BTreeMap;

use domain::{
    amount::{Amount, Quantity, allocate},
    basket::{Line, Lines, PointsWanted},
    decision::{Decision, LineBenefit, LineDecision},
    id::{BenefitId, InstructionId, RecipientId},
    instruction::OnRefund,
    limit::{CounterKey, Holder, Per},
    refund::RefundedBenefit,
};

use super::{
    Counters, Input, RuleSet, evaluate,
    refund::{Back, Refunded, Sale, rules_of, take_back},
};

/// The counters as they stood before the sale, from the room that its decision recorded.
struct Recorded<'a> {
    rules: &'a RuleSet,
    decision: &'a Decision,
}

impl Counters for Recorded<'_> {
    fn used(&self, key: &CounterKey) -> i64 {
        let per = match key.holder {
            Holder::Recipient(_) => Per::Recipient,
            Holder::Household(_) => Per::Household,
            Holder::Instruction => Per::Instruction,
        };
        let outcomes = &self.decision.instructions;
        let Some(outcome) = outcomes.iter().find(|of| of.instruction == key.instruction) else {
            return 0;
        };
        let version = self.rules.version(&outcome.instruction, outcome.version);
        let max = version.and_then(|rule| {
            let same = |at: &&domain::limit::Limit| {
                at.per == per && at.period == key.period && at.measure == key.measure
            };
            rule.instruction.limits.iter().find(same).map(|limit| limit.max)
        });
        let before = outcome.limits.iter().find(|room| {
            room.per == per && room.period == key.period && room.measure == key.measure
        });
        match (max, before) {
            (Some(max), Some(room)) => max - room.before,
            _ => 0,
        }
    }

    fn points(&self, _: RecipientId, benefit: &BenefitId) -> i64 {
        let moved = self.decision.points.iter().filter(|moved| moved.benefit == *benefit);
        moved.map(|moved| (-moved.change).max(0)).sum()
    }
}

/// Replaces what proportion would take back of such instructions by what deciding again does.
pub(super) fn adjust(
    rules: &RuleSet,
    sale: &Sale<'_>,
    so_far: &Refunded,
    next: &mut Refunded,
    payable: &mut [(u32, i64)],
    benefits: &mut Vec<RefundedBenefit>,
) {
    let again = decide_again(rules, sale, next);
    let affected: Vec<InstructionId> = rules_of(rules, sale)
        .filter(|(_, on_refund)| *on_refund == OnRefund::Reevaluate)
        .map(|(outcome, _)| outcome.instruction.clone())
        .collect();
    for instruction in &affected {
        for (line, benefit, target) in targets(sale, again.as_ref(), instruction) {
            let before = so_far.benefits.get(&(line, instruction.clone())).copied();
            let target = no_less(target, before.unwrap_or_default());
            take_back(next, benefits, line, benefit, target);
        }
    }
    for (line, decided) in sale.input.lines.iter().zip(&sale.decision.lines) {
        if decided.benefits.iter().any(|of| affected.contains(&of.instruction)) {
            settle_payable(next, payable, line, decided);
        }
    }
    keep_refund_above_zero(sale, next, payable, benefits, &affected);
}

/// The basket without what came back; `None` where nothing is left.
fn decide_again(rules: &RuleSet, sale: &Sale<'_>, next: &Refunded) -> Option<Decision> {
    let left = sale.input.lines.iter().filter_map(|line| {
        let returned = next.returned.get(&line.number).copied().unwrap_or(0);
        let quantity = line.quantity.thousandths() - returned;
        (quantity > 0)
            .then(|| Line { quantity: Quantity::from_thousandths(quantity), ..line.clone() })
    });
    let lines = Lines::new(left.collect()).ok()?;
    let input = Input {
        lines: &lines,
        points: PointsWanted::UpTo(sale.decision.points_spent()),
        ..sale.input
    };
    Some(evaluate(rules, &input, &Recorded { rules, decision: sale.decision }))
}

/// How much of an instruction is taken back in all, per line of the sale on which it gave.
///
/// What deciding again gives stays, on lines where the sale gave too, and at most as much as the
/// sale gave there; so it never gives more than it first gave.
fn targets<'a>(
    sale: &Sale<'a>,
    again: Option<&Decision>,
    instruction: &InstructionId,
) -> Vec<(u32, &'a LineBenefit, Back)> {
    let stays: BTreeMap<u32, &LineBenefit> = again
        .into_iter()
        .flat_map(|again| &again.lines)
        .flat_map(|line| line.benefits.iter().map(|benefit| (line.number, benefit)))
        .filter(|(_, benefit)| benefit.instruction == *instruction)
        .collect();
    let mut targets = Vec::new();
    for line in &sale.decision.lines {
        for given in line.benefits.iter().filter(|given| given.instruction == *instruction) {
            let kept = stays.get(&line.number);
            let cents = |of: fn(&LineBenefit) -> Amount| {
                let kept = kept.map_or(0, |kept| of(kept).cents());
                of(given).cents() - kept.min(of(given).cents())
            };
            let units = given.units - kept.map_or(0, |kept| kept.units.min(given.units));
            let back = Back {
                units,
                cents: cents(|benefit| benefit.amount),
                grantor_cents: cents(|benefit| benefit.grantor_amount),
            };
            targets.push((line.number, given, back));
        }
    }
    targets
}

/// What deciding again takes back, but nothing of what an earlier refund took back is given anew.
fn no_less(target: Back, before: Back) -> Back {
    let units = target.units.max(before.units);
    if target.cents <= before.cents {
        return Back { units, ..before };
    }
    Back { units, grantor_cents: target.grantor_cents.max(before.grantor_cents), ..target }
}

/// What comes back of a line's payable is what its benefits leave of the returned goods' total, at
/// most what was paid; so rounding the parts apart never makes more of them than came back.
fn settle_payable(
    next: &mut Refunded,
    payable: &mut [(u32, i64)],
    line: &Line,
    decided: &LineDecision,
) {
    let returned = next.returned.get(&line.number).copied().unwrap_or(0);
    let left = Quantity::from_thousandths(line.quantity.thousandths() - returned);
    let gone = decided.total.cents() - left.price(line.unit_price);
    let of_line = next.benefits.iter().filter(|((number, _), _)| *number == line.number);
    let taken_back: i64 = of_line.map(|(_, back)| back.cents).sum();
    let target = (gone - taken_back).min(decided.payable.cents());
    let now = next.payable.get(&line.number).copied().unwrap_or(0);
    move_payable(next, payable, line.number, target - now);
}

fn move_payable(next: &mut Refunded, payable: &mut [(u32, i64)], line: u32, change: i64) {
    *next.payable.entry(line).or_default() += change;
    if let Some((_, cents)) = payable.iter_mut().find(|(number, _)| *number == line) {
        *cents += change;
    }
}

/// Where more benefit would be taken back than goods came back, the grantor keeps bearing the rest.
fn keep_refund_above_zero(
    sale: &Sale<'_>,
    next: &mut Refunded,
    payable: &mut [(u32, i64)],
    benefits: &mut [RefundedBenefit],
    affected: &[InstructionId],
) {
    let refunded: i64 = payable.iter().map(|(_, cents)| cents).sum();
    if refunded >= 0 {
        return;
    }
    let backs: Vec<usize> = (0..benefits.len())
        .filter(|at| {
            affected.contains(&benefits[*at].instruction) && benefits[*at].amount > Amount::ZERO
        })
        .collect();
    let weights: Vec<i64> = backs.iter().map(|at| benefits[*at].amount.cents()).collect();
    let spared = allocate(-refunded, &weights);
    for (at, spared) in backs.into_iter().zip(spared) {
        let back = &mut benefits[at];
        let spared = spared.min(back.amount.cents());
        let grantor = sale.decision.lines.iter().filter(|line| line.number == back.line);
        let given =
            grantor.flat_map(|line| &line.benefits).find(|of| of.instruction == back.instruction);
        let grantor_spared = given.map_or(0, |given| {
            let share = domain::amount::mul_div_half_away(
                spared,
                given.grantor_amount.cents(),
                given.amount.cents(),
            );
            share.min(back.grantor_amount.cents()).max(0)
        });
        back.amount = Amount::from_cents(back.amount.cents() - spared);
        back.grantor_amount = Amount::from_cents(back.grantor_amount.cents() - grantor_spared);
        let line = back.line;
        if let Some(total) = next.benefits.get_mut(&(line, back.instruction.clone())) {
            total.cents -= spared;
            total.grantor_cents -= grantor_spared;
        }
        move_payable(next, payable, line, spared);
    }
}
