//! Pipelines from the outside: the shipped files over a log and tables in memory.

mod arroyo;
mod backfill;
mod dialect;
mod evaluation;
mod flow;
mod fluvio;
mod folder;
mod generated;
mod groups;
mod history;
mod json_columns;
mod kept;
mod landing;
mod late;
mod lookup;
mod people;
mod power_cut;
mod redis;
mod settlements;
mod shipped;
mod slow;
mod slt;
mod summaries;
mod window;
