//! `zen-engine`: a decision table with a row per instruction, run for each line, that collects the
//! rows that match with the cents that each would give.
//!
//! It cannot express: what instructions leave each other (rows are apart, so each takes its share of
//! the whole price and their sum may pass it), stacking and contests, amounts per basket and free
//! units over several lines, limits and their clipping against counters, points against a balance,
//! funding, and reasons why an instruction gave nothing. Its numbers are decimals, not cents.

use std::hint::black_box;

use domain::instruction::{Basis, Effect, Instruction, PerWhat};
use serde_json::{Value, json};
use zen_engine::{DecisionEngine, model::DecisionContent};

use crate::{
    case::{Case, Cases},
    terms,
    times::{Times, times},
};

/// How long the table takes to decide the lines of a basket.
pub fn measure(
    cases: &Cases,
    instructions: &[Instruction],
) -> Result<Times, Box<dyn std::error::Error>> {
    let content: DecisionContent = serde_json::from_value(graph(instructions))?;
    let engine = DecisionEngine::default();
    let mut decision =
        engine.create_decision(content.into()).map_err(|error| format!("{error:?}"))?;
    decision.compile();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let contexts: Vec<Value> = cases.all.iter().map(context).collect();
    for context in &contexts {
        let answer = runtime.block_on(decision.evaluate(context.clone().into()));
        let answer: Value = answer.map_err(|error| format!("{error:?}"))?.result.to_value();
        let found = |line: &Value| line.as_array().map_or(0, Vec::len);
        let lines = answer["lines"].as_array().ok_or("the table answers no lines")?;
        if lines.iter().any(|line| found(line) < 4) {
            return Err(format!("fewer than the four that mean every line: {answer}").into());
        }
    }
    // The context is read once: a request would already hold it.
    let contexts: Vec<zen_engine::Variable> = contexts.into_iter().map(Into::into).collect();
    Ok(times(contexts.len(), |at| {
        drop(black_box(runtime.block_on(decision.evaluate(contexts[at].deep_clone()))));
    }))
}

fn context(case: &Case) -> Value {
    let groups: Vec<&str> = case.recipient.groups.iter().map(|group| group.as_str()).collect();
    let lines = case.lines.iter().map(|line| {
        json!({
            "line": line.number,
            "category": line.category.as_ref().map(|category| category.as_str()),
            "units": line.quantity.units(),
            "cents": line.total().cents(),
            "groups": groups,
        })
    });
    json!({"lines": lines.collect::<Vec<_>>()})
}

fn graph(instructions: &[Instruction]) -> Value {
    let rules: Vec<Value> = instructions.iter().map(row).collect();
    json!({
        "contentType": "application/vnd.gorules.decision",
        "nodes": [
            {"id": "in", "name": "in", "type": "inputNode", "content": {}},
            {"id": "table", "name": "table", "type": "decisionTableNode", "content": {
                "hitPolicy": "collect",
                "executionMode": "loop",
                "inputField": "lines",
                "outputPath": "lines",
                "passThrough": false,
                "inputs": [{"id": "when", "name": "when"}],
                "outputs": [
                    {"id": "instruction", "name": "instruction", "field": "instruction"},
                    {"id": "given", "name": "given", "field": "given"},
                ],
                "rules": rules,
            }},
            {"id": "out", "name": "out", "type": "outputNode", "content": {}},
        ],
        "edges": [
            {"id": "1", "sourceId": "in", "targetId": "table", "type": "edge"},
            {"id": "2", "sourceId": "table", "targetId": "out", "type": "edge"},
        ],
    })
}

fn row(instruction: &Instruction) -> Value {
    let (categories, group) = terms(instruction);
    let within = |category: &&str| {
        format!("category == '{category}' or startsWith(category, '{category}.')")
    };
    let mut when: Vec<String> = Vec::new();
    if !categories.is_empty() {
        let any: Vec<String> = categories.iter().map(within).collect();
        when.push(format!("({})", any.join(" or ")));
    }
    when.extend(group.map(|group| format!("some(groups, # == '{group}')")));
    json!({
        "_id": instruction.id.as_str(),
        "when": when.join(" and "),
        "instruction": format!("'{}'", instruction.id),
        "given": cents(&instruction.effect),
    })
}

/// What an effect gives on one line by itself.
fn cents(effect: &Effect) -> String {
    match *effect {
        Effect::PercentOff { share, basis: Basis::Payable | Basis::Full, .. } => {
            format!("round(cents * {} / 10000)", share.get())
        }
        Effect::AmountOff { amount, per: PerWhat::Unit, .. } => {
            format!("min([cents, units * {}])", amount.cents())
        }
        Effect::AmountOff { amount, .. } => format!("min([cents, {}])", amount.cents()),
        Effect::FixedUnitPrice { unit_price, .. } => {
            format!("max([0, cents - units * {}])", unit_price.cents())
        }
        Effect::FreeUnits { buy, free, .. } => {
            format!("round(cents * floor(units / {}) * {free} / units)", buy + free)
        }
        Effect::EarnPoints { per, points } => {
            format!("floor(cents / {}) * {points}", per.cents())
        }
        Effect::SpendPoints { max, .. } => format!("floor(cents * {} / 10000)", max.get()),
    }
}
