//! Lines of one basket as bits, so that an instruction meets a basket a word at a time.

use domain::basket::MOST_LINES;

/// The words of a basket of at most 64 lines, as nearly all are.
pub(super) const FEW: usize = 1;

/// The words of the largest basket.
pub(super) const MANY: usize = MOST_LINES.div_ceil(64);

/// Some lines of a basket, by their places; `WORDS` is [`FEW`] or [`MANY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineSet<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for LineSet<WORDS> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const WORDS: usize> LineSet<WORDS> {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    pub(super) const fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub(super) const fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// The lines in either.
    pub(super) fn or(self, other: Self) -> Self {
        self.by_word(other, |one, other| one | other)
    }

    /// The lines in both.
    pub(super) fn and(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & other)
    }

    /// The lines in this and not in the other.
    pub(super) fn without(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & !other)
    }

    /// The lines' places, ascending.
    pub(super) const fn places(self) -> Places<WORDS> {
        Places { words: self.0, at: 0 }
    }

    fn by_word(mut self, other: Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = operation(*word, other);
        }
        self
    }
}

/// The places of a set's lines, ascending.
#[derive(Debug)]
pub(super) struct Places<const WORDS: usize> {
    words: [u64; WORDS],
    at: usize,
}

impl<const WORDS: usize> Iterator for Places<WORDS> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.words.get_mut(self.at) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.at * 64 + bit);
            }
            self.at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<const WORDS: usize>(places: &[usize]) -> LineSet<WORDS> {
        let mut set = LineSet::EMPTY;
        places.iter().for_each(|at| set.insert(*at));
        set
    }

    #[test]
    fn places_ascend_over_words() {
        let all = [0, 1, 63, 64, 127, 640, MOST_LINES - 1];
        assert!(set::<MANY>(&all).places().eq(all));
        assert!(set::<FEW>(&[]).places().next().is_none());
        let mut few = set::<FEW>(&[5, 63]);
        few.remove(5);
        assert!(few.places().eq([63]));
    }

    #[test]
    fn sets_meet_word_by_word() {
        let (one, other) = (set::<MANY>(&[1, 70, 900]), set::<MANY>(&[1, 900, 999]));
        assert_eq!(one.and(other), set(&[1, 900]));
        assert_eq!(one.or(other), set(&[1, 70, 900, 999]));
        assert_eq!(one.without(other), set(&[70]));
        assert!(one.without(one).is_empty() && !one.is_empty());
    }
}
