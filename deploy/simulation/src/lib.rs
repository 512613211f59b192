//! The whole chain in one thread and virtual time, from a seed: streams, authoriser, pipelines and
//! settlement as they are, over models of what they stand on, while everything around them fails.
//!
//! **Invariant:** a run follows from its seed alone; no I/O decides it, and no clock of the machine.

pub mod cache;
pub mod country;
pub mod disk;
pub mod faults;
pub mod index;
pub mod landing;
pub mod random;
pub mod run;
pub mod table;
pub mod terminal;
pub mod time;
pub mod witness;
pub mod world;
