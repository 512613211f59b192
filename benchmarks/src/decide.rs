//! Decisions in process: ten lines through twenty instructions that all come into question, beside
//! adding up the lines without a rule.

use std::hint::black_box;

use authoriser::rules::{self, Input};
use chrono::ParseError;

use crate::{
    case::{Case, Cases},
    generate::{INSTRUCTIONS, LINES},
    times::{Times, times},
};

/// Prints a row, and under it how long single decisions take.
pub fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let cases = Cases::new()?;
    let decided = decided(&cases)?;
    let inputs = inputs(&cases)?;
    let walked = times(inputs.len(), |at| {
        black_box(inputs[at].0.lines.iter().map(|line| line.total().cents()).sum::<i64>());
    });
    let measured = format!("decision, {LINES} lines × {INSTRUCTIONS} instructions");
    crate::row(&measured, decided.rate(), "adding up the lines", walked.rate());
    let Times { p50_ns, p99_ns, mean_ns } = decided;
    crate::say(format!("\none decision: p50 {p50_ns} ns, p99 {p99_ns} ns, mean {mean_ns} ns\n"));
    Ok(())
}

/// Decisions a second of so many threads at once, each with baskets of its own.
pub fn rate(threads: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let one = || {
        let cases = Cases::new().map_err(|error| error.to_string())?;
        decided(&cases).map(|decided| decided.rate()).map_err(|error| error.to_string())
    };
    let rates: Vec<Result<f64, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|rate| rate.unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    Ok(rates.into_iter().sum::<Result<f64, String>>()?)
}

/// How long one decision takes.
fn decided(cases: &Cases) -> Result<Times, ParseError> {
    let inputs = inputs(cases)?;
    Ok(times(inputs.len(), |at| {
        let (input, Case { counters, .. }) = &inputs[at];
        drop(black_box(rules::evaluate(&cases.rules, input, counters)));
    }))
}

fn inputs(cases: &Cases) -> Result<Vec<(Input<'_>, &Case)>, ParseError> {
    cases.all.iter().map(|case| Ok((cases.input(case)?, case))).collect()
}
