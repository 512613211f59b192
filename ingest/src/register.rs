//! Registers: materialised views of the registry's, people's and means' streams.

pub mod consents;
pub mod entitlements;
pub mod holders;
pub mod issued;
pub mod means;
pub mod memberships;
mod numbered;
mod older;
pub mod panels;
pub mod people;
pub mod present;
pub mod registry;
pub mod sequences;
pub mod told;
