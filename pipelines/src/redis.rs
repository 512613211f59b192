//! Redis: rows that become its keys, and rows that are looked up in it by their key.
//!
//! **Invariant:** what a table asks of Redis has an answer or an error in bounded time.

mod lookup;
mod nodes;
mod sink;

pub(crate) use lookup::{Reader, Table};
pub(crate) use sink::Writer;

/// Why Redis did not do what was asked, or a row cannot be there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Trouble(String);
