//! Where a registry's names stand: tables that are filled when rules are compiled and only read by
//! decisions.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// A table from the registry's names. What terminals and people send is only looked up here, never
/// kept, so nobody outside can crowd one bucket, and a keyed hash would be paid for nothing.
pub(super) type Index<K, V> = HashMap<K, V, BuildHasherDefault<Mixed>>;

/// The place of each name in its list.
pub(super) fn places<K: Hash + Eq>(names: impl Iterator<Item = K>) -> Index<K, u32> {
    names.zip(0_u32..).collect()
}

/// Multiplies and rotates, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixed(u64);

impl Mixed {
    const fn mix(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.mix(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    /// The table takes its bucket from the low bits and its tag from the high ones; the product
    /// leaves the low bits poor, so the high ones are folded in.
    fn finish(&self) -> u64 {
        self.0 ^ self.0.rotate_left(32)
    }
}

/// Members of a list by their places, one bit each; without an allocation for a list of 64.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    first: u64,
    rest: Vec<u64>,
}

impl Bits {
    pub(super) fn insert(&mut self, place: u32) {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        if word == 0 {
            self.first |= bit;
            return;
        }
        if self.rest.len() < word {
            self.rest.resize(word, 0);
        }
        self.rest[word - 1] |= bit;
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        let word = match place as usize / 64 {
            0 => self.first,
            word => self.rest.get(word - 1).copied().unwrap_or(0),
        };
        word >> (place % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_hold_what_was_put_in() {
        let mut bits = Bits::default();
        let held = [0, 63, 64, 200];
        held.iter().for_each(|place| bits.insert(*place));
        assert!((0..300).all(|place| bits.contains(place) == held.contains(&place)));
    }

    #[test]
    fn names_that_differ_in_one_character_spread_over_buckets() {
        let hash = |name: &str| {
            let mut hasher = Mixed::default();
            name.hash(&mut hasher);
            hasher.finish()
        };
        let names: Vec<String> = (0..4_096).map(|number| format!("item-{number:04}")).collect();
        let buckets: std::collections::HashSet<u64> =
            names.iter().map(|name| hash(name) % 4_096).collect();
        assert!(buckets.len() > 2_200, "{} of 4096 buckets", buckets.len());
        let tags: std::collections::HashSet<u64> =
            names.iter().map(|name| hash(name) >> 57).collect();
        assert_eq!(tags.len(), 128);
    }
}
