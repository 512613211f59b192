//! What becomes of an authorisation: its next record, from its history and what is asked.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    amount::{Quantity, mul_div_half_away},
    authorisation::{Status, Transition},
    period::LocalTime,
    refund::{Refund, ReturnedLine},
};
use ingest::wire::v1;

use crate::{
    cache::Movements,
    command::{Refusal, What},
    history::History,
    publish,
    rules::{self, RuleSet, Sale, TerminalIndex},
};

/// Who changes it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Acting<'a> {
    /// The terminal that asks, and its place; none where time ends a reservation.
    pub terminal: Option<(&'a str, &'a str)>,
    /// The terminal as the rules know it.
    pub index: Option<TerminalIndex>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The next record, and what it moves.
#[derive(Debug)]
pub struct Next {
    /// The record, without the caller's key.
    pub event: v1::AuthorisationChanged,
    /// What moves in the cache.
    pub movements: Movements,
}

/// The record that `what` makes of a history. `None` where there is nothing left to reverse.
///
/// # Errors
/// Where its state does not allow it, or more is returned than was bought.
pub fn next(
    rules: &RuleSet,
    history: &History,
    what: &What,
    acting: Acting<'_>,
) -> Result<Option<Next>, Refusal> {
    let status = history.status();
    match what {
        What::Capture { receipt } => {
            let mut event = transition(history, Transition::Capture, acting)?;
            event.receipt_number.clone_from(receipt);
            event.lines.clone_from(&history.decided.lines);
            event.lines_occurred_at = Some(history.decided.occurred_at);
            event.lines_date = Some(history.decided.date.clone());
            Ok(Some(Next { event, movements: Movements::default() }))
        }
        What::Void => give_back(history, Transition::Void, acting).map(Some),
        What::Refund(returned) => refund(rules, history, returned, acting).map(Some),
        What::Reverse(_) => match status {
            Status::Reserved => give_back(history, Transition::Void, acting).map(Some),
            Status::Captured | Status::PartiallyRefunded => {
                let rest = rest(history);
                refund(rules, history, &rest, acting).map(Some)
            }
            Status::Voided | Status::Expired | Status::Refunded => Ok(None),
        },
    }
}

/// The record that ends a reservation which nobody captured in time; `None` where it has ended.
#[must_use]
pub fn expire(history: &History, now: DateTime<Utc>) -> Option<Next> {
    let acting = Acting { terminal: None, index: None, now };
    give_back(history, Transition::Expire, acting).ok()
}

/// A void and an expiry give back all that the reservation moved.
fn give_back(
    history: &History,
    transition_: Transition,
    acting: Acting<'_>,
) -> Result<Next, Refusal> {
    let mut event = transition(history, transition_, acting)?;
    let decided = &history.decided;
    event.counters.clone_from(&decided.counters);
    event.points.clone_from(&decided.points);
    for moved in &mut event.counters {
        moved.change = -moved.change;
    }
    for moved in &mut event.points {
        moved.change = -moved.change;
    }
    // A record that this version wrote can be read by it; what cannot was refused at the rebuild.
    let movements = publish::movements_of_change(&event).unwrap_or_default();
    Ok(Next { event, movements })
}

/// Everything of the sale that has not come back yet.
fn rest(history: &History) -> Vec<ReturnedLine> {
    let Some(sold) = history.sold() else { return Vec::new() };
    let left = sold.lines.iter().map(|line| {
        let returned = sold.refunded.returned().get(&line.number).copied().unwrap_or(0);
        let quantity = Quantity::from_thousandths(line.quantity.thousandths() - returned);
        ReturnedLine { number: line.number, quantity }
    });
    left.filter(|line| line.quantity > Quantity::default()).collect()
}

fn refund(
    rules: &RuleSet,
    history: &History,
    returned: &[ReturnedLine],
    acting: Acting<'_>,
) -> Result<Next, Refusal> {
    let status = history.status();
    status.after(Transition::RefundPart).ok_or(Refusal::State { status })?;
    let mut sold = history.sold().ok_or(Refusal::NotFound)?;
    let of_sale = crate::history::terminal(&history.decided).and_then(|id| rules.terminal(&id));
    // A terminal that has left the registry still stood somewhere of this merchant's.
    let terminal = of_sale.or(acting.index).ok_or(Refusal::UnknownTerminal)?;
    let before = sold.refunded.clone();
    let mut refunded = sold.refunded.clone();
    let refund = {
        let sale = Sale { input: sold.input(terminal), decision: &sold.decision };
        rules::refund(rules, &sale, &mut refunded, returned).map_err(Refusal::Refund)?
    };
    sold.refunded = refunded;
    let rest = if refund.whole { Transition::RefundRest } else { Transition::RefundPart };
    let mut event = transition(history, rest, acting)?;
    event.lines = refund_lines(history, returned, &refund);
    excess_back(history, sold.refunded.returned(), &mut event.lines);
    event.counters = refund.counters.iter().map(publish::counter).collect();
    event.points = refund.points.iter().map(publish::points).collect();
    event.instruction_points = sold
        .refunded
        .points_since(&before)
        .into_iter()
        .map(|(instruction, change)| v1::InstructionPoints {
            instruction_id: instruction.to_string(),
            change,
        })
        .collect();
    let movements = Movements {
        counters: refund.counters.clone(),
        points: publish::points_of(sold.recipient.as_ref().map(|of| of.id), &refund.points),
    };
    Ok(Next { event, movements })
}

/// What came back, as negative amounts; a line on which only a benefit moves has no quantity.
fn refund_lines(
    history: &History,
    returned: &[ReturnedLine],
    refund: &Refund,
) -> Vec<v1::AuthorisationLine> {
    let mut lines = Vec::new();
    for sold in &history.decided.lines {
        let of_line = returned.iter().filter(|line| line.number == sold.line);
        let quantity: i64 = of_line.map(|line| line.quantity.thousandths()).sum();
        let payable = refund.lines.iter().find(|(line, _)| *line == sold.line);
        let payable = payable.map_or(0, |(_, cents)| cents.cents());
        let benefits: Vec<_> = refund
            .benefits
            .iter()
            .filter(|back| back.line == sold.line)
            .map(|back| benefit_back(history, back))
            .collect();
        if quantity == 0 && payable == 0 && benefits.is_empty() {
            continue;
        }
        let given: i64 = benefits.iter().map(|back| back.amount_cents).sum();
        lines.push(v1::AuthorisationLine {
            line: sold.line,
            item: sold.item.clone(),
            category: sold.category.clone(),
            quantity_thousandths: -quantity,
            unit_price_cents: sold.unit_price_cents,
            total_cents: given - payable,
            payable_cents: -payable,
            attributes: BTreeMap::new(),
            benefits,
        });
    }
    lines
}

fn benefit_back(history: &History, back: &domain::refund::RefundedBenefit) -> v1::LineBenefit {
    let id = back.instruction.as_str();
    let given = history.decided.instructions.iter().find(|given| given.instruction_id == id);
    v1::LineBenefit {
        instruction_id: id.into(),
        instruction_version: back.version,
        benefit_id: given.map(|given| given.benefit_id.clone()).unwrap_or_default(),
        grantor_id: given.map(|given| given.grantor_id.clone()).unwrap_or_default(),
        units: -back.units,
        amount_cents: -back.amount.cents(),
        grantor_cents: -back.grantor_amount.cents(),
        merchant_cents: back.grantor_amount.cents() - back.amount.cents(),
        ..v1::LineBenefit::default()
    }
}

/// Takes back what the terminal had given offline beyond our decision, from whoever bears it, as
/// everything of a line: round(excess × returned ÷ quantity) so far, less what was taken before. That
/// is read from the records, since refunds once took none.
fn excess_back(
    history: &History,
    returned: &BTreeMap<u32, i64>,
    back: &mut [v1::AuthorisationLine],
) {
    for line in back {
        let number = line.line;
        let Some(sold) = history.decided.lines.iter().find(|sold| sold.line == number) else {
            continue;
        };
        let returned = returned.get(&number).copied().unwrap_or(0);
        for given in sold.benefits.iter().filter(|given| given.excess_cents > 0) {
            let so_far = mul_div_half_away(given.excess_cents, returned, sold.quantity_thousandths);
            let cents = so_far - excess_taken(history, number, &given.instruction_id);
            if cents != 0 {
                take_excess(&mut line.benefits, given, cents);
            }
        }
    }
}

/// What refunds have taken back of an instruction's excess on a line.
fn excess_taken(history: &History, line: u32, instruction: &str) -> i64 {
    let refunds = history.changes.iter().filter(|change| change.transition == "refund");
    let lines = refunds.flat_map(|change| &change.lines).filter(|back| back.line == line);
    let benefits = lines.flat_map(|back| &back.benefits);
    let of_instruction = benefits.filter(|back| back.instruction_id == instruction);
    of_instruction.map(|back| -back.excess_cents).sum()
}

/// The excess stands beside what is taken back of ours, or in a line of its own.
fn take_excess(benefits: &mut Vec<v1::LineBenefit>, given: &v1::LineBenefit, cents: i64) {
    let is_same = |back: &&mut v1::LineBenefit| back.instruction_id == given.instruction_id;
    if let Some(back) = benefits.iter_mut().find(is_same) {
        back.excess_cents -= cents;
        back.excess_borne_by.clone_from(&given.excess_borne_by);
        return;
    }
    benefits.push(v1::LineBenefit {
        instruction_id: given.instruction_id.clone(),
        instruction_version: given.instruction_version,
        benefit_id: given.benefit_id.clone(),
        grantor_id: given.grantor_id.clone(),
        excess_cents: -cents,
        excess_borne_by: given.excess_borne_by.clone(),
        ..v1::LineBenefit::default()
    });
}

/// The record of a transition, with what it has of the decision.
fn transition(
    history: &History,
    transition: Transition,
    acting: Acting<'_>,
) -> Result<v1::AuthorisationChanged, Refusal> {
    let status = history.status();
    let after = status.after(transition).ok_or(Refusal::State { status })?;
    let decided = &history.decided;
    let (terminal, place) = acting.terminal.unwrap_or((&decided.terminal_id, &decided.place_id));
    Ok(v1::AuthorisationChanged {
        authorisation_id: decided.authorisation_id.clone(),
        transition: transition.code().into(),
        status: after.code().into(),
        terminal_id: terminal.into(),
        occurred_at: acting.now.timestamp_micros(),
        date: LocalTime::of(acting.now).date.to_string(),
        merchant_id: decided.merchant_id.clone(),
        place_id: place.into(),
        territory: decided.territory.clone(),
        recipient: decided.recipient.clone(),
        recipient_id: decided.recipient_id.clone(),
        household_id: decided.household_id.clone(),
        receipt_number: decided.receipt_number.clone(),
        mode: decided.mode.clone(),
        step: history.next_step(),
        ..v1::AuthorisationChanged::default()
    })
}
