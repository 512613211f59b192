//! Registers: materialised views of the registry's, people's and means' streams.

mod dense;
pub mod entitlements;
pub mod means;
mod numbered;
mod older;
pub mod people;
pub mod registry;
