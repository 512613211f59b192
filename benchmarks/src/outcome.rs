//! What became of a measure. One that fails, however it does, takes nothing from the others.

use std::{
    any::Any,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Why a measure cannot be made here, which is no failure of it.
#[derive(Debug)]
pub struct Skipped(String);

impl Skipped {
    /// What a measure ends with that is skipped.
    pub fn because(reason: impl Into<String>) -> Box<dyn Error> {
        Box::new(Self(reason.into()))
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Skipped {}

/// What became of a measure.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It said its rows.
    Measured,
    /// It was not made, and why.
    Skipped(String),
    /// It was not made to its end, and why.
    Failed(String),
}

impl Outcome {
    /// Makes a measure.
    pub fn of(measure: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Self {
        // Whatever a measure changed when it panicked was its own.
        match catch_unwind(AssertUnwindSafe(measure)) {
            Ok(Ok(())) => Self::Measured,
            Ok(Err(error)) => match error.downcast::<Skipped>() {
                Ok(skipped) => Self::Skipped(skipped.0),
                Err(error) => Self::Failed(error.to_string()),
            },
            Err(panicked) => Self::Failed(said(&*panicked)),
        }
    }

    /// The line of the table for one that said no rows, or not all.
    pub fn line(&self, name: &str) -> Option<String> {
        let (word, reason) = match self {
            Self::Measured => return None,
            Self::Skipped(reason) => ("SKIPPED", reason),
            Self::Failed(reason) => ("FAILED", reason),
        };
        // A cell is one line, and ends where the next begins.
        let words: Vec<_> = reason.split_whitespace().collect();
        let reason = words.join(" ").replace('|', "/");
        Some(format!("| {name} | {word} | {reason} | | |"))
    }
}

/// What a panic said.
fn said(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panicked.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".into())
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Skipped};

    #[test]
    fn a_measure_that_fails_or_is_skipped_is_a_line() {
        assert_eq!(Outcome::of(|| Ok(())).line("append"), None);
        let failed = Outcome::of(|| Err("two | lines\n  of it".into()));
        let line = failed.line("append").expect("a line");
        assert_eq!(line, "| append | FAILED | two / lines of it | | |");
        let skipped = Outcome::of(|| Err(Skipped::because("no cluster")));
        let line = skipped.line("fluvio").expect("a line");
        assert_eq!(line, "| fluvio | SKIPPED | no cluster | | |");
    }

    #[test]
    fn a_panic_is_a_failure() {
        let rows: Vec<u64> = Vec::new();
        let panicked = Outcome::of(|| {
            let first = rows.first().expect("a row");
            Err(format!("{first} rows").into())
        });
        assert_eq!(panicked, Outcome::Failed("a row".into()));
    }
}
