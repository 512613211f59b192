//! Numbers that follow from the seed alone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Dice: all that a run leaves to chance. A clone throws the same ones.
#[derive(Clone, Debug)]
pub struct Dice(Arc<Mutex<u64>>);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// Dice of their own, which follow from these.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::of(self.next())
    }

    fn next(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to one below `bound`; 0 where the bound is.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place in a list of so many.
    #[must_use]
    pub fn place(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// One of several; none of nothing.
    #[must_use]
    pub fn of_all<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.place(all.len()))
    }

    /// Whether what happens once in `times` happens now.
    #[must_use]
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time between two, in milliseconds and to the microsecond.
    #[must_use]
    pub fn millis(&self, least: u64, most: u64) -> Duration {
        let width = most.saturating_sub(least) * 1_000 + 1;
        Duration::from_micros(least * 1_000 + self.below(width))
    }
}
