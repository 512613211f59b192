//! What comes back after capture, in proportion or decided again.
//!
//! Refunded so far is round(x × returned ÷ quantity), and each refund is the difference to what was
//! refunded before: for payable, benefit and grantor's part alike; ⌊units × returned ÷ quantity⌋ for
//! units. So many small refunds give the same as one of all.

use std::collections::BTreeMap;

use domain::{
    amount::{Amount, Quantity, mul_div_half_away},
    basket::Line,
    decision::{Decision, InstructionOutcome, LineBenefit, PointsMovement},
    id::InstructionId,
    instruction::{Effect, OnRefund},
    limit::{CounterMovement, Measure},
    refund::{Refund, RefundError, RefundedBenefit, ReturnedLine},
};

use super::{Input, RuleSet, candidate::matching, reevaluate, rule::Rule};

/// A captured sale, as it was decided.
#[derive(Clone, Copy, Debug)]
pub struct Sale<'a> {
    /// What was decided about, with the recipient's groups of then.
    pub input: Input<'a>,
    /// The decision.
    pub decision: &'a Decision,
}

/// What has come back of a sale so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refunded {
    /// Thousandths returned of each line.
    pub(super) returned: BTreeMap<u32, i64>,
    /// Cents refunded of each line's payable.
    pub(super) payable: BTreeMap<u32, i64>,
    /// Taken back of each benefit of each line.
    pub(super) benefits: BTreeMap<(u32, InstructionId), Back>,
    /// Points moved back per instruction: returned (positive) or taken back (negative).
    pub(super) points: BTreeMap<InstructionId, i64>,
}

/// Units and cents taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Back {
    pub(super) units: i64,
    pub(super) cents: i64,
    pub(super) grantor_cents: i64,
}

/// Works out what a return gives back, and notes it in `so_far`.
///
/// `rules` must hold the versions of the sale.
///
/// # Errors
/// Where a line is not in the sale, more comes back than is still out, or nothing comes back;
/// `so_far` is then as before.
pub fn refund(
    rules: &RuleSet,
    sale: &Sale<'_>,
    so_far: &mut Refunded,
    returns: &[ReturnedLine],
) -> Result<Refund, RefundError> {
    let mut next = so_far.clone();
    take_returns(sale, &mut next, returns)?;
    let mut payable = Vec::new();
    let mut benefits = Vec::new();
    for (line, decided) in sale.input.lines.iter().zip(&sale.decision.lines) {
        let returned = next.returned.get(&line.number).copied().unwrap_or(0);
        let part = |cents: i64| mul_div_half_away(cents, returned, line.quantity.thousandths());
        let refunded = next.payable.entry(line.number).or_default();
        let now = part(decided.payable.cents());
        payable.push((line.number, now - *refunded));
        *refunded = now;
        for benefit in &decided.benefits {
            let target = proportional(line, benefit, returned);
            let of = (&benefit.instruction, benefit.version);
            take_back(&mut next, &mut benefits, line.number, of, target);
        }
    }
    if rules_of(rules, sale).any(|(_, on_refund)| on_refund == OnRefund::Reevaluate) {
        reevaluate::adjust(rules, sale, so_far, &mut next, &mut payable, &mut benefits);
    }
    // A refund may move a cent between grantor and merchant only: the parts round by themselves.
    benefits.retain(|back| {
        back.units != 0 || back.amount != Amount::ZERO || back.grantor_amount != Amount::ZERO
    });
    payable.retain(|(_, cents)| *cents != 0);
    let points = points(rules, sale, so_far, &mut next);
    let counters = counters(sale, so_far, &next);
    let whole = sale
        .input
        .lines
        .iter()
        .all(|line| next.returned.get(&line.number) == Some(&line.quantity.thousandths()));
    *so_far = next;
    Ok(Refund {
        refunded: Amount::from_cents(payable.iter().map(|(_, cents)| cents).sum()),
        lines: payable.into_iter().map(|(line, cents)| (line, Amount::from_cents(cents))).collect(),
        benefits,
        counters,
        points,
        whole,
    })
}

/// How each applied instruction works out a return.
pub(super) fn rules_of<'a>(
    rules: &'a RuleSet,
    sale: &'a Sale<'_>,
) -> impl Iterator<Item = (&'a InstructionOutcome, OnRefund)> {
    sale.decision.instructions.iter().filter(|outcome| outcome.skipped.is_none()).map(|outcome| {
        (
            outcome,
            version(rules, outcome)
                .map_or(OnRefund::Proportional, |rule| rule.instruction.on_refund),
        )
    })
}

fn version<'a>(rules: &'a RuleSet, outcome: &InstructionOutcome) -> Option<&'a Rule> {
    rules.version(&outcome.instruction, outcome.version)
}

fn take_returns(
    sale: &Sale<'_>,
    next: &mut Refunded,
    returns: &[ReturnedLine],
) -> Result<(), RefundError> {
    let nothing = |line: &ReturnedLine| line.quantity <= Quantity::default();
    if returns.is_empty() || returns.iter().any(nothing) {
        return Err(RefundError::Nothing);
    }
    for ReturnedLine { number, quantity } in returns {
        let line = sale.input.lines.iter().find(|line| line.number == *number);
        let line = line.ok_or(RefundError::NoSuchLine { number: *number })?;
        let returned = next.returned.entry(*number).or_default();
        *returned = returned.saturating_add(quantity.thousandths());
        if *returned > line.quantity.thousandths() {
            return Err(RefundError::MoreThanBought { number: *number });
        }
    }
    Ok(())
}

/// What a benefit has given back when so much of its line has come back.
fn proportional(line: &Line, benefit: &LineBenefit, returned: i64) -> Back {
    let quantity = line.quantity.thousandths();
    let part = |cents: i64| mul_div_half_away(cents, returned, quantity);
    let units = i128::from(benefit.units) * i128::from(returned) / i128::from(quantity);
    Back {
        units: i64::try_from(units).unwrap_or(benefit.units),
        cents: part(benefit.amount.cents()),
        grantor_cents: part(benefit.grantor_amount.cents()),
    }
}

/// Notes that an instruction has given back `target` of a line so far, and the difference to before.
pub(super) fn take_back(
    next: &mut Refunded,
    benefits: &mut Vec<RefundedBenefit>,
    line: u32,
    (instruction, version): (&InstructionId, u32),
    target: Back,
) {
    let before = next.benefits.entry((line, instruction.clone())).or_default();
    let (units, cents, grantor_cents) = (
        target.units - before.units,
        target.cents - before.cents,
        target.grantor_cents - before.grantor_cents,
    );
    *before = target;
    let same = |back: &&mut RefundedBenefit| back.line == line && back.instruction == *instruction;
    if let Some(back) = benefits.iter_mut().find(same) {
        back.units += units;
        back.amount = Amount::from_cents(back.amount.cents() + cents);
        back.grantor_amount = Amount::from_cents(back.grantor_amount.cents() + grantor_cents);
        return;
    }
    benefits.push(RefundedBenefit {
        line,
        instruction: instruction.clone(),
        version,
        units,
        amount: Amount::from_cents(cents),
        grantor_amount: Amount::from_cents(grantor_cents),
    });
}

/// Points follow: spent ones come back with their cents, earned ones are worked out again on what
/// is still payable.
fn points(
    rules: &RuleSet,
    sale: &Sale<'_>,
    so_far: &Refunded,
    next: &mut Refunded,
) -> Vec<PointsMovement> {
    let mut movements = Vec::new();
    for outcome in sale.decision.instructions.iter().filter(|outcome| outcome.points != 0) {
        let Some(rule) = version(rules, outcome) else { continue };
        let back = match rule.effect {
            Effect::EarnPoints { per, points } => {
                let matching = matching(rules, rule, sale.input.lines);
                let still = |at: usize| {
                    let decided = &sale.decision.lines[at];
                    let refunded = next.payable.get(&decided.number).copied().unwrap_or(0);
                    decided.payable.cents() - refunded
                };
                let payable: i64 = matching.into_iter().map(still).sum();
                let earned = payable / per.cents().max(1) * i64::from(points);
                earned - outcome.points
            }
            _ => {
                let cents = cents_back(next, &outcome.instruction);
                mul_div_half_away(-outcome.points, cents, outcome.amount.cents())
            }
        };
        let before = so_far.points.get(&outcome.instruction).copied().unwrap_or(0);
        next.points.insert(outcome.instruction.clone(), back);
        if back != before {
            let benefit = outcome.benefit.clone();
            movements.push(PointsMovement { benefit, change: back - before });
        }
    }
    movements
}

fn cents_back(refunded: &Refunded, instruction: &InstructionId) -> i64 {
    let of = refunded.benefits.iter().filter(|((_, id), _)| id == instruction);
    of.map(|(_, back)| back.cents).sum()
}

fn units_back(refunded: &Refunded, instruction: &InstructionId) -> i64 {
    let of = refunded.benefits.iter().filter(|((_, id), _)| id == instruction);
    of.map(|(_, back)| back.units).sum()
}

/// What goes back to the counters of the sale's periods; a use only when all its cents are back.
fn counters(sale: &Sale<'_>, so_far: &Refunded, next: &Refunded) -> Vec<CounterMovement> {
    let given = |instruction: &InstructionId| {
        let of = sale
            .decision
            .instructions
            .iter()
            .find(|outcome| outcome.instruction == *instruction && outcome.skipped.is_none());
        of.map_or(0, |outcome| outcome.amount.cents())
    };
    let back = |refunded: &Refunded, movement: &CounterMovement| {
        let instruction = &movement.key.instruction;
        match movement.key.measure {
            Measure::Units => units_back(refunded, instruction),
            Measure::AmountCents => cents_back(refunded, instruction),
            Measure::Uses => i64::from(cents_back(refunded, instruction) >= given(instruction)),
        }
    };
    let moved = sale.decision.counters.iter().map(|movement| CounterMovement {
        key: movement.key.clone(),
        change: back(so_far, movement) - back(next, movement),
    });
    moved.filter(|movement| movement.change != 0).collect()
}
