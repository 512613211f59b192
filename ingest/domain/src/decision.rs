//! What the rule engine answers: what was given on which line, by whom, why, and what it moved.

use crate::{
    amount::Amount,
    id::{BenefitId, GrantorId, InstructionId},
    identification_means::MeansStatus,
    limit::{CounterMovement, Measure, Per, Period},
};

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A cent was given or a point earned.
    Approved,
    /// Nothing applies.
    NoBenefit,
    /// The means may not be used.
    Declined(DeclineReason),
}

impl Outcome {
    /// The word used on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::NoBenefit => "no_benefit",
            Self::Declined(_) => "declined",
        }
    }
}

/// Why a basket was declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeclineReason {
    /// The means is blocked.
    MeansBlocked,
    /// The means is that of a dead person.
    RecipientDead,
}

impl DeclineReason {
    /// The reason that the code names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::MeansBlocked, Self::RecipientDead].into_iter().find(|known| known.code() == code)
    }

    /// The stable code for terminals.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MeansBlocked => "means_blocked",
            Self::RecipientDead => "recipient_dead",
        }
    }
}

/// Why an instruction gave nothing: the first reason in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// Not valid on the local day.
    Validity,
    /// Outside its schedule.
    Schedule,
    /// Not for this merchant, place, territory or terminal kind.
    Scope,
    /// No contract between grantor and merchant in force that day.
    Contract,
    /// What it asks for is not in the basket.
    Content,
    /// Stacking left it no line.
    Exclusive,
    /// A limit left nothing, or less than wanted where it skips.
    Limit,
    /// Nothing was payable, or the sum was below its minimum.
    NothingPayable,
    /// Another of the same name gave more.
    BestOf,
}

impl SkipReason {
    /// Every reason, in order.
    pub const ALL: [Self; 9] = [
        Self::Validity,
        Self::Schedule,
        Self::Scope,
        Self::Contract,
        Self::Content,
        Self::Exclusive,
        Self::Limit,
        Self::NothingPayable,
        Self::BestOf,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Validity => "validity",
            Self::Schedule => "schedule",
            Self::Scope => "scope",
            Self::Contract => "contract",
            Self::Content => "content",
            Self::Exclusive => "exclusive",
            Self::Limit => "limit",
            Self::NothingPayable => "nothing_payable",
            Self::BestOf => "best_of",
        }
    }
}

/// What one instruction gave on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineBenefit {
    /// The instruction.
    pub instruction: InstructionId,
    /// Its version.
    pub version: u32,
    /// Units given on; the free ones for `free_units`.
    pub units: i64,
    /// What was given; above 0.
    pub amount: Amount,
    /// What would have been given without limits, where a limit cut this line.
    pub wanted: Option<Amount>,
    /// The grantor's part of it.
    pub grantor_amount: Amount,
}

/// One line as decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineDecision {
    /// The line's number.
    pub number: u32,
    /// Price × quantity.
    pub total: Amount,
    /// What is left to pay.
    pub payable: Amount,
    /// What was given on it, in the order of application.
    pub benefits: Vec<LineBenefit>,
}

/// What was left of one limit before this decision and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRoom {
    /// Whom it counts.
    pub per: Per,
    /// When it starts anew.
    pub period: Period,
    /// What it counts.
    pub measure: Measure,
    /// Left before, in the measure's unit. A refund that decides again uses this room.
    pub before: i64,
    /// Left after.
    pub after: i64,
}

/// What became of one instruction whose recipients include the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionOutcome {
    /// The instruction.
    pub instruction: InstructionId,
    /// Its version.
    pub version: u32,
    /// The benefit that it carries out.
    pub benefit: BenefitId,
    /// Who funds it.
    pub grantor: GrantorId,
    /// The reason why it gave nothing; `None` where it was applied.
    pub skipped: Option<SkipReason>,
    /// What it gave in the basket.
    pub amount: Amount,
    /// What it would have given without limits, where a limit cut.
    pub wanted: Option<Amount>,
    /// Points earned (positive) or spent (negative) under its benefit.
    pub points: i64,
    /// What its limits left, in their order.
    pub limits: Vec<LimitRoom>,
}

impl InstructionOutcome {
    /// Whether a limit cut it, to something or to nothing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.wanted.is_some() || self.skipped == Some(SkipReason::Limit)
    }
}

/// Points moved under one benefit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointsMovement {
    /// The benefit whose points they are.
    pub benefit: BenefitId,
    /// Earned (positive) or spent (negative).
    pub change: i64,
}

/// The answer to one basket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// What became of the means.
    pub means_status: MeansStatus,
    /// Every line of the basket, in ascending order.
    pub lines: Vec<LineDecision>,
    /// Every instruction whose recipients include the person, in the order of priority.
    pub instructions: Vec<InstructionOutcome>,
    /// What it moves in the limits' counters.
    pub counters: Vec<CounterMovement>,
    /// What it moves in the recipient's points.
    pub points: Vec<PointsMovement>,
}

impl Decision {
    /// The sum of the lines' totals.
    #[must_use]
    pub fn total(&self) -> Amount {
        sum(self.lines.iter().map(|line| line.total))
    }

    /// What is left to pay.
    #[must_use]
    pub fn payable(&self) -> Amount {
        sum(self.lines.iter().map(|line| line.payable))
    }

    /// What was given.
    #[must_use]
    pub fn benefit(&self) -> Amount {
        sum(self.lines.iter().flat_map(|line| line.benefits.iter().map(|benefit| benefit.amount)))
    }

    /// Points earned.
    #[must_use]
    pub fn points_earned(&self) -> i64 {
        self.points.iter().map(|points| points.change.max(0)).fold(0, i64::saturating_add)
    }

    /// Points spent.
    #[must_use]
    pub fn points_spent(&self) -> i64 {
        self.points
            .iter()
            .map(|points| points.change.min(0).saturating_neg())
            .fold(0, i64::saturating_add)
    }
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    // Bounded by the basket's total, which `Lines` keeps far inside 64 bits.
    Amount::from_cents(amounts.fold(0, |sum, amount| sum.saturating_add(amount.cents())))
}
