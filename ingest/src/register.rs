//! Registers: materialised views of the registry's, people's and means' streams.

pub mod entitlements;
pub mod means;
pub mod people;
pub mod registry;
