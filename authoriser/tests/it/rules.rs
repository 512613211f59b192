//! Rules of our own for what the published cases leave out: attributes, excess, refunds that are
//! decided again, faults of a set.

use std::time::{Duration, Instant};

use authoriser::rules::{self, Refunded, RuleSet, analyse};
use domain::{
    amount::{Amount, Quantity},
    basket::{Applied, Mode, PointsWanted, Request},
    decision::SkipReason,
    id::{HouseholdId, IdempotencyKey, InstructionId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    recipient::Recipient,
    refund::ReturnedLine,
};
use serde_json::{Value, json};

use crate::book::{Book, Sold, basket};

fn document(instructions: Value) -> Value {
    json!({
        "grantors": [{"id": "city", "kind": "municipality"}, {"id": "shop", "kind": "merchant"}],
        "merchants": [{"id": "shop"}],
        "places": [{"id": "P1", "merchant": "shop", "territory": "LV0001000"}],
        "terminals": [{"id": "T1", "place": "P1", "kind": "till"}],
        "contracts": [{"id": "C1", "grantor": "city", "merchant": "shop", "from": "2025-01-01"}],
        "benefits": [{"id": "B-city", "grantor": "city"}, {"id": "B-shop", "grantor": "shop"}],
        "instructions": instructions,
    })
}

fn registry(document: &Value) -> domain::registry::Registry {
    ingest::register::registry::decode(document).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn rule_set(instructions: Value) -> RuleSet {
    compiled(&document(instructions))
}

fn compiled(document: &Value) -> RuleSet {
    RuleSet::compile(&registry(document)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn instruction(id: &str, benefit: &str, priority: i32, more: Value) -> Value {
    let mut instruction = json!({
        "id": id, "benefit": benefit, "version": 1, "valid": {"from": "2025-01-01", "to": null},
        "priority": priority, "recipients": {"everyone": true}, "funding": {"grantor_bp": 5000},
    });
    for (key, value) in more.as_object().expect("an object") {
        instruction[key] = value.clone();
    }
    instruction
}

fn lines(lines: Value) -> Value {
    json!({ "lines": lines })
}

fn sell(rules: &RuleSet, request: &Value) -> Sold {
    let recipient = Recipient {
        id: RecipientId::from_u128(1),
        household: HouseholdId::from_u128(1),
        groups: Vec::new(),
    };
    let mut sold = Sold {
        terminal: TerminalId::new("T1").expect("an id"),
        lines: basket(request),
        instant: "2025-03-03T10:00:00Z".parse().expect("an instant"),
        recipient: Some(recipient),
        means_status: MeansStatus::Valid,
        points: PointsWanted::UpTo(0),
        decision: crate::cases::undecided(),
    };
    sold.decision = rules::evaluate(rules, &sold.input(rules), &Book::default());
    sold
}

fn given(sold: &Sold) -> Vec<(u32, String, i64)> {
    let lines = sold.decision.lines.iter();
    lines
        .flat_map(|line| {
            let benefits = line.benefits.iter();
            benefits.map(|of| (line.number, of.instruction.to_string(), of.amount.cents()))
        })
        .collect()
}

#[test]
fn attributes_are_present_with_equal_value() {
    let rules = rule_set(json!([instruction(
        "organic",
        "B-shop",
        1,
        json!({
            "effect": {"percent_off_bp": 1000},
            "content": {"any": [{"category": "food", "attributes": {"organic": "yes", "origin": "LV"}}]},
        })
    )]));
    let line = |number: u32, attributes: Value| {
        json!({"line": number, "item": "x", "category": "food.milk", "quantity": 1,
               "unit_price_cents": 100, "attributes": attributes})
    };
    let sold = sell(
        &rules,
        &lines(json!([
            line(1, json!({"organic": "yes", "origin": "LV", "size": "1"})),
            line(2, json!({"organic": "yes"})),
            line(3, json!({"organic": "no", "origin": "LV"})),
        ])),
    );
    assert_eq!(given(&sold), [(1, "organic".into(), 10)]);
}

/// Three for two: when one of three comes back, the free one was not earned.
#[test]
fn a_refund_is_decided_again_where_the_instruction_says_so() {
    let free = |on_refund: &str| {
        rule_set(json!([instruction(
            "three-for-two",
            "B-shop",
            1,
            json!({
                "effect": {"free_units": {"buy": 2, "free": 1}}, "on_refund": on_refund,
                "limits": [{"per": "recipient", "period": "day", "measure": "units", "max": 5}],
            })
        )]))
    };
    let request = lines(json!([
        {"line": 1, "item": "x", "quantity": 3, "unit_price_cents": 100},
    ]));
    let return_one = [ReturnedLine { number: 1, quantity: Quantity::from_thousandths(1_000) }];

    let rules = free("reevaluate");
    let sold = sell(&rules, &request);
    assert_eq!(given(&sold), [(1, "three-for-two".into(), 100)]);
    let mut refunded = Refunded::default();
    let refund =
        rules::refund(&rules, &sold.sale(&rules), &mut refunded, &return_one).expect("taken");
    assert_eq!(refund.refunded, Amount::ZERO, "two are left, and two cost what three did");
    assert_eq!(refund.benefits[0].amount, Amount::from_cents(100));
    assert_eq!(refund.benefits[0].grantor_amount, Amount::from_cents(50));
    assert_eq!(refund.counters.iter().map(|moved| moved.change).collect::<Vec<_>>(), [-1]);
    let rest = [ReturnedLine { number: 1, quantity: Quantity::from_thousandths(2_000) }];
    let refund = rules::refund(&rules, &sold.sale(&rules), &mut refunded, &rest).expect("taken");
    assert_eq!(refund.refunded, Amount::from_cents(200));
    assert!(refund.whole && refund.benefits.is_empty());

    let rules = free("proportional");
    let sold = sell(&rules, &request);
    let refund = rules::refund(&rules, &sold.sale(&rules), &mut Refunded::default(), &return_one)
        .expect("taken");
    assert_eq!(refund.refunded, Amount::from_cents(67));
    assert_eq!(refund.benefits[0].amount, Amount::from_cents(33));
}

/// What is decided again may lie on other lines than before; in all it is no more than it was.
#[test]
fn what_stays_may_move_to_another_line() {
    let rules = |effect: Value| {
        rule_set(json!([instruction(
            "off",
            "B-shop",
            1,
            json!({"effect": effect, "on_refund": "reevaluate"})
        )]))
    };
    let whole = |number| ReturnedLine { number, quantity: Quantity::from_thousandths(1_000) };
    let line = |line: u32, cents: i64| json!({"line": line, "item": "x", "quantity": 1, "unit_price_cents": cents});
    // Five euro off a basket of two lines stay on the one that is left.
    let five = rules(json!({"amount_off_cents": 500, "per": "basket"}));
    let sold = sell(&five, &lines(json!([line(1, 1_000), line(2, 1_000)])));
    let mut refunded = Refunded::default();
    let sale = sold.sale(&five);
    let refund = rules::refund(&five, &sale, &mut refunded, &[whole(2)]).expect("taken");
    assert_eq!(refund.refunded, Amount::from_cents(1_000));
    let backs = |refund: &domain::refund::Refund| -> Vec<_> {
        let of = refund.benefits.iter();
        of.map(|back| (back.line, back.amount.cents(), back.grantor_amount.cents())).collect()
    };
    assert_eq!(backs(&refund), [(1, -250, -125), (2, 250, 125)]);
    let refund = rules::refund(&five, &sale, &mut refunded, &[whole(1)]).expect("taken");
    assert_eq!((refund.refunded, refund.whole), (Amount::from_cents(500), true));
    assert_eq!(backs(&refund), [(1, 500, 250)]);
    // The cheapest of four was free; of the three that are left the next one is, for no more.
    let three = rules(json!({"free_units": {"buy": 2, "free": 1}}));
    let four = (1..5).map(|number| line(number, i64::from(number) * 100)).collect();
    let sold = sell(&three, &lines(Value::Array(four)));
    assert_eq!(given(&sold), [(1, "off".into(), 100)]);
    let sale = sold.sale(&three);
    let mut refunded = Refunded::default();
    let refund = rules::refund(&three, &sale, &mut refunded, &[whole(1)]).expect("taken");
    assert_eq!(refund.refunded, Amount::from_cents(100));
    assert_eq!(backs(&refund), [(1, 100, 50), (2, -100, -50)]);
}

/// What a merchant's catalogue says by now, an instruction that came later and a contract that has ended
/// are of other sales.
#[test]
fn a_refund_is_worked_out_by_what_held_at_the_sale() {
    let off = json!({
        "content": {"any": [{"category": "food"}]}, "on_refund": "reevaluate",
        "effect": {"amount_off_cents": 100, "per": "line"},
    });
    let points = json!({
        "content": {"any": [{"category": "food"}]},
        "effect": {"earn_points": {"per_cents": 100, "points": 1}},
    });
    let sold_by =
        json!([instruction("off", "B-city", 2, off), instruction("points", "B-shop", 3, points),]);
    let rules = rule_set(sold_by.clone());
    // As it is recorded: with the category that the catalogue had then.
    let sold = sell(
        &rules,
        &lines(json!([
            {"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": 1000,
             "category": "food.milk"},
            {"line": 2, "item": "bag", "quantity": 1, "unit_price_cents": 500},
        ])),
    );
    assert_eq!(given(&sold), [(1, "off".into(), 100)]);

    let mut by_now = document(sold_by);
    let later = json!({"effect": {"percent_off_bp": 5000}});
    let later = instruction("later", "B-city", 1, later);
    by_now["instructions"].as_array_mut().expect("instructions").push(later);
    by_now["contracts"] = json!([]);
    by_now["catalogue"] = json!([{"merchant": "shop", "item": "milk", "category": "dairy"}]);
    let by_now = compiled(&by_now);
    let returned = [ReturnedLine { number: 2, quantity: Quantity::from_thousandths(1_000) }];
    let sale = sold.sale(&by_now);
    let refund = rules::refund(&by_now, &sale, &mut Refunded::default(), &returned).expect("taken");
    assert_eq!(refund.refunded, Amount::from_cents(500));
    assert!(refund.benefits.is_empty() && refund.points.is_empty(), "{refund:?}");
}

/// A threshold that the rest of the basket no longer reaches takes all of the benefit back, but the
/// recipient never pays for bringing something back.
#[test]
fn a_refund_is_never_below_zero() {
    let rules = rule_set(json!([instruction(
        "big-basket",
        "B-shop",
        1,
        json!({
            "effect": {"amount_off_cents": 500, "per": "basket"}, "on_refund": "reevaluate",
            "content": {"min_basket_cents": 1000},
        })
    )]));
    let sold = sell(
        &rules,
        &lines(json!([
            {"line": 1, "item": "x", "quantity": 1, "unit_price_cents": 900},
            {"line": 2, "item": "y", "quantity": 1, "unit_price_cents": 100},
        ])),
    );
    let returned = [ReturnedLine { number: 2, quantity: Quantity::from_thousandths(1_000) }];
    let mut refunded = Refunded::default();
    let refund =
        rules::refund(&rules, &sold.sale(&rules), &mut refunded, &returned).expect("taken");
    assert_eq!(refund.refunded, Amount::ZERO);
    let taken: i64 = refund.benefits.iter().map(|back| back.amount.cents()).sum();
    assert_eq!(taken, 100, "no more is taken back than what came back was worth");
}

#[test]
fn excess_is_what_an_offline_terminal_gave_beyond_ours() {
    let rules = rule_set(json!([instruction(
        "ten",
        "B-city",
        1,
        json!({
            "effect": {"percent_off_bp": 1000},
        })
    )]));
    let sold = sell(
        &rules,
        &lines(json!([
            {"line": 1, "item": "x", "quantity": 1, "unit_price_cents": 100},
            {"line": 2, "item": "y", "quantity": 1, "unit_price_cents": 200},
        ])),
    );
    let applied = [("ten", 1, 25), ("ten", 2, 20), ("gone", 2, 7)];
    let excess = rules::excess(&rules, &offline(&sold, &applied), &sold.decision);
    let found: Vec<_> =
        excess.iter().map(|of| (of.instruction.as_str(), of.line, of.version, of.cents)).collect();
    assert_eq!(found, [("ten", 1, 1, 15), ("gone", 2, 0, 7)]);
}

/// The upload of a sale that says what its terminal gave: instruction, line and cents.
fn offline(sold: &Sold, applied: &[(&str, u32, i64)]) -> Request {
    let applied = applied.iter().map(|(instruction, line, cents)| Applied {
        instruction: InstructionId::new(instruction).expect("an id"),
        line: *line,
        amount: Amount::from_cents(*cents),
    });
    Request {
        terminal: sold.terminal.clone(),
        key: IdempotencyKey::new("k").expect("a key"),
        occurred_at: sold.instant,
        means: None,
        mode: Mode::Offline,
        lines: sold.lines.clone(),
        receipt: None,
        spend_points: PointsWanted::UpTo(0),
        applied: Some(applied.collect()),
    }
}

#[test]
fn nobody_pays_an_excess_for_what_was_given_by_another_instruction_or_beyond_the_price() {
    let effect = json!({"effect": {"percent_off_bp": 5000}});
    let rules = rule_set(json!([instruction("half", "B-city", 1, effect)]));
    let sold = sell(
        &rules,
        &lines(json!([{"line": 1, "item": "x", "quantity": 1, "unit_price_cents": 100}])),
    );
    let excess = |applied: &[(&str, u32, i64)]| -> Vec<(String, i64)> {
        let excess = rules::excess(&rules, &offline(&sold, applied), &sold.decision);
        excess.iter().map(|of| (of.instruction.to_string(), of.cents)).collect()
    };
    let one = |instruction: &str, cents| vec![(instruction.to_owned(), cents)];
    assert!(excess(&[("gone", 1, 50)]).is_empty(), "our half stands for it");
    assert_eq!(excess(&[("gone", 1, 80)]), one("gone", 30));
    assert_eq!(excess(&[("half", 1, 50), ("gone", 1, 80)]), one("gone", 50), "the price is 100");
    assert!(excess(&[("gone", 2, 80)]).is_empty(), "no such line was sold");
    let two = excess(&[("gone", 1, 60), ("lost", 1, 30)]);
    assert_eq!(two, [("gone".to_owned(), 27), ("lost".to_owned(), 13)], "40, in proportion");
    assert_eq!(excess(&[("half", 1, 1); 80]), one("half", 30), "said cent by cent");
}

/// Entry by entry against each that came before, it would take minutes; nobody else is decided meanwhile.
#[test]
fn what_was_given_is_looked_through_once_however_much_is_said() {
    let effect = json!({"effect": {"percent_off_bp": 5000}});
    let rules = rule_set(json!([instruction("half", "B-city", 1, effect)]));
    let sold = sell(
        &rules,
        &lines(json!([{"line": 1, "item": "x", "quantity": 1, "unit_price_cents": 100}])),
    );
    let names: Vec<_> = (0..300_000).map(|at| format!("gone-{at}")).collect();
    let applied: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
    let upload = offline(&sold, &applied);
    let started = Instant::now();
    let excess = rules::excess(&rules, &upload, &sold.decision);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let found = excess.iter().map(|of| (of.instruction.to_string(), of.cents));
    let first = names.into_iter().take(50).map(|name| (name, 1_i64));
    assert!(found.eq(first), "what is left of the price, to those that are told of first");
}

#[test]
fn the_first_reason_is_told() {
    let rules = rule_set(json!([
        instruction(
            "later",
            "B-city",
            1,
            json!({
                "valid": {"from": "2026-01-01", "to": null}, "effect": {"percent_off_bp": 1000},
            })
        ),
        instruction(
            "night",
            "B-city",
            2,
            json!({
                "schedule": {"from": "22:00", "to": "06:00"}, "effect": {"percent_off_bp": 1000},
            })
        ),
        instruction(
            "kiosks",
            "B-city",
            3,
            json!({
                "scope": {"terminal_kinds": ["kiosk"]}, "effect": {"percent_off_bp": 1000},
            })
        ),
        instruction(
            "bread",
            "B-city",
            4,
            json!({
                "content": {"any": [{"item": "bread"}]}, "effect": {"percent_off_bp": 1000},
            })
        ),
        instruction(
            "first",
            "B-city",
            5,
            json!({
                "effect": {"percent_off_bp": 1000}, "stacking": "exclusive",
            })
        ),
        instruction("second", "B-city", 6, json!({"effect": {"percent_off_bp": 1000}})),
        instruction(
            "none-left",
            "B-shop",
            7,
            json!({
                "effect": {"percent_off_bp": 1000},
                "limits": [{"per": "recipient", "period": "day", "measure": "uses", "max": 0}],
            })
        ),
    ]));
    let sold = sell(
        &rules,
        &lines(json!([
            {"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": 100},
        ])),
    );
    let reasons: Vec<_> = sold.decision.instructions.iter().map(|of| of.skipped).collect();
    assert_eq!(
        reasons,
        [
            Some(SkipReason::Validity),
            Some(SkipReason::Schedule),
            Some(SkipReason::Scope),
            Some(SkipReason::Content),
            None,
            Some(SkipReason::Exclusive),
            Some(SkipReason::Limit),
        ]
    );
    let texts: std::collections::BTreeSet<_> =
        reasons.iter().map(|reason| rules::explain::text(*reason).lv).collect();
    assert_eq!(texts.len(), reasons.len());
}

#[test]
fn faults_of_a_set_name_their_places() {
    let registry = registry(&document(json!([
        instruction("a", "B-city", 1, json!({"effect": {"percent_off_bp": 1}})),
        instruction("b", "B-city", 1, json!({"effect": {"percent_off_bp": 1}})),
        instruction("c", "B-shop", 1, json!({"effect": {"percent_off_bp": 1}, "recipients": {}})),
        instruction("a", "B-city", 9, json!({"effect": {"percent_off_bp": 1}, "version": 2})),
        instruction(
            "d",
            "B-shop",
            4,
            json!({
                "effect": {"earn_points": {"per_cents": 1, "points": 1}}, "stacking": "exclusive",
                "limits": [{"per": "recipient", "period": "day", "measure": "uses", "max": 1}],
            })
        ),
        instruction(
            "e",
            "B-city",
            1,
            json!({
                "effect": {"percent_off_bp": 1}, "scope": {"terminal_kinds": ["kiosk"]},
                "valid": {"from": "2024-01-01", "to": "2024-12-31"},
            })
        ),
    ])));
    let paths: Vec<_> = analyse::faults(&registry).into_iter().map(|fault| fault.path).collect();
    assert_eq!(
        paths,
        [
            "/instructions/2/recipients",
            "/instructions/4/limits",
            "/instructions/4/stacking",
            "/instructions/1/priority",
            "/instructions/3/valid",
        ]
    );
}

/// Whatever comes back in whatever steps, the recipient gets back what was paid, and the grantor
/// what was given.
#[test]
fn a_whole_return_in_steps_gives_back_what_was_paid() {
    for on_refund in ["reevaluate", "proportional"] {
        let rules = rule_set(json!([instruction(
            "off",
            "B-shop",
            1,
            json!({
                "effect": {"amount_off_cents": 333, "per": "basket"}, "on_refund": on_refund,
            })
        )]));
        let sold = sell(
            &rules,
            &lines(json!([
                {"line": 1, "item": "x", "quantity": 2, "unit_price_cents": 167},
            ])),
        );
        let mut refunded = Refunded::default();
        let mut paid_back = 0;
        for _ in 0..2 {
            let one = [ReturnedLine { number: 1, quantity: Quantity::from_thousandths(1_000) }];
            let refund =
                rules::refund(&rules, &sold.sale(&rules), &mut refunded, &one).expect("taken");
            assert!(refund.refunded <= Amount::from_cents(167), "no more than the goods cost");
            paid_back += refund.refunded.cents();
        }
        assert_eq!(paid_back, sold.decision.payable().cents(), "{on_refund}");
    }
}
