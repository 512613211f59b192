//! What a recipient used itself of limits per household, and in whose counters it stands.
//!
//! A household's counter has what its members used while they lived there, and what those who came
//! brought along. Of every recipient holds, wherever it lives now: *what stands there because of it is
//! all that it used itself*, wherever that was. Who leaves leaves that standing, since the household
//! used it; who comes brings only what does not stand there yet, so that moving away and back counts
//! nothing twice. What is given back goes from where it was decided, and from where its recipient lives.
//!
//! All of it follows from who decided what under which household, which every record says: those of
//! before moves were followed, too. Where somebody lives is looked at before each batch; through what
//! lies between two looks somebody only passes.

use std::collections::BTreeMap;

use domain::{
    id::HouseholdId,
    limit::{CounterKey, CounterMovement},
};

/// One recipient's uses, by the counters of households in which they stand.
#[derive(Clone, Debug, Default)]
pub struct Uses(BTreeMap<CounterKey, Part>);

/// What of a counter stands there because of the recipient.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Decided under that household.
    decided: i64,
    /// Brought there.
    brought: i64,
}

impl Uses {
    /// Takes what was decided under a household, or given back of it.
    pub fn decide(&mut self, key: &CounterKey, change: i64) {
        self.part(key).decided += change;
    }

    /// Takes what was brought to a household.
    pub fn bring(&mut self, key: &CounterKey, change: i64) {
        self.part(key).brought += change;
    }

    /// What is to be brought to the household where the recipient lives: of each counter all that it
    /// used itself, less what stands there because of it.
    #[must_use]
    pub fn to_bring(&self, home: HouseholdId) -> Vec<CounterMovement> {
        let mut due: BTreeMap<CounterKey, i64> = BTreeMap::new();
        for (key, Part { decided, brought }) in &self.0 {
            let due = due.entry(key.of_household(home)).or_default();
            *due += decided;
            if key.household() == Some(home) {
                *due -= decided + brought;
            }
        }
        let due = due.into_iter().map(|(key, change)| CounterMovement { key, change });
        due.filter(|moved| moved.change != 0).collect()
    }

    fn part(&mut self, key: &CounterKey) -> &mut Part {
        if !self.0.contains_key(key) {
            self.0.insert(key.clone(), Part::default());
        }
        self.0.get_mut(key).expect("it was just put there")
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        id::InstructionId,
        limit::{Holder, Measure, Period},
    };

    use super::*;

    fn home(number: u128) -> HouseholdId {
        HouseholdId::from_u128(number)
    }

    fn counter(household: u128) -> CounterKey {
        CounterKey {
            instruction: InstructionId::new("milk").expect("an id"),
            holder: Holder::Household(home(household)),
            period: Period::Month,
            period_start: "2025-06-01".parse().expect("a day"),
            measure: Measure::Units,
        }
    }

    /// What is to be brought to a household, and brings it.
    fn joins(uses: &mut Uses, household: u128) -> i64 {
        let due = uses.to_bring(home(household));
        due.iter().for_each(|moved| uses.bring(&moved.key, moved.change));
        due.iter().map(|moved| moved.change).sum()
    }

    #[test]
    fn there_and_back_counts_nothing_twice() {
        let mut uses = Uses::default();
        uses.decide(&counter(1), 3);
        assert_eq!(joins(&mut uses, 1), 0, "it stands there");
        assert_eq!(joins(&mut uses, 2), 3);
        assert_eq!(joins(&mut uses, 2), 0, "once");
        uses.decide(&counter(2), 2);
        assert_eq!(joins(&mut uses, 1), 2, "what was used meanwhile");
        assert_eq!(joins(&mut uses, 2), 0);
    }

    #[test]
    fn what_is_given_back_leaves_both() {
        let mut uses = Uses::default();
        uses.decide(&counter(1), 3);
        assert_eq!(joins(&mut uses, 2), 3);
        uses.decide(&counter(1), -2);
        assert_eq!(joins(&mut uses, 2), -2);
        assert_eq!(joins(&mut uses, 1), 0);
    }
}
