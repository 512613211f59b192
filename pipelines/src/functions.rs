//! Functions that the dialect has and the engine has not.

pub mod age;
