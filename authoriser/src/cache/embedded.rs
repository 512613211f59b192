//! The embedded cache: in memory, owned by the one decision loop, rebuilt from the stream.

use chrono::NaiveDate;
use domain::{
    id::{BenefitId, InstructionId, RecipientId},
    limit::{CounterKey, CounterMovement, Holder, Measure, Period},
};
use rustc_hash::FxHashMap;

use super::{Cache, CacheError, Movements, Operation, Reserved, Wanted};
use crate::{error::AuthoriserError, index::Index, rules::Counters};

/// Counters and points in memory, thirty-two bytes each.
///
/// The hash is a quick one: nobody chooses a recipient's or a household's number, and instructions
/// are named by grantors.
#[derive(Debug, Default)]
pub struct EmbeddedCache {
    counters: FxHashMap<Compact, i64>,
    points: FxHashMap<(RecipientId, u32), i64>,
    instructions: Names<InstructionId>,
    benefits: Names<BenefitId>,
    staged: usize,
}

/// A counter's name in numbers: millions of them are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Compact {
    holder: u128,
    instruction: u32,
    /// Days since the common era began, shifted to leave room for who, when and what is counted.
    period: u32,
}

/// Identifiers by number, in the order of their first use.
#[derive(Debug)]
struct Names<T>(FxHashMap<T, u32>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<T: Clone + Eq + std::hash::Hash> Names<T> {
    fn number(&mut self, name: &T) -> u32 {
        if let Some(known) = self.0.get(name) {
            return *known;
        }
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(name.clone(), next);
        next
    }
}

impl Compact {
    fn of(key: &CounterKey, instruction: u32) -> Self {
        let (per, holder) = match key.holder {
            Holder::Recipient(id) => (0, id.as_u128()),
            Holder::Household(id) => (1, id.as_u128()),
            Holder::Instruction => (2, 0),
        };
        let period = match key.period {
            Period::Basket => 0,
            Period::Day => 1,
            Period::Week => 2,
            Period::Month => 3,
            Period::Year => 4,
            Period::Validity => 5,
        };
        let measure = match key.measure {
            Measure::Uses => 0,
            Measure::Units => 1,
            Measure::AmountCents => 2,
        };
        Self {
            holder,
            instruction,
            period: days(key.period_start) << 7 | per << 5 | period << 2 | measure,
        }
    }
}

/// Days since year 1; dates fit 25 bits far beyond any validity.
fn days(date: NaiveDate) -> u32 {
    use chrono::Datelike;
    u32::try_from(date.num_days_from_ce()).unwrap_or(0)
}

impl EmbeddedCache {
    /// The cache as the index has it.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn of(index: &Index) -> Result<Self, AuthoriserError> {
        let mut cache = Self::default();
        let counters = index.all_counters()?.into_iter();
        let points = index.points(None)?;
        cache.restore(&Movements {
            counters: counters.map(|(key, change)| CounterMovement { key, change }).collect(),
            points,
        });
        Ok(cache)
    }

    /// Moves what a record of the stream moves, while the cache is rebuilt.
    pub fn restore(&mut self, movements: &Movements) {
        for movement in &movements.counters {
            let instruction = self.instructions.number(&movement.key.instruction);
            let used = self.counters.entry(Compact::of(&movement.key, instruction)).or_default();
            *used = used.saturating_add(movement.change);
        }
        for (recipient, benefit, change) in &movements.points {
            let benefit = self.benefits.number(benefit);
            let balance = self.points.entry((*recipient, benefit)).or_default();
            *balance = balance.saturating_add(*change);
        }
    }

    /// How many counters and balances are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.len() + self.points.len()
    }

    /// Whether nothing has moved yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Counters for EmbeddedCache {
    fn used(&self, key: &CounterKey) -> i64 {
        let Some(instruction) = self.instructions.0.get(&key.instruction) else { return 0 };
        self.counters.get(&Compact::of(key, *instruction)).copied().unwrap_or(0)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        let Some(benefit) = self.benefits.0.get(benefit) else { return 0 };
        self.points.get(&(recipient, *benefit)).copied().unwrap_or(0)
    }
}

impl Cache for EmbeddedCache {
    const IS_LOADED: bool = false;

    async fn load(&mut self, _: &[Wanted]) -> Result<(), CacheError> {
        Ok(())
    }

    /// One loop owns it and looks each key and each step up before it decides, so nothing comes
    /// twice and nothing changes in between.
    fn stage(&mut self, operation: Operation) {
        self.restore(&operation.movements);
        self.staged += 1;
    }

    async fn commit(&mut self) -> Result<Vec<Reserved>, CacheError> {
        Ok(vec![Reserved::Done; std::mem::take(&mut self.staged)])
    }

    fn is_whole(&self, _: &CounterKey) -> bool {
        true
    }

    async fn gather(&mut self, _: &[(CounterKey, i64)]) -> Result<(), CacheError> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), CacheError> {
        Ok(())
    }
}
