//! Up to what an instruction gives, and the counters that hold it.

use chrono::NaiveDate;

use crate::{
    id::{HouseholdId, InstructionId, RecipientId},
    period::{Month, start_of_week, start_of_year},
};

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// Each recipient by itself.
    Recipient,
    /// A household together.
    Household,
    /// All recipients together: a budget.
    Instruction,
}

/// When a limit starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// With every basket.
    Basket,
    /// With the local day.
    Day,
    /// With the ISO week.
    Week,
    /// With the calendar month.
    Month,
    /// With the calendar year.
    Year,
    /// Never within a version's validity.
    Validity,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Baskets with a cent given.
    Uses,
    /// Units of the lines given on; the free ones for `free_units`.
    Units,
    /// Cents given.
    AmountCents,
}

impl Per {
    /// The one that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Recipient, Self::Household, Self::Instruction]
            .into_iter()
            .find(|known| known.code() == code)
    }

    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Household => "household",
            Self::Instruction => "instruction",
        }
    }
}

impl Period {
    /// The one that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Basket, Self::Day, Self::Week, Self::Month, Self::Year, Self::Validity]
            .into_iter()
            .find(|known| known.code() == code)
    }

    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Basket => "basket",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::Validity => "validity",
        }
    }

    /// The first day of the period that holds `day`; of a validity its own first day.
    #[must_use]
    pub fn start(self, day: NaiveDate, valid_from: NaiveDate) -> NaiveDate {
        match self {
            Self::Basket | Self::Day => day,
            Self::Week => start_of_week(day),
            Self::Month => Month::of(day).first_day(),
            Self::Year => start_of_year(day),
            Self::Validity => valid_from,
        }
    }
}

impl Measure {
    /// The one that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Uses, Self::Units, Self::AmountCents].into_iter().find(|known| known.code() == code)
    }

    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Uses => "uses",
            Self::Units => "units",
            Self::AmountCents => "amount_cents",
        }
    }
}

/// Up to how much an instruction gives to whom in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Whom it counts.
    pub per: Per,
    /// When it starts anew.
    pub period: Period,
    /// What it counts.
    pub measure: Measure,
    /// The most it allows, in the measure's unit.
    pub max: i64,
}

/// Whose counter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A recipient's.
    Recipient(RecipientId),
    /// A household's.
    Household(HouseholdId),
    /// The instruction's own.
    Instruction,
}

/// The name of one counter. Counters belong to the instruction's id, across versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// The instruction.
    pub instruction: InstructionId,
    /// Whose it is.
    pub holder: Holder,
    /// The kind of its period; never [`Period::Basket`], which needs no counter.
    pub period: Period,
    /// The first day of its period.
    pub period_start: NaiveDate,
    /// What it counts.
    pub measure: Measure,
}

/// By how much a decision or a refund moves a counter; negative gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterMovement {
    /// The counter.
    pub key: CounterKey,
    /// The change, in the measure's unit.
    pub change: i64,
}
