//! Counters in a plain map, requests from JSON, and what decisions do to the counters.

use std::collections::HashMap;

use authoriser::rules::{Counters, Input, RuleSet, Sale};
use chrono::{DateTime, Utc};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, PointsWanted},
    decision::Decision,
    id::{BenefitId, ItemId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    limit::{CounterKey, CounterMovement},
    merchant::Category,
    recipient::Recipient,
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
        points: &[domain::decision::PointsMovement],
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
