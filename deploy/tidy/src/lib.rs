//! Checks of the tree's own rules; see `tests/it`. This package holds no code that runs elsewhere.
