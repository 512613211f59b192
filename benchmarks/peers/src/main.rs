//! The decision beside two rule engines that others use: `zen-engine`, which runs decision tables,
//! and Cedar, which answers whether a policy permits. One JSON line: how long one decision takes
//! each, and how many times as long as ours by the median.
//!
//! Run it by hand, `cargo run --release` in this folder; the data are the benchmarks' own. What the
//! peers cannot express is left out of their half, so each is measured on less than we decide.

#[path = "../../src/case.rs"]
mod case;
mod cedar;
#[path = "../../src/generate.rs"]
mod generate;
#[path = "../../src/times.rs"]
mod times;
mod zen;

use std::hint::black_box;

use authoriser::rules;
use domain::instruction::Instruction;
use serde_json::{Value, json};

use crate::{
    case::Cases,
    times::{Times, times},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cases = Cases::new()?;
    let registry = generate::registry()?;
    let inputs: Vec<_> =
        cases.all.iter().map(|case| cases.input(case)).collect::<Result<_, _>>()?;
    let ours = times(inputs.len(), |at| {
        let counters = &cases.all[at].counters;
        drop(black_box(rules::evaluate(&cases.rules, &inputs[at], counters)));
    });
    let zen = zen::measure(&cases, &registry.instructions)?;
    let cedar = cedar::measure(&cases, &registry.instructions)?;
    let times_ours = |peer: Times| peer.p50_ns as f64 / ours.p50_ns.max(1) as f64;
    let line = json!({
        "decision": {
            "lines": generate::LINES,
            "instructions": generate::INSTRUCTIONS,
            "ours": shown(ours),
            "zen_engine": shown(zen),
            "cedar": shown(cedar),
            "zen_engine_to_ours": times_ours(zen),
            "cedar_to_ours": times_ours(cedar),
        },
    });
    println!("{line}");
    Ok(())
}

fn shown(times: Times) -> Value {
    let Times { p50_ns, p99_ns, mean_ns } = times;
    json!({"p50_ns": p50_ns, "p99_ns": p99_ns, "mean_ns": mean_ns, "rate": times.rate()})
}

/// The categories that an instruction asks for, and the group that it is for.
fn terms(instruction: &Instruction) -> (Vec<&str>, Option<&str>) {
    let selectors = instruction.content.any.iter();
    let categories = selectors.filter_map(|of| of.category.as_ref()).map(|of| of.as_str());
    (categories.collect(), instruction.recipients.any.first().map(|group| group.as_str()))
}
