//! Pipelines from the outside.

mod shipped;
