//! Numbers from a seed, the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one below `bound`.
    pub fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.next() % bound.unsigned_abs()).expect("below an i64")
    }

    /// One of several, if there is any.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let bound = i64::try_from(all.len()).expect("few");
        (bound > 0).then(|| &all[usize::try_from(self.below(bound)).expect("a place")])
    }
}

/// The seeds to run: one that was asked for, or so many.
pub fn seeds(count: u32) -> Vec<u64> {
    let one = std::env::var("AVIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    match one {
        Some(seed) => vec![seed],
        None => (0..u64::from(count * crate::scale())).collect(),
    }
}
