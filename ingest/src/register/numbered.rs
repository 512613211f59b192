//! Numbers for what there are few of, and what millions of records name.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Values by number and numbers by value.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    pub(super) fn value(&self, number: u32) -> &T {
        &self.values[number as usize]
    }

    pub(super) fn number<Q: Eq + Hash + ?Sized>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
    {
        self.numbers.get(value).copied()
    }

    /// The number of a value, a new one if it has none yet.
    pub(super) fn add(&mut self, value: T) -> u32 {
        if let Some(number) = self.number(&value) {
            return number;
        }
        let number = u32::try_from(self.values.len()).expect("there are few of them");
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}
