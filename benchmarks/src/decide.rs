//! Decisions in process: ten lines through twenty instructions that all come into question, beside
//! adding up the lines without a rule.

use std::hint::black_box;

use authoriser::rules;
use chrono::ParseError;

use crate::{
    case::{Case, Cases},
    generate::{INSTRUCTIONS, LINES},
    times::{Times, times},
};

/// Prints a row, and under it how long single decisions take.
pub fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let cases = Cases::new()?;
    let inputs: Vec<_> = cases
        .all
        .iter()
        .map(|case| Ok((cases.input(case)?, case)))
        .collect::<Result<_, ParseError>>()?;
    let decided = times(inputs.len(), |at| {
        let (input, Case { counters, .. }) = &inputs[at];
        drop(black_box(rules::evaluate(&cases.rules, input, counters)));
    });
    let walked = times(inputs.len(), |at| {
        black_box(inputs[at].0.lines.iter().map(|line| line.total().cents()).sum::<i64>());
    });
    let measured = format!("decision, {LINES} lines × {INSTRUCTIONS} instructions");
    crate::row(&measured, decided.rate(), "adding up the lines", walked.rate());
    let Times { p50_ns, p99_ns, mean_ns } = decided;
    crate::say(format!("\none decision: p50 {p50_ns} ns, p99 {p99_ns} ns, mean {mean_ns} ns\n"));
    Ok(())
}
