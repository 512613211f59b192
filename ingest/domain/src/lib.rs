//! The vocabulary of the platform: money, identifiers, the registry, the basket, the decision.
//!
//! No I/O, no clock, no async, no serialisation and no other package of ours: everything here is a
//! value, and every function is total or says in its result what was wrong. How a value is written
//! on a wire stands in `ingest`, how it is decided in `authoriser`.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, missing_docs)]

pub mod amount;
pub mod authorisation;
pub mod basket;
pub mod benefit;
pub mod call_event;
pub mod decision;
pub mod grantor;
pub mod iban;
pub mod id;
pub mod identification_means;
pub mod instruction;
pub mod invariant;
pub mod limit;
pub mod merchant;
pub mod period;
pub mod person_code;
pub mod recipient;
pub mod refund;
pub mod registry;
pub mod service_centre;
pub mod settlement;
pub mod terminal;
pub mod text;
