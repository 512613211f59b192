//! The state that decisions read and move: limits' counters and points.
//!
//! A cache is a materialisation of the `authorisations` stream and can be lost. One trait, several
//! places to keep it; the suite in `tests/it/cache.rs` holds each to the same behaviour.

use std::collections::HashMap;

use domain::{
    id::{AuthorisationId, BenefitId, RecipientId},
    limit::{CounterKey, CounterMovement},
};

pub mod embedded;

/// What a decision wants to read, so that a remote cache is asked once.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Counters of the limits of all candidates.
    pub counters: Vec<CounterKey>,
    /// Points of the recipient under these benefits.
    pub points: Vec<(RecipientId, BenefitId)>,
}

/// What was read: what a decision is based on.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is used of each counter.
    pub counters: HashMap<CounterKey, i64>,
    /// The balance of points; it may be negative after refunds.
    pub points: HashMap<(RecipientId, BenefitId), i64>,
}

/// What a decision or a change moves, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Movements {
    /// Changes of counters.
    pub counters: Vec<CounterMovement>,
    /// Changes of points.
    pub points: Vec<(RecipientId, BenefitId, i64)>,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Everything moved.
    Done,
    /// This id has moved before; nothing moved now.
    Exists,
    /// Something that the decision was based on has changed; nothing moved, decide again.
    Conflict,
}

/// The cache cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// What is kept there is not known to be whole: it is rebuilt from the stream before anything
    /// with a limit is approved.
    #[error("the cache does not know {what}; it is being rebuilt from the stream")]
    Unknown {
        /// What is missing.
        what: &'static str,
    },
}

/// Counters and points, kept somewhere.
pub trait Cache: Send + 'static {
    /// Reads what a decision wants. What was never moved is 0; what is lost is
    /// [`CacheError::Unknown`], never 0.
    fn load(
        &mut self,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Snapshot, CacheError>> + Send;

    /// Moves everything or nothing, under an id: moving again under the same id does nothing. Where
    /// `based_on` is given, it moves only if nothing of it has changed.
    fn reserve(
        &mut self,
        id: AuthorisationId,
        movements: &Movements,
        based_on: Option<&Snapshot>,
    ) -> impl Future<Output = Result<Reserved, CacheError>> + Send;
}

impl crate::rules::Counters for Snapshot {
    fn used(&self, key: &CounterKey) -> i64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.points.get(&(recipient, benefit.clone())).copied().unwrap_or(0)
    }
}
