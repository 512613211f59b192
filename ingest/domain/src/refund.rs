//! What comes back after capture.

use crate::{
    amount::{Amount, Quantity},
    decision::PointsMovement,
    id::InstructionId,
    limit::CounterMovement,
};

/// So much of one line came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnedLine {
    /// The line's number.
    pub number: u32,
    /// How much came back now.
    pub quantity: Quantity,
}

/// What a refund takes back of one instruction on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundedBenefit {
    /// The line.
    pub line: u32,
    /// The instruction.
    pub instruction: InstructionId,
    /// Its version.
    pub version: u32,
    /// Units taken back.
    pub units: i64,
    /// Cents taken back, as a positive amount.
    pub amount: Amount,
    /// The grantor's part of them.
    pub grantor_amount: Amount,
}

/// What a refund does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// What the recipient gets back.
    pub refunded: Amount,
    /// What came back of each line's payable, in ascending order of lines.
    pub lines: Vec<(u32, Amount)>,
    /// What is taken back of the benefits.
    pub benefits: Vec<RefundedBenefit>,
    /// What it gives back to the limits' counters, to the period of the sale.
    pub counters: Vec<CounterMovement>,
    /// What it moves in the recipient's points.
    pub points: Vec<PointsMovement>,
    /// Whether everything has come back now.
    pub whole: bool,
}

/// Why a refund is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefundError {
    /// The authorisation has no such line.
    #[error("line {number} is not in the authorisation")]
    NoSuchLine {
        /// The line asked for.
        number: u32,
    },
    /// More comes back than was bought and is still out.
    #[error("more of line {number} is returned than was bought")]
    MoreThanBought {
        /// The line.
        number: u32,
    },
    /// A quantity that is not above 0, or no line at all.
    #[error("a refund names at least one line with a quantity above 0")]
    Nothing,
}
