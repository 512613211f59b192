//! The state that decisions read and move: limits' counters and points.
//!
//! A cache is a materialisation of the `authorisations` stream and can be lost. One trait, several
//! places to keep it; the suite in `tests/it/cache.rs` holds each to the same behaviour.
//!
//! The decision loop takes what has arrived as one batch: [`Cache::load`] once for all of it, then
//! each decision reads through [`Counters`] and stages what it moves, and [`Cache::commit`] makes
//! all of it hold. A remote cache is so asked twice per batch, however many wait.

use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, RecipientId, RecordId},
    limit::{CounterKey, CounterMovement, Holder},
};

use ingest::error::LogError;

use crate::{fence::Stamp, rules::Counters};

pub mod embedded;
pub mod model;
pub mod redis;
pub mod truth;

/// What a decision wants to read.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The household whose counters stand together; none for an anonymous basket.
    pub household: Option<HouseholdId>,
    /// Counters of the limits of all candidates that count recipients or households.
    pub counters: Vec<CounterKey>,
    /// Counters of limits across all recipients, each with the most it allows.
    pub budgets: Vec<(CounterKey, i64)>,
    /// Points of the recipient under these benefits.
    pub points: Vec<(RecipientId, BenefitId)>,
}

impl Wanted {
    /// The recipients whose own counters or points are wanted.
    pub fn recipients(&self) -> impl Iterator<Item = RecipientId> {
        let counted = self.counters.iter().filter_map(|key| match key.holder {
            Holder::Recipient(who) => Some(who),
            Holder::Household(_) | Holder::Instruction => None,
        });
        counted.chain(self.points.iter().map(|(who, _)| *who))
    }
}

/// What a decision or a change moves, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Movements {
    /// Changes of counters.
    pub counters: Vec<CounterMovement>,
    /// Changes of points.
    pub points: Vec<(RecipientId, BenefitId, i64)>,
}

impl Movements {
    /// Whether nothing moves.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.points.is_empty()
    }

    /// What gives all of it back.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        for moved in &mut self.counters {
            moved.change = -moved.change;
        }
        for (.., change) in &mut self.points {
            *change = -*change;
        }
        self
    }
}

/// One step of an authorisation, as the cache sees it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The id of its record: applied once, however often it comes.
    pub id: RecordId,
    /// The authorisation.
    pub authorisation: AuthorisationId,
    /// Which record of the authorisation this is, counted from 0 for the decision: of two that
    /// would be the same one, the first wins.
    pub step: u32,
    /// The household under which the authorisation was decided; none for an anonymous one.
    pub household: Option<HouseholdId>,
    /// What moves: counters and points of the recipient, of that household and of all; and of the
    /// household where the recipient lives by now, which no limit is read of.
    pub movements: Movements,
}

/// What became of a staged operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Everything moved.
    Done,
    /// This id has moved before; nothing moved now.
    Exists,
    /// Something that it was based on has changed; nothing moved, decide again.
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
    /// The cache cannot be reached, does not answer in time, or refuses for now.
    #[error("the cache is away: {what}")]
    Away {
        /// What it said, or what became of the connection.
        what: String,
    },
    /// Fewer copies of what moved exist than were asked for.
    #[error("{had} of {needed} replicas of the cache have what moved")]
    Replicas {
        /// Replicas that must have it.
        needed: u32,
        /// Replicas that have it.
        had: u32,
    },
    /// Other authorisers have not yet given back what they hold of a budget.
    #[error("a budget near its end is still held in parts")]
    Held,
    /// The cache would lose counters or refuse them as it is set; said at start.
    #[error("the cache at {node} is set to {setting} {is}: set {setting} {wanted}")]
    Setting {
        /// Which node.
        node: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        is: String,
        /// What to set.
        wanted: String,
    },
    /// The stream, from which the cache is rebuilt, cannot be read.
    #[error("the cache cannot be rebuilt from the stream")]
    Truth(#[from] LogError),
}

impl CacheError {
    /// Whether the same call may succeed later without anybody acting.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Away { .. } | Self::Replicas { .. } | Self::Held => true,
            Self::Setting { .. } => false,
            Self::Truth(error) => error.retry(),
        }
    }
}

/// Counters and points, kept somewhere. Reading what was not loaded gives 0.
pub trait Cache: Counters + Send + 'static {
    /// Whether only what was loaded can be read; else all of it lies here, and nobody need say what
    /// is wanted.
    const IS_LOADED: bool = true;

    /// Drops what was staged and not committed, and makes what is wanted readable.
    /// What was never moved is 0; what is lost is an error, never 0.
    fn load(&mut self, wanted: &[Wanted]) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Whether somebody is wanted in another household than before, and so moves there with the next
    /// load. All that was committed before must then have been appended or refused, and nothing of
    /// that recipient be under way in the batch itself.
    fn moves_somebody(&self, _: &[Wanted]) -> bool {
        false
    }

    /// Moves; what follows in this batch sees it.
    fn stage(&mut self, operation: Operation);

    /// Makes what was staged since the last commit hold, in order, each whole or not at all. To be
    /// awaited to its end, and what is done to be appended under [`stamp`](Self::stamp): where that
    /// is refused, nothing of the batch has happened. After an error neither has anything.
    fn commit(&mut self) -> impl Future<Output = Result<Vec<Reserved>, CacheError>> + Send;

    /// Whether what is read of a budget is all that is left of it, not only what this authoriser
    /// holds of it. What a part would cut is decided again on the whole.
    fn is_whole(&self, budget: &CounterKey) -> bool;

    /// Makes budgets whole: other authorisers give back what they hold, and until they have, this
    /// fails.
    fn gather(
        &mut self,
        budgets: &[(CounterKey, i64)],
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// On what the last load stands, for the fence before the log.
    fn stamp(&self) -> Stamp {
        Stamp::default()
    }

    /// Gives back what this authoriser holds, when it ends in order.
    fn close(&mut self) -> impl Future<Output = Result<(), CacheError>> + Send {
        async { Ok(()) }
    }
}
