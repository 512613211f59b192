//! The basket as a terminal sends it: checked once, so that the rule engine is total.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    amount::{Amount, Quantity},
    id::{IdempotencyKey, InstructionId, ItemId, MeansToken, TerminalId},
    merchant::Category,
};

/// The most lines of one basket.
pub const MOST_LINES: usize = 1_000;

/// What a terminal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Hold the benefit until it is captured.
    Reserve,
    /// Reserve and capture at once.
    Sale,
    /// What happened while the terminal was offline.
    Offline,
}

impl Mode {
    /// The word used on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Sale => "sale",
            Self::Offline => "offline",
        }
    }
}

/// How many points the recipient wants to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointsWanted {
    /// At most this many.
    UpTo(i64),
    /// As many as may be.
    Max,
}

/// One line of a basket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the message; lines are taken in ascending order of it.
    pub number: u32,
    /// The item as the terminal names it.
    pub item: ItemId,
    /// The category that the terminal says; the merchant's catalogue goes before it.
    pub category: Option<Category>,
    /// How much was bought.
    pub quantity: Quantity,
    /// The price of a unit.
    pub unit_price: Amount,
    /// What else the terminal says of the item.
    pub attributes: BTreeMap<String, String>,
}

/// What an offline terminal says it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The instruction of its kit.
    pub instruction: InstructionId,
    /// The line.
    pub line: u32,
    /// What it gave.
    pub amount: Amount,
}

/// A terminal's request about one basket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its name of this request.
    pub key: IdempotencyKey,
    /// When it happened, by the terminal's clock.
    pub occurred_at: DateTime<Utc>,
    /// The means presented, by its keyed hash; none for an anonymous basket.
    pub means: Option<MeansToken>,
    /// What is asked for.
    pub mode: Mode,
    /// What was bought.
    pub lines: Lines,
    /// The number of the receipt, where the terminal already has one.
    pub receipt: Option<String>,
    /// How many points the recipient wants to spend.
    pub spend_points: PointsWanted,
    /// What an offline terminal says it gave; `None` where it does not say.
    pub applied: Option<Vec<Applied>>,
}

/// The lines of a basket: at least one, in ascending order, each number once, within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

/// Why lines are no basket. Each names the line at its place in the message, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// No line.
    #[error("a basket has at least one line")]
    Empty,
    /// Too many lines.
    #[error("a basket has at most {MOST_LINES} lines")]
    TooMany,
    /// Two lines with the same number.
    #[error("the line number {number} stands twice")]
    Twice {
        /// Where the second stands.
        at: usize,
        /// The number.
        number: u32,
    },
    /// A quantity that is not above 0, or beyond a million units.
    #[error("a quantity is above 0 and at most {}", Quantity::LARGEST)]
    Quantity {
        /// Where it stands.
        at: usize,
    },
    /// A price below 0.
    #[error("a price is not below 0")]
    Price {
        /// Where it stands.
        at: usize,
    },
    /// A sum beyond [`Amount::LARGEST`].
    #[error("the amount overflows: a basket totals at most {} euro", Amount::LARGEST)]
    Overflow {
        /// Where it stands.
        at: usize,
    },
}

impl Lines {
    /// Checks `lines` and puts them in ascending order of their numbers.
    ///
    /// # Errors
    /// The first fault, with its place in the message.
    pub fn new(lines: Vec<Line>) -> Result<Self, LinesError> {
        if lines.is_empty() {
            return Err(LinesError::Empty);
        }
        if lines.len() > MOST_LINES {
            return Err(LinesError::TooMany);
        }
        let mut numbers = std::collections::BTreeSet::new();
        let mut total: i64 = 0;
        for (at, line) in lines.iter().enumerate() {
            if !numbers.insert(line.number) {
                return Err(LinesError::Twice { at, number: line.number });
            }
            if line.quantity <= Quantity::default() || line.quantity > Quantity::LARGEST {
                return Err(LinesError::Quantity { at });
            }
            if line.unit_price < Amount::ZERO {
                return Err(LinesError::Price { at });
            }
            total = total.saturating_add(line.total().cents());
            if line.unit_price > Amount::LARGEST || total > Amount::LARGEST.cents() {
                return Err(LinesError::Overflow { at });
            }
        }
        let mut lines = lines;
        lines.sort_by_key(|line| line.number);
        Ok(Self(lines))
    }

    /// The sum of the lines' totals.
    #[must_use]
    pub fn total(&self) -> Amount {
        Amount::from_cents(
            self.0.iter().fold(0_i64, |sum, line| sum.saturating_add(line.total().cents())),
        )
    }
}

impl std::ops::Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.0
    }
}

impl Line {
    /// Price × quantity, rounded half away from zero to the cent.
    #[must_use]
    #[inline]
    pub fn total(&self) -> Amount {
        Amount::from_cents(self.quantity.price(self.unit_price))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32, thousandths: i64, cents: i64) -> Line {
        Line {
            number,
            item: ItemId::new("milk").expect("an id"),
            category: None,
            quantity: Quantity::from_thousandths(thousandths),
            unit_price: Amount::from_cents(cents),
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn lines_are_put_in_order() {
        let lines = Lines::new(vec![line(2, 1_000, 5), line(1, 500, 5)]).expect("lines");
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lines.total(), Amount::from_cents(8));
    }

    #[test]
    fn faults_name_their_place() {
        let check = |lines| Lines::new(lines).expect_err("a fault");
        assert_eq!(check(vec![]), LinesError::Empty);
        assert_eq!(
            check(vec![line(1, 1_000, 1), line(1, 1_000, 1)]),
            LinesError::Twice { at: 1, number: 1 }
        );
        assert_eq!(check(vec![line(1, -1, 1)]), LinesError::Quantity { at: 0 });
        assert_eq!(check(vec![line(1, 1, -1)]), LinesError::Price { at: 0 });
        assert_eq!(check(vec![line(1, 1_000_000_000, i64::MAX)]), LinesError::Overflow { at: 0 });
        assert_eq!(check(vec![line(1, 1_000, 1); 1_001]), LinesError::TooMany);
    }
}
