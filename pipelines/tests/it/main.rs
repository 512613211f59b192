//! Pipelines from the outside: the shipped files over a log and tables in memory.

mod dialect;
mod evaluation;
mod groups;
mod history;
mod landing;
mod people;
mod shipped;
mod window;
