//! The room that one decision after another works in, so that only the answer is allocated.

use std::{cell::Cell, ops::Range};

use domain::{
    amount::Amount,
    basket::Lines,
    decision::{LimitRoom, SkipReason},
};

use super::{
    compile::RuleSet,
    content::Marked,
    line_set::{FEW, LineSet, MANY},
    state::{Share, Splitting, State},
};

/// What a decision finds on its way; its contents mean nothing before or after.
#[derive(Debug, Default)]
pub(super) struct Scratch<const WORDS: usize> {
    pub(super) marked: Marked<WORDS>,
    pub(super) state: State<WORDS>,
    /// In the order of application.
    pub(super) candidates: Vec<Candidate<WORDS>>,
    /// Of each rule whose recipients include the person.
    pub(super) verdicts: Vec<Verdict>,
    /// The places of the verdicts that gave something, in the order in which they did.
    pub(super) applied: Vec<usize>,
    /// Of a contest, each with its candidate's place.
    pub(super) trials: Vec<(usize, Trial)>,
    /// Shares of the trials that are not yet applied.
    pub(super) shares: Vec<Share>,
    /// What was left of all limits that were looked up.
    pub(super) rooms: Vec<LimitRoom>,
    pub(super) splitting: Splitting,
}

impl<const WORDS: usize> Scratch<WORDS> {
    /// Forgets the basket before.
    pub(super) fn begin(&mut self, rules: &RuleSet, lines: &Lines) {
        self.state.begin(rules, lines);
        self.candidates.clear();
        self.verdicts.clear();
    }

    /// Notes that a rule comes into question on some lines, or why it does not.
    pub(super) fn found(&mut self, at: u32, found: Result<LineSet<WORDS>, SkipReason>) {
        let skipped = match found {
            Ok(matching) => {
                let verdict = self.verdicts.len();
                self.candidates.push(Candidate { at, verdict, matching, done: false });
                SkipReason::NothingPayable
            }
            Err(reason) => reason,
        };
        self.verdicts.push(Verdict {
            at,
            skipped: Some(skipped),
            amount: Amount::ZERO,
            wanted: None,
            points: 0,
            rooms: 0..0,
        });
    }
}

/// An instruction that comes into question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<const WORDS: usize> {
    /// The rule's place in the set.
    pub(super) at: u32,
    /// The place of its verdict.
    pub(super) verdict: usize,
    pub(super) matching: LineSet<WORDS>,
    pub(super) done: bool,
}

/// What became of an instruction.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The rule's place in the set.
    pub(super) at: u32,
    pub(super) skipped: Option<SkipReason>,
    pub(super) amount: Amount,
    pub(super) wanted: Option<Amount>,
    pub(super) points: i64,
    /// The places of its limits among all rooms.
    pub(super) rooms: Range<usize>,
}

/// What a candidate would give from the present state.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// Their places among all shares.
    pub(super) shares: Range<usize>,
    /// The shares' sum.
    pub(super) cents: i64,
    /// Cents wanted before limits.
    pub(super) wanted: i64,
    pub(super) points: i64,
    /// The places of its limits among all rooms.
    pub(super) rooms: Range<usize>,
    pub(super) skipped: Option<SkipReason>,
}

/// Lends a thread's room for the words of a basket.
pub(super) trait Lend: Sized {
    /// Does something in the room. Within it, the same again would only find a new room.
    fn lend<T>(then: impl FnOnce(&mut Self) -> T) -> T;
}

macro_rules! lend {
    ($words:ident) => {
        impl Lend for Scratch<$words> {
            fn lend<T>(then: impl FnOnce(&mut Self) -> T) -> T {
                thread_local! {
                    static ROOM: Cell<Option<Box<Scratch<$words>>>> = const { Cell::new(None) };
                }
                let mut room = ROOM.take().unwrap_or_default();
                let result = then(&mut room);
                ROOM.set(Some(room));
                result
            }
        }
    };
}

lend!(FEW);
lend!(MANY);
