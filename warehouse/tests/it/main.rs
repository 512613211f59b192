//! The warehouse on real files: one suite for both tables, then what people pull from them.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not there")]

mod abreast;
mod doors;
mod doubt;
mod evolution;
mod export;
mod follow;
mod open_data;
mod page;
mod report;
mod session;
mod settlement;
mod store;
mod table;
mod tail;
mod upkeep;
mod world;
