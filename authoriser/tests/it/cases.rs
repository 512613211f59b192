//! Every operation of the 600 published cases.

use std::collections::{BTreeMap, HashMap};

use authoriser::rules::{self, Refunded, RuleSet};
use domain::{
    decision::{Decision, DeclineReason, Outcome},
    id::{GroupId, HouseholdId, IdempotencyKey, RecipientId, TerminalId},
    identification_means::MeansStatus,
    invariant,
    period::{LocalTime, Validity},
    recipient::Recipient,
    refund::{Refund, ReturnedLine},
};
use serde_json::{Value, json};

use crate::{
    book::{Book, Sold, basket, instant, points_wanted, quantity, recorded},
    lines,
};

#[test]
fn the_600_cases_are_met_to_the_cent() {
    let cases = lines("tests/golden/cases.ndjson.gz");
    let base = &cases[0];
    assert_eq!(cases.len(), 601);
    let mut wrong = Vec::new();
    let mut operations = 0;
    for case in &cases[1..] {
        let answers = case["expected"].as_array().expect("answers");
        let results = Case::new(base, case).run(case);
        operations += answers.len();
        for (at, (result, answer)) in results.iter().zip(answers).enumerate() {
            if result != answer {
                wrong.push(format!(
                    "case {} operation {at}\n  expected {answer}\n  got      {result}",
                    case["case"]
                ));
            }
        }
    }
    assert!(operations > 3_500, "only {operations} operations");
    assert!(
        wrong.is_empty(),
        "{} of {operations}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

/// A case's rules and people; the cases name people plainly, so groups are mapped here.
struct Case<'a> {
    base: &'a Value,
    rules: RuleSet,
    book: Book,
    sold: HashMap<String, (Sold, Refunded)>,
}

impl<'a> Case<'a> {
    fn new(base: &'a Value, case: &Value) -> Self {
        let mut document = base["base"].clone();
        for group in document["groups"].as_array_mut().expect("groups") {
            group.as_object_mut().expect("a group").remove("members");
            group["where"] = json!("true");
        }
        document["instructions"] = case["instructions"].clone();
        let registry = ingest::register::registry::decode(&document)
            .unwrap_or_else(|faults| panic!("case {}: {faults:?}", case["case"]));
        let rules = RuleSet::compile(&registry)
            .unwrap_or_else(|faults| panic!("case {}: {faults:?}", case["case"]));
        Self { base, rules, book: Book::default(), sold: HashMap::new() }
    }

    fn run(&mut self, case: &Value) -> Vec<Value> {
        let operations = case["operations"].as_array().expect("operations");
        let run = |operation: &Value| match operation.get("authorise") {
            Some(request) => self.authorise(request),
            None => self.refund(&operation["refund"]),
        };
        operations.iter().map(run).collect()
    }

    fn authorise(&mut self, request: &Value) -> Value {
        let instant = instant(request);
        let day = LocalTime::of(instant).date;
        let (means_status, recipient, declined) = self.presented(&request["means"], day);
        let mut sold = Sold {
            terminal: TerminalId::new(request["terminal_id"].as_str().expect("an id"))
                .expect("an id"),
            lines: basket(request),
            instant,
            recipient,
            means_status,
            points: points_wanted(request),
            decision: undecided(),
        };
        let input = rules::Input { declined, ..sold.input(&self.rules) };
        let decision = rules::evaluate(&self.rules, &input, &self.book);
        assert_eq!(invariant::decision(&decision), Ok(()));
        self.book.apply(sold.recipient.as_ref(), &decision.counters, &decision.points);
        let answer = answer(&decision);
        sold.decision = decision;
        sold.lines = recorded(&self.rules, &sold.terminal, &sold.lines);
        let key = IdempotencyKey::new(request["idempotency_key"].as_str().expect("a key"))
            .expect("a key");
        self.sold.insert(key.to_string(), (sold, Refunded::default()));
        answer
    }

    fn refund(&mut self, request: &Value) -> Value {
        let (sold, refunded) =
            self.sold.get_mut(request["key"].as_str().expect("a key")).expect("a sale");
        let returned = |line: &Value| ReturnedLine {
            number: u32::try_from(line["line"].as_u64().expect("a number")).expect("small"),
            quantity: quantity(&line["quantity"]),
        };
        let returns: Vec<_> =
            request["lines"].as_array().expect("lines").iter().map(returned).collect();
        let sale = sold.sale(&self.rules);
        match rules::refund(&self.rules, &sale, refunded, &returns) {
            Ok(refund) => {
                self.book.apply(sold.recipient.as_ref(), &refund.counters, &refund.points);
                refund_answer(&refund)
            }
            Err(_) => json!({"refused": true}),
        }
    }

    fn presented(
        &self,
        means: &Value,
        day: chrono::NaiveDate,
    ) -> (MeansStatus, Option<Recipient>, Option<DeclineReason>) {
        if means.is_null() {
            return (MeansStatus::None, None, None);
        }
        let known = self.base["means"].as_array().expect("means");
        let Some(known) = known.iter().find(|known| known["value"] == means["value"]) else {
            return (MeansStatus::Unknown, None, None);
        };
        let date = |field: &str| known[field].as_str().map(|text| text.parse().expect("a date"));
        let valid = Validity { from: date("valid_from").expect("a date"), to: date("valid_to") };
        if !valid.contains(day) {
            return (MeansStatus::Expired, None, None);
        }
        let name = known["person"].as_str().expect("a name");
        if self.base["persons"][name]["status"] == "dead" {
            return (MeansStatus::Valid, None, Some(DeclineReason::RecipientDead));
        }
        (MeansStatus::Valid, Some(self.person(name)), None)
    }

    fn person(&self, name: &str) -> Recipient {
        let number =
            |text: &str| text.bytes().fold(0_u128, |number, byte| number << 8 | u128::from(byte));
        let family = self.base["persons"][name]["family_id"].as_str().unwrap_or(name);
        let groups = self.base["base"]["groups"].as_array().expect("groups");
        let member = |group: &&Value| {
            group["members"].as_array().expect("members").iter().any(|member| member == name)
        };
        Recipient {
            id: RecipientId::from_u128(number(name)),
            household: HouseholdId::from_u128(number(family)),
            groups: groups
                .iter()
                .filter(member)
                .map(|group| GroupId::new(group["id"].as_str().expect("an id")).expect("an id"))
                .collect(),
        }
    }
}

/// What stands in a sale until it is decided.
pub fn undecided() -> Decision {
    Decision {
        outcome: Outcome::NoBenefit,
        means_status: MeansStatus::None,
        lines: Vec::new(),
        instructions: Vec::new(),
        counters: Vec::new(),
        points: Vec::new(),
    }
}

fn answer(decision: &Decision) -> Value {
    let payable: Vec<_> =
        decision.lines.iter().map(|line| json!([line.number, line.payable.cents()])).collect();
    let declined = matches!(decision.outcome, Outcome::Declined(_));
    let mut benefits = Vec::new();
    for line in &decision.lines {
        for benefit in &line.benefits {
            benefits.push((
                (line.number, benefit.instruction.clone()),
                json!([
                    line.number,
                    benefit.instruction.as_str(),
                    benefit.version,
                    benefit.amount.cents(),
                    benefit.grantor_amount.cents(),
                    benefit.units,
                ]),
            ));
        }
    }
    let benefits: BTreeMap<_, _> = benefits.into_iter().collect();
    json!({
        "decision": decision.outcome.code(),
        "payable": (!declined).then_some(payable),
        "points_earned": decision.points_earned(),
        "points_spent": decision.points_spent(),
        "benefits": benefits.into_values().collect::<Vec<_>>(),
    })
}

fn refund_answer(refund: &Refund) -> Value {
    let benefits: BTreeMap<_, _> = refund
        .benefits
        .iter()
        .map(|back| {
            let row = json!([
                back.line,
                back.instruction.as_str(),
                back.version,
                -back.amount.cents(),
                -back.grantor_amount.cents(),
                -back.units,
            ]);
            ((back.line, back.instruction.clone()), row)
        })
        .collect();
    let (back, returned) = refund.points.iter().fold((0, 0), |(back, returned), moved| {
        (back - moved.change.min(0), returned + moved.change.max(0))
    });
    json!({
        "refunded_cents": refund.refunded.cents(),
        "benefits": benefits.into_values().collect::<Vec<_>>(),
        "points_taken_back": back,
        "points_returned": returned,
    })
}
