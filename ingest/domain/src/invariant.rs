//! What always holds, written once: used by tests, simulation and `debug_assert!`.

use crate::{amount::Amount, decision::Decision};

/// A broken invariant, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// The parts of a decision make its whole: on every line the total is what is payable plus what was
/// given, nothing is below zero, the grantor bears no more than was given, and the instructions'
/// sums are the lines'.
///
/// # Errors
/// The first invariant that does not hold.
pub fn decision(decision: &Decision) -> Result<(), Broken> {
    for line in &decision.lines {
        let given = Amount::checked_sum(line.benefits.iter().map(|benefit| benefit.amount));
        if given.and_then(|given| given.checked_add(line.payable)) != Some(line.total) {
            return Err(Broken(format!(
                "line {}: payable and benefits do not make the total",
                line.number
            )));
        }
        if line.payable < Amount::ZERO {
            return Err(Broken(format!("line {}: payable below zero", line.number)));
        }
        for benefit in &line.benefits {
            let within = Amount::ZERO <= benefit.grantor_amount
                && benefit.grantor_amount <= benefit.amount
                && benefit.amount > Amount::ZERO;
            if !within {
                return Err(Broken(format!(
                    "line {}: the grantor's part of {} is not within what was given",
                    line.number, benefit.instruction
                )));
            }
        }
    }
    let by_instruction = Amount::checked_sum(decision.instructions.iter().map(|i| i.amount));
    if by_instruction != Some(decision.benefit()) {
        return Err(Broken("the instructions' sums are not the lines'".into()));
    }
    let overdrawn = |outcome: &&crate::decision::InstructionOutcome| {
        outcome.limits.iter().any(|room| room.after < room.before.min(0))
    };
    if let Some(outcome) = decision.instructions.iter().find(overdrawn) {
        return Err(Broken(format!("a limit of {} is exceeded", outcome.instruction)));
    }
    Ok(())
}
