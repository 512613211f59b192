//! Why a value is none of its column, and where it stands.

use std::fmt::{Display, Formatter, Result as Formatted};

use arrow::error::ArrowError;

/// A value that its column does not take.
#[derive(Debug)]
pub struct Fault {
    /// The names of the fields around it, the innermost first.
    fields: Vec<String>,
    text: String,
}

impl Fault {
    pub const fn new(text: String) -> Self {
        Self { fields: Vec::new(), text }
    }

    /// A column that holds something else.
    pub fn not(column: &str, told: &str) -> Self {
        Self::new(format!("{told} is no {column}"))
    }

    /// The same, in a field of an object.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        for (at, field) in self.fields.iter().rev().enumerate() {
            write!(f, "{}{field}", if at > 0 { "." } else { "" })?;
        }
        let colon = if self.fields.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.text)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Fault> for ArrowError {
    fn from(fault: Fault) -> Self {
        Self::JsonError(fault.to_string())
    }
}
