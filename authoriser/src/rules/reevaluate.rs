//! Refunds whose instruction says `on_refund: reevaluate`: the basket is decided again as if the
//! returned units had not been bought, with the sale's versions, groups and recorded room. Such an
//! instruction never gives more than it first gave, on whatever lines; what an earlier refund took back
//! stays taken back (its room may be somebody else's by now), and the refund is never below zero.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    amount::{Amount, Quantity, allocate, mul_div_half_away},
    basket::{Line, Lines, PointsWanted},
    decision::{Decision, LineDecision},
    id::{BenefitId, InstructionId, RecipientId},
    instruction::OnRefund,
    limit::{CounterKey, Holder, Per},
    refund::RefundedBenefit,
};

use super::{
    Counters, Input, RuleSet,
    evaluate::evaluate_again,
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
    let affected: Vec<_> = rules_of(rules, sale)
        .filter(|(_, on_refund)| *on_refund == OnRefund::Reevaluate)
        .map(|(outcome, _)| (&outcome.instruction, outcome.version))
        .collect();
    for of in &affected {
        for (line, target) in targets(sale, again.as_ref(), so_far, of.0) {
            take_back(next, benefits, line, *of, target);
        }
    }
    let is_affected = |id: &InstructionId| affected.iter().any(|(of, _)| *of == id);
    let moved: BTreeSet<u32> =
        next.benefits.keys().filter(|(_, id)| is_affected(id)).map(|(line, _)| *line).collect();
    for (line, decided) in sale.input.lines.iter().zip(&sale.decision.lines) {
        if moved.contains(&line.number) {
            settle_payable(next, payable, line, decided);
        }
    }
    keep_refund_above_zero(sale, next, payable, benefits, is_affected);
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
    let recorded = Recorded { rules, decision: sale.decision };
    Some(evaluate_again(rules, &input, &recorded, sale.decision))
}

/// How much of an instruction is taken back so far, per line: what the sale gave there and deciding
/// again does not. On one line that may be less than nothing; in all it is never less than it was.
fn targets(
    sale: &Sale<'_>,
    again: Option<&Decision>,
    so_far: &Refunded,
    instruction: &InstructionId,
) -> BTreeMap<u32, Back> {
    let given = given(sale.decision, instruction);
    let stays = again.map(|again| self::given(again, instruction)).unwrap_or_default();
    let stays = at_most(stays, sum(given.values()));
    let of_it = so_far.benefits.iter().filter(|((_, id), _)| id == instruction);
    let before: BTreeMap<u32, Back> = of_it.map(|((line, _), back)| (*line, *back)).collect();
    let lines: BTreeSet<u32> =
        given.keys().chain(stays.keys()).chain(before.keys()).copied().collect();
    let of = |map: &BTreeMap<u32, Back>, line| map.get(&line).copied().unwrap_or_default();
    let difference = |line| {
        let (given, stays) = (of(&given, line), of(&stays, line));
        Back {
            units: given.units - stays.units,
            cents: given.cents - stays.cents,
            grantor_cents: given.grantor_cents - stays.grantor_cents,
        }
    };
    let mut targets: BTreeMap<u32, Back> =
        lines.into_iter().map(|line| (line, difference(line))).collect();
    let (now, then) = (sum(targets.values()), sum(before.values()));
    for (line, target) in &mut targets {
        let before = of(&before, *line);
        if now.units < then.units {
            target.units = before.units;
        }
        if now.cents < then.cents {
            (target.cents, target.grantor_cents) = (before.cents, before.grantor_cents);
        }
    }
    targets
}

/// What a decision gives by an instruction, per line.
fn given(decision: &Decision, instruction: &InstructionId) -> BTreeMap<u32, Back> {
    let of_line = |line: &LineDecision| {
        let benefit = line.benefits.iter().find(|benefit| benefit.instruction == *instruction)?;
        let back = Back {
            units: benefit.units,
            cents: benefit.amount.cents(),
            grantor_cents: benefit.grantor_amount.cents(),
        };
        Some((line.number, back))
    };
    decision.lines.iter().filter_map(of_line).collect()
}

fn sum<'a>(of: impl Iterator<Item = &'a Back>) -> Back {
    of.fold(Back::default(), |sum, one| Back {
        units: sum.units + one.units,
        cents: sum.cents + one.cents,
        grantor_cents: sum.grantor_cents + one.grantor_cents,
    })
}

/// No more in all than `most`, cut in proportion.
fn at_most(mut stays: BTreeMap<u32, Back>, most: Back) -> BTreeMap<u32, Back> {
    let all = sum(stays.values());
    if all.units > most.units {
        let weights: Vec<i64> = stays.values().map(|of| of.units).collect();
        let parts = allocate(most.units, &weights);
        stays.values_mut().zip(parts).for_each(|(of, units)| of.units = units);
    }
    if all.cents > most.cents {
        let weights: Vec<i64> = stays.values().map(|of| of.cents).collect();
        let cents = allocate(most.cents, &weights);
        let grantors = mul_div_half_away(most.cents, all.grantor_cents, all.cents);
        let grantors = allocate(grantors, &cents);
        for (of, (cents, grantor_cents)) in stays.values_mut().zip(cents.into_iter().zip(grantors))
        {
            *of = Back { units: of.units, cents, grantor_cents };
        }
    }
    stays
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
    is_affected: impl Fn(&InstructionId) -> bool,
) {
    let refunded: i64 = payable.iter().map(|(_, cents)| cents).sum();
    if refunded >= 0 {
        return;
    }
    let backs: Vec<usize> = (0..benefits.len())
        .filter(|at| is_affected(&benefits[*at].instruction) && benefits[*at].amount > Amount::ZERO)
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
            let (grantor, all) = (given.grantor_amount.cents(), given.amount.cents());
            let share = mul_div_half_away(spared, grantor, all);
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
