//! Streams: the events, their wire format, the log that keeps them, and the registers made from
//! them.
//!
//! The streams are the truth; caches and tables are materialisations. [`log::Log`] is the one
//! contract: a batch is acknowledged when it is synced, and reading from an offset gives the same
//! records for ever.

pub mod audit;
pub mod backup;
pub mod clock;
pub mod dead_letter;
pub mod deduplication;
mod dense;
pub mod document;
pub mod error;
pub mod first_start;
pub mod folder;
pub mod heartbeat;
pub mod log;
pub mod metrics;
pub mod record;
pub mod register;
pub mod spread;
pub mod topic;
pub mod traces;
pub mod vault;
pub mod wire;
