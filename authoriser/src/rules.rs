//! The rule engine: pure, compiled at load, total at run time.
//!
//! The meaning of every step is that of the design's section "The rule engine"; the numbers in the
//! comments are its points.

pub mod analyse;
mod candidate;
mod compile;
mod content;
mod effect;
mod evaluate;
mod excess;
pub mod explain;
mod index;
mod limits;
mod line_set;
mod points;
mod reevaluate;
mod refund;
mod returned;
mod rule;
mod scratch;
mod standing;
mod state;

use chrono::{DateTime, Utc};
use domain::{
    basket::{Lines, PointsWanted},
    decision::DeclineReason,
    id::{BenefitId, RecipientId},
    identification_means::MeansStatus,
    limit::CounterKey,
    recipient::Recipient,
};

pub use self::{
    compile::{RuleSet, Site, TerminalIndex},
    evaluate::evaluate,
    excess::excess,
    refund::{Refunded, Sale, refund},
    standing::Standing,
};

/// A fault of the registry's instructions, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// JSON pointer into the registry file: `/instructions/3/priority`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What one decision is about.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The terminal, as [`RuleSet::terminal`] found it.
    pub terminal: TerminalIndex,
    /// The basket.
    pub lines: &'a Lines,
    /// When it happened.
    pub instant: DateTime<Utc>,
    /// The recipient; none for an anonymous basket.
    pub recipient: Option<&'a Recipient>,
    /// What became of the means.
    pub means_status: MeansStatus,
    /// Why the basket is declined, if it is.
    pub declined: Option<DeclineReason>,
    /// How many points the recipient wants to spend.
    pub points: PointsWanted,
}

/// What is used of limits, and the balances of points, before a decision.
pub trait Counters {
    /// What is used of a counter, in its measure's unit.
    fn used(&self, key: &CounterKey) -> i64;

    /// The recipient's points under a benefit; negative after some refunds.
    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64;
}
