//! The warehouse: the tables, their schemas, and what people pull from them.
//!
//! **Invariant:** rows and the positions of the streams they come from enter a table in one commit;
//! tables only grow. Everything here can be made again from the streams.

pub mod access;
pub mod endpoint;
pub mod error;
pub mod export;
pub mod file;
pub mod groups;
pub mod metrics;
pub mod nesting;
pub mod open_data;
pub mod page;
pub mod person;
pub mod report;
pub mod schema;
pub mod session;
pub mod settlement;
pub mod store;
pub mod table;
pub mod tail;
