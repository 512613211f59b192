//! Counters in a plain map, requests from JSON, what decisions do to the counters, and the life of
//! an authorisation as models have it.

use std::collections::HashMap;

use authoriser::{
    command::Refusal,
    rules::{self, Counters, Input, Refunded, RuleSet, Sale},
};
use chrono::{DateTime, Utc};
use domain::{
    amount::{Amount, Quantity},
    authorisation::Status,
    basket::{Line, Lines, PointsWanted, Request},
    decision::{Decision, PointsMovement},
    id::{BenefitId, ItemId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    limit::{CounterKey, CounterMovement},
    merchant::Category,
    recipient::Recipient,
    refund::{Refund, ReturnedLine},
};
use serde_json::Value;

/// Counters and points in memory.
#[derive(Debug, Default)]
pub struct Book {
    pub counters: HashMap<CounterKey, i64>,
    pub points: HashMap<(RecipientId, BenefitId), i64>,
}

impl Counters for Book {
    fn used(&self, key: &CounterKey) -> i64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.points.get(&(recipient, benefit.clone())).copied().unwrap_or(0)
    }
}

impl Book {
    pub fn apply(
        &mut self,
        recipient: Option<&Recipient>,
        counters: &[CounterMovement],
        points: &[PointsMovement],
    ) {
        for movement in counters {
            *self.counters.entry(movement.key.clone()).or_default() += movement.change;
        }
        for moved in points {
            let recipient = recipient.expect("points belong to a recipient").id;
            *self.points.entry((recipient, moved.benefit.clone())).or_default() += moved.change;
        }
    }
}

/// One sale, with what a later refund of it needs.
#[derive(Debug)]
pub struct Sold {
    pub terminal: TerminalId,
    pub lines: Lines,
    pub instant: DateTime<Utc>,
    pub recipient: Option<Recipient>,
    pub means_status: MeansStatus,
    pub points: PointsWanted,
    pub decision: Decision,
}

impl Sold {
    pub fn input<'a>(&'a self, rules: &RuleSet) -> Input<'a> {
        Input {
            terminal: rules.terminal(&self.terminal).expect("a terminal"),
            lines: &self.lines,
            instant: self.instant,
            recipient: self.recipient.as_ref(),
            means_status: self.means_status,
            declined: None,
            points: self.points,
        }
    }

    pub fn sale<'a>(&'a self, rules: &RuleSet) -> Sale<'a> {
        Sale { input: self.input(rules), decision: &self.decision }
    }
}

/// An authorisation as a model remembers it.
#[derive(Clone, Debug)]
pub struct Life {
    /// Whose means it was, whatever was decided.
    pub person: Option<u128>,
    pub status: Status,
    pub request: Request,
    pub recipient: Option<Recipient>,
    pub decision: Decision,
    pub refunded: Refunded,
    pub expires_at: DateTime<Utc>,
}

impl Life {
    /// Whether it is held and its time is up.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.status == Status::Reserved && self.expires_at <= now
    }

    /// Takes lines back.
    pub fn refund(&mut self, rules: &RuleSet, lines: &[ReturnedLine]) -> Result<Refund, Refusal> {
        let input = Input {
            terminal: rules.terminal(&self.request.terminal).expect("a terminal"),
            lines: &self.request.lines,
            instant: self.request.occurred_at,
            recipient: self.recipient.as_ref(),
            means_status: MeansStatus::Valid,
            declined: None,
            points: self.request.spend_points,
        };
        let sale = Sale { input, decision: &self.decision };
        let refund =
            rules::refund(rules, &sale, &mut self.refunded, lines).map_err(Refusal::Refund)?;
        self.status = if refund.whole { Status::Refunded } else { Status::PartiallyRefunded };
        Ok(refund)
    }

    /// What undoes all that it moved.
    pub fn undone(&self) -> (Vec<CounterMovement>, Vec<PointsMovement>) {
        let Decision { mut counters, mut points, .. } = self.decision.clone();
        counters.iter_mut().for_each(|moved| moved.change = -moved.change);
        points.iter_mut().for_each(|moved| moved.change = -moved.change);
        (counters, points)
    }
}

/// A quantity as a message has it, exactly.
pub fn quantity(value: &Value) -> Quantity {
    let text = value.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let thousandths = format!("{whole}{decimals:0<3}");
    Quantity::from_thousandths(thousandths.parse().expect("a quantity"))
}

/// The lines of a message.
pub fn basket(request: &Value) -> Lines {
    let line = |line: &Value| Line {
        number: u32::try_from(line["line"].as_u64().expect("a number")).expect("a small number"),
        item: ItemId::new(line["item"].as_str().expect("an item")).expect("an id"),
        category: line["category"].as_str().and_then(Category::parse),
        quantity: quantity(&line["quantity"]),
        unit_price: Amount::from_cents(line["unit_price_cents"].as_i64().expect("cents")),
        attributes: line["attributes"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
            .collect(),
    };
    let lines = request["lines"].as_array().expect("lines").iter().map(line).collect();
    Lines::new(lines).expect("a basket")
}

/// Lines as a record has them: with the categories that were found.
pub fn recorded(rules: &RuleSet, terminal: &TerminalId, lines: &Lines) -> Lines {
    let terminal = rules.terminal(terminal).expect("a terminal");
    let found =
        |line: &Line| Line { category: rules.category(terminal, line).cloned(), ..line.clone() };
    Lines::new(lines.iter().map(found).collect()).expect("a basket")
}

/// What a message wants to spend of points.
pub fn points_wanted(request: &Value) -> PointsWanted {
    match &request["spend_points"] {
        Value::String(_) => PointsWanted::Max,
        value => PointsWanted::UpTo(value.as_i64().unwrap_or(0)),
    }
}

/// The instant of a message.
pub fn instant(request: &Value) -> DateTime<Utc> {
    request["occurred_at"].as_str().expect("an instant").parse().expect("an instant")
}
