//! What this process knows to stand in Redis, by which it notices that something was lost.
//!
//! Each hash counts its changes. A count below one that was acknowledged, or one count answered for
//! two changes, means that the hash is not the one that was written to: Redis fell back to an
//! earlier state, or two nodes took writes for it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::id::{HouseholdId, RecipientId};

/// The last acknowledged version of a hash.
#[derive(Clone, Copy, Debug, Default)]
struct Version {
    number: u64,
    /// Whether its making was acknowledged; a later change may be so before.
    made: bool,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    /// By two hashes of the key: millions of them are kept.
    versions: HashMap<(u64, u64), Version>,
    homes: HashMap<RecipientId, Home>,
}

/// Where a recipient's own counters are kept.
#[derive(Clone, Copy, Debug)]
struct Home {
    household: HouseholdId,
    /// The one author that asked for them in this generation; none where several did.
    author: Option<u64>,
}

/// Shared by all authors of the process; every write to Redis is by one of them.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: Mutex<State>,
    hashers: (RandomState, RandomState),
}

impl Known {
    /// The last acknowledged version of a hash, 0 where none was: to be taken before asking, as
    /// answers may pass one another.
    pub(super) fn floor(&self, generation: u64, key: &str) -> u64 {
        let state = self.of(generation);
        let known = state.and_then(|state| state.versions.get(&self.hash(key)).copied());
        known.unwrap_or_default().number
    }

    /// A change was acknowledged as this version. Says whether that can be.
    #[must_use]
    pub(super) fn moved(&self, generation: u64, key: &str, floor: u64, version: u64) -> bool {
        let Some(mut state) = self.of(generation) else { return true };
        let last = state.versions.entry(self.hash(key)).or_default();
        let can_be = version > floor && version != last.number;
        last.number = version.max(last.number);
        can_be
    }

    /// A change was acknowledged when asked again; others may have moved the hash since.
    pub(super) fn moved_before(&self, generation: u64, key: &str, version: u64) {
        let Some(mut state) = self.of(generation) else { return };
        let last = state.versions.entry(self.hash(key)).or_default();
        last.number = version.max(last.number);
    }

    /// A hash was made. Says whether it was made for the first time.
    #[must_use]
    pub(super) fn created(&self, generation: u64, key: &str, version: u64) -> bool {
        let Some(mut state) = self.of(generation) else { return true };
        let last = state.versions.entry(self.hash(key)).or_default();
        last.number = version.max(last.number);
        !std::mem::replace(&mut last.made, true)
    }

    /// The author asks for the recipient in this household. Says whether it was in no other.
    #[must_use]
    pub(super) fn lives(
        &self,
        generation: u64,
        who: RecipientId,
        household: HouseholdId,
        author: u64,
    ) -> bool {
        let Some(mut state) = self.of(generation) else { return true };
        let first = Home { household, author: Some(author) };
        let home = state.homes.entry(who).or_insert(first);
        let here = home.household == household;
        if here && home.author != Some(author) {
            home.author = None;
        }
        here
    }

    /// Whether the recipient was asked for in another household.
    pub(super) fn is_elsewhere(
        &self,
        generation: u64,
        who: RecipientId,
        household: HouseholdId,
    ) -> bool {
        let Some(state) = self.of(generation) else { return false };
        state.homes.get(&who).is_some_and(|home| home.household != household)
    }

    /// From now on the recipient is in another household, and the one that it left is given: unless
    /// another author asked for it, too. What that one counted may not be on the stream yet.
    pub(super) fn moves(
        &self,
        generation: u64,
        who: RecipientId,
        to: HouseholdId,
        author: u64,
    ) -> Option<HouseholdId> {
        let mut state = self.of(generation)?;
        let home = state.homes.get_mut(&who).filter(|home| home.author == Some(author))?;
        Some(std::mem::replace(&mut home.household, to))
    }

    fn hash(&self, key: &str) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    /// The state of a generation; none where a later one has begun, in which nothing of this holds.
    fn of(&self, generation: u64) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if generation > state.generation {
            *state = State { generation, ..State::default() };
        }
        (generation == state.generation).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_fall_back_or_come_twice_are_noticed() {
        let known = Known::default();
        assert!(known.created(1, "h", 1));
        assert!(known.moved(1, "h", 1, 3), "another's 2 is still on its way");
        assert!(known.moved(1, "h", 1, 2));
        assert_eq!(known.floor(1, "h"), 3);
        assert!(!known.moved(1, "h", 2, 3), "one version for two changes");
        assert!(!known.moved(1, "h", 3, 2), "below what was acknowledged");
        assert!(!known.created(1, "h", 1), "it was there");
        assert!(known.moved(1, "i", 0, 2), "another's change upon a making still on its way");
        assert!(known.created(1, "i", 1) && known.floor(1, "i") == 2);
        assert!(known.created(2, "h", 1), "a new generation begins with nothing");
        assert!(known.moved(1, "h", 9, 1), "what has ended is nobody's concern");
    }

    #[test]
    fn who_moves_is_let_go_by_the_only_one_that_counted() {
        let (known, who) = (Known::default(), RecipientId::from_u128(7));
        let [old, new] = [1, 2].map(HouseholdId::from_u128);
        assert!(known.lives(1, who, old, 5) && !known.lives(1, who, new, 5));
        assert!(known.is_elsewhere(1, who, new) && !known.is_elsewhere(1, who, old));
        assert_eq!(known.moves(1, who, new, 5), Some(old));
        assert!(known.lives(1, who, new, 5) && known.lives(1, who, new, 6));
        assert_eq!(known.moves(1, who, old, 5), None, "another has counted it");
        assert!(known.lives(2, who, old, 5), "a new generation begins with nothing");
    }
}
