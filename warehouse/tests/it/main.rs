//! The warehouse on real files: one suite for both tables, then what people pull from them.

mod export;
mod open_data;
mod page;
mod session;
mod settlement;
mod table;
mod world;
