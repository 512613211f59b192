//! What is wrong with a statement, before it is known in which file it stands.

use sqlparser::{parser::ParserError, tokenizer::TokenizerError};

use crate::error::PipelineError;

/// What is wrong.
#[derive(Debug)]
pub enum Fault {
    /// Not SQL.
    Parse(ParserError),
    /// Not in the dialect, or not read here; the construct, named.
    Unsupported(String),
    /// Said wrongly.
    Wrong(String),
    /// Options that the connector does not know.
    UnknownOptions { unknown: Vec<String>, known: Vec<String> },
    /// One of the above, of a table.
    Table { table: String, fault: Box<Fault> },
}

impl From<ParserError> for Fault {
    fn from(source: ParserError) -> Self {
        Self::Parse(source)
    }
}

impl From<TokenizerError> for Fault {
    fn from(source: TokenizerError) -> Self {
        Self::Parse(source.into())
    }
}

impl Fault {
    pub fn in_table(self, table: &str) -> Self {
        Self::Table { table: table.to_owned(), fault: Box::new(self) }
    }

    pub fn of(self, file: &str) -> PipelineError {
        let file = file.to_owned();
        match self {
            Self::Parse(source) => PipelineError::Parse { file, source },
            Self::Unsupported(construct) => PipelineError::Unsupported { file, construct },
            Self::Wrong(reason) => PipelineError::Definition { file, reason },
            Self::UnknownOptions { unknown, known } => {
                PipelineError::UnknownOptions { file, table: String::new(), unknown, known }
            }
            Self::Table { table, fault } => match *fault {
                Self::UnknownOptions { unknown, known } => {
                    PipelineError::UnknownOptions { file, table, unknown, known }
                }
                Self::Wrong(reason) => {
                    PipelineError::Definition { file, reason: format!("table {table}: {reason}") }
                }
                other => other.of(&file),
            },
        }
    }
}
