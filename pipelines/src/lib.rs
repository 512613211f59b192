//! Pipelines: `.sql` files in Arroyo's dialect, executed on DataFusion, exactly once in effect; and
//! the evaluation of groups over people's attributes.
//!
//! A pipeline reads a stream from the offsets that its table's last commit carries, runs its query
//! over each batch, and commits rows and offsets together. A crash between the two cannot exist.

pub mod catalogue;
pub mod config;
pub mod dataflow;
pub mod decode;
pub mod dialect;
pub mod entitlements;
pub mod error;
mod explain;
pub mod export;
pub mod files;
pub mod folder;
pub mod functions;
pub mod groups;
pub mod metrics;
pub mod own;
pub mod pipeline;
pub mod planner;
mod redis;
pub mod runner;
pub mod session;
pub mod settlements;
pub mod states;
pub mod summary;
