//! The authoriser: the rule engine, the cache of counters, and the loop that decides.
//!
//! **Invariant:** nothing here reaches DataFusion or Delta; the rule engine does no I/O, reads no
//! clock and cannot fail at run time.

pub mod authorise;
pub mod cache;
pub mod changes;
pub mod claims;
pub mod command;
pub mod error;
pub mod fence;
pub mod history;
pub mod index;
mod kept;
pub mod metrics;
pub mod overspent;
pub mod publish;
pub mod recipient;
pub mod refresh;
pub mod replay;
pub mod reply;
pub mod rules;
pub mod service;
pub mod upload;
pub mod uses;
