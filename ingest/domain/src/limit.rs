//! Up to what an instruction gives, and the counters that hold it.

use std::hash::{Hash, Hasher};

use chrono::{Datelike, NaiveDate};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl CounterKey {
    /// The household whose counter it is, if it is one's.
    #[must_use]
    pub const fn household(&self) -> Option<HouseholdId> {
        match self.holder {
            Holder::Household(of) => Some(of),
            Holder::Recipient(_) | Holder::Instruction => None,
        }
    }

    /// The same counter of another household.
    #[must_use]
    pub fn of_household(&self, household: HouseholdId) -> Self {
        Self { holder: Holder::Household(household), ..self.clone() }
    }
}

impl Hash for CounterKey {
    /// Folds all fields into one number, because a decision looks up a counter for each limit and a
    /// keyed hash of eight pieces costs more than the rest of the look-up. Nobody outside chooses
    /// keys that would meet: instructions are named in the registry, holders by keyed hashes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, holder) = match self.holder {
            Holder::Recipient(id) => (0_u64, id.as_u128()),
            Holder::Household(id) => (1, id.as_u128()),
            Holder::Instruction => (2, 0),
        };
        let day = u64::from(self.period_start.num_days_from_ce().unsigned_abs());
        let kinds = kind | (self.period as u64) << 8_u32 | (self.measure as u64) << 16_u32;
        let (words, rest) = self.instruction.as_bytes().as_chunks();
        let mut folded = rest.iter().fold(0, |word, byte| word << 8_u32 | u64::from(*byte));
        for word in words {
            folded = fold(folded, u64::from_le_bytes(*word));
        }
        folded = fold(folded, day | kinds << 32_u32);
        folded = fold(folded, (holder >> 64_u32) as u64);
        state.write_u64(fold(folded, holder as u64));
    }
}

const fn fold(folded: u64, word: u64) -> u64 {
    (folded.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// By how much a decision or a refund moves a counter; negative gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterMovement {
    /// The counter.
    pub key: CounterKey,
    /// The change, in the measure's unit.
    pub change: i64,
}
