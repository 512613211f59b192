//! Connectors: what comes from outside, translated to our events and handed to the streams.
//!
//! **Invariant:** a connector never decides about a benefit. Translation is pure and apart from
//! transport; whatever is not taken becomes a dead letter with its reason.

pub mod access;
pub mod client;
pub mod connector;
pub mod dagr;
pub mod edge;
pub mod error;
pub mod event;
pub mod grantor;
pub mod issuer;
pub mod json;
pub mod known;
pub mod lines;
pub mod load;
pub mod metrics;
pub mod portal;
pub(crate) mod precondition;
pub mod problem;
pub mod recipient;
pub mod registry;
pub mod source;
pub mod terminal;
pub mod vpvkac;
