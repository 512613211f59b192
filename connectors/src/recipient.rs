//! Recipients: what each can get and why, what was used, own means, notices, consents, and what
//! merchants' applications show them.
//!
//! Everybody sees what is their own, by a token whose subject is the internal id. Nothing here decides:
//! it is read from the rules in force, the registers and the authoriser's index, in both languages.

mod benefits;
mod consents;
mod export;
pub mod http;
mod means;
mod names;
mod notifications;
mod panels;
mod registers;
mod transactions;
mod words;
