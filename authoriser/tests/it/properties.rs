//! What holds for every basket and every set of rules.

use std::sync::OnceLock;

use authoriser::rules::{self, Refunded, RuleSet};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, PointsWanted},
    decision::{Decision, Outcome},
    id::{GroupId, HouseholdId, ItemId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    invariant,
    limit::Period,
    merchant::Category,
    recipient::Recipient,
    refund::ReturnedLine,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    book::{Book, Sold},
    lines, scale,
};

/// The published cases' rule sets: every effect, stacking and limit, many times over.
fn rule_sets() -> &'static [RuleSet] {
    static RULE_SETS: OnceLock<Vec<RuleSet>> = OnceLock::new();
    RULE_SETS.get_or_init(|| {
        let cases = lines("tests/golden/cases.ndjson.gz");
        let compile = |case: &Value| {
            let mut document = cases[0]["base"].clone();
            for group in document["groups"].as_array_mut().expect("groups") {
                group.as_object_mut().expect("a group").remove("members");
                group["where"] = json!("true");
            }
            document["instructions"] = case["instructions"].clone();
            let registry = ingest::register::registry::decode(&document).expect("a registry");
            RuleSet::compile(&registry).expect("rules")
        };
        cases[1..].iter().map(compile).collect()
    })
}

fn any_line() -> impl Strategy<Value = (usize, usize, i64, i64)> {
    (
        0..3_usize,
        0..6_usize,
        prop_oneof![(1..8_i64).prop_map(|n| n * 1_000), 1..3_000_i64],
        0..400_i64,
    )
}

fn any_basket() -> impl Strategy<Value = Vec<Line>> {
    const ITEMS: [&str; 3] = ["known", "p1", "p2"];
    const CATEGORIES: [&str; 6] = ["a.x", "a.y", "b", "b.x", "bc.x", "c"];
    prop::collection::vec(any_line(), 1..7).prop_map(|lines| {
        let line =
            |(number, (item, category, thousandths, cents)): (u32, (usize, usize, i64, i64))| {
                Line {
                    number,
                    item: ItemId::new(ITEMS[item]).expect("an id"),
                    category: Category::parse(CATEGORIES[category]),
                    quantity: Quantity::from_thousandths(thousandths),
                    unit_price: Amount::from_cents(cents),
                    attributes: Default::default(),
                }
            };
        (1..).zip(lines).map(line).collect()
    })
}

/// A basket, whose it is, how long after the one before, and whether it comes back.
fn any_sale() -> impl Strategy<Value = (Vec<Line>, u128, i64, bool)> {
    (any_basket(), 0..4_u128, 0..4_000_i64, any::<bool>())
}

/// Minutes from 1 March 2025 on: over the change to summer time and a month's end.
fn sold(lines: Vec<Line>, person: u128, minutes: i64, points: i64) -> Sold {
    let start: chrono::DateTime<chrono::Utc> = "2025-03-01T00:00:00Z".parse().expect("an instant");
    let groups = ["g1", "g2"].map(|group| GroupId::new(group).expect("an id"));
    let recipient = Recipient {
        id: RecipientId::from_u128(person),
        household: HouseholdId::from_u128(person / 2),
        groups: groups.into_iter().take(1 + person as usize % 2).collect(),
    };
    let terminal = if person.is_multiple_of(3) { "T2" } else { "T1" };
    Sold {
        terminal: TerminalId::new(terminal).expect("an id"),
        lines: Lines::new(lines).expect("a basket"),
        instant: start + chrono::Duration::minutes(minutes),
        recipient: (person > 0).then_some(recipient),
        means_status: MeansStatus::Valid,
        points: if points < 0 { PointsWanted::Max } else { PointsWanted::UpTo(points) },
        decision: crate::cases::undecided(),
    }
}

/// No counter of a limit that was left room by this decision is beyond it.
fn no_limit_is_exceeded(decision: &Decision) -> Result<(), TestCaseError> {
    for outcome in &decision.instructions {
        for room in &outcome.limits {
            let fits = room.after >= 0 || room.after == room.before;
            prop_assert!(fits, "{} {:?} left {}", outcome.instruction, room, room.after);
            prop_assert!(room.period != Period::Basket || room.before >= 0);
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400 * scale(), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn parts_make_the_whole_and_nothing_is_below_zero(
        set in 0..600_usize, basket in any_basket(), person in 0..4_u128, minutes in 0..90_000_i64,
        points in -1..50_i64,
    ) {
        let rules = &rule_sets()[set];
        let sold = sold(basket, person, minutes, points);
        let decision = rules::evaluate(rules, &sold.input(rules), &Book::default());
        prop_assert_eq!(invariant::decision(&decision), Ok(()));
        let again = rules::evaluate(rules, &sold.input(rules), &Book::default());
        prop_assert_eq!(again, decision, "the same input twice gives the same output");
    }

    #[test]
    fn the_order_of_lines_in_the_message_changes_nothing(
        set in 0..600_usize, basket in any_basket(), minutes in 0..90_000_i64, turn in 0..7_usize,
    ) {
        let rules = &rule_sets()[set];
        let mut turned = basket.clone();
        let length = turned.len();
        turned.rotate_left(turn % length);
        turned.reverse();
        let decide = |lines| {
            let sold = sold(lines, 1, minutes, 0);
            rules::evaluate(rules, &sold.input(rules), &Book::default())
        };
        prop_assert_eq!(decide(basket), decide(turned));
    }

    #[test]
    fn no_limit_is_exceeded_over_sales_and_refunds(
        set in 0..600_usize,
        sales in prop::collection::vec(any_sale(), 1..14),
    ) {
        let rules = &rule_sets()[set];
        let mut book = Book::default();
        let mut minutes = 0;
        for (basket, person, pause, comes_back) in sales {
            minutes += pause;
            let mut sold = sold(basket, person, minutes, -1);
            sold.decision = rules::evaluate(rules, &sold.input(rules), &book);
            prop_assert_eq!(invariant::decision(&sold.decision), Ok(()));
            no_limit_is_exceeded(&sold.decision)?;
            book.apply(sold.recipient.as_ref(), &sold.decision.counters, &sold.decision.points);
            if comes_back && sold.decision.outcome == Outcome::Approved {
                give_back(rules, &sold, &mut book)?;
            }
            prop_assert!(book.counters.values().all(|used| *used >= 0), "more given back than taken");
        }
    }
}

/// Returns everything in three steps: all cents and all counters are back, and no step gives anew
/// what an earlier one took back.
fn give_back(rules: &RuleSet, sold: &Sold, book: &mut Book) -> Result<(), TestCaseError> {
    let mut refunded = Refunded::default();
    let (mut payable, mut benefit, mut grantor) = (0, 0, 0);
    // One of each line with more than one, first of every other line and then of those between.
    let step_of_one = |line: &Line| {
        (line.quantity.thousandths() > 1_000).then_some(usize::from(line.number.is_multiple_of(2)))
    };
    for step in 0..3 {
        let quantity = |line: &Line| match (step_of_one(line), step) {
            (Some(of), 0 | 1) if of == step => 1_000,
            (Some(_), 2) => line.quantity.thousandths() - 1_000,
            (None, 2) => line.quantity.thousandths(),
            _ => 0,
        };
        let returns: Vec<ReturnedLine> = sold
            .lines
            .iter()
            .filter(|line| quantity(line) > 0)
            .map(|line| ReturnedLine {
                number: line.number,
                quantity: Quantity::from_thousandths(quantity(line)),
            })
            .collect();
        if returns.is_empty() {
            continue;
        }
        let refund = rules::refund(rules, &sold.sale(rules), &mut refunded, &returns);
        let refund = refund.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(refund.refunded >= Amount::ZERO);
        prop_assert!(refund.benefits.iter().all(|back| back.amount >= Amount::ZERO));
        prop_assert!(refund.counters.iter().all(|moved| moved.change <= 0), "a refund takes room");
        payable += refund.refunded.cents();
        benefit += refund.benefits.iter().map(|back| back.amount.cents()).sum::<i64>();
        grantor += refund.benefits.iter().map(|back| back.grantor_amount.cents()).sum::<i64>();
        book.apply(sold.recipient.as_ref(), &refund.counters, &refund.points);
    }
    let lines = sold.decision.lines.iter().flat_map(|line| &line.benefits);
    let grantors: i64 = lines.map(|given| given.grantor_amount.cents()).sum();
    prop_assert_eq!(payable, sold.decision.payable().cents());
    prop_assert_eq!(benefit, sold.decision.benefit().cents());
    prop_assert_eq!(grantor, grantors);
    Ok(())
}
