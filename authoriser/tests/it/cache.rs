//! What every cache promises.
