//! A personal value that does not show itself.

use std::fmt;

/// A personal value: `Debug` and logs show `***`, and only [`expose`](Self::expose) gives it away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked<T>(T);

impl<T> Masked<T> {
    /// Hides `value` from logs.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the few places that may use it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
