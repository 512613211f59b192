//! Failures as PostgreSQL's clients know them: five characters that say of which class, and a text.

use arrow::error::ArrowError;
use datafusion::{common::SchemaError, error::DataFusionError};
use pgwire::error::{ErrorInfo, PgWireError};

use crate::{
    endpoint::{running::Stopped, statement::Refused},
    error::WarehouseError,
};

/// A failure of a class.
pub(super) fn failure(code: &str, text: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), text.into())))
}

/// A failure that ends the connection.
pub(super) fn fatal(code: &str, text: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), code.into(), text.into())))
}

pub(super) fn refused(refused: Refused) -> PgWireError {
    failure(refused.code, refused.text)
}

pub(super) fn stopped(stopped: &Stopped) -> PgWireError {
    match stopped {
        Stopped::Failed(error) => failed(error),
        Stopped::TimedOut(_) | Stopped::Cancelled => failure("57014", stopped.to_string()),
        Stopped::TooMany(_) => failure("54000", stopped.to_string()),
    }
}

pub(super) fn warehouse(error: &WarehouseError) -> PgWireError {
    match error {
        WarehouseError::Query(error) => failed(error),
        other => {
            tracing::warn!(error = %other, "a query failed inside");
            failure("XX000", "the query failed inside; the node's log says why")
        }
    }
}

/// What the engine says, as PostgreSQL would.
pub(super) fn failed(error: &DataFusionError) -> PgWireError {
    let text = error.strip_backtrace();
    let code = code(error.find_root(), &text);
    if code == "XX000" {
        // It may name files of ours.
        tracing::warn!(error = %text, "a query failed inside");
        return failure(code, "the query failed inside; the node's log says why");
    }
    failure(code, text)
}

fn code(error: &DataFusionError, text: &str) -> &'static str {
    match error {
        DataFusionError::SQL(..) => "42601",
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            _ => "42P10",
        },
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "22012",
            ArrowError::ArithmeticOverflow(_) => "22003",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "22P02",
            _ => "22000",
        },
        DataFusionError::Plan(_) | DataFusionError::Diagnostic(..) => planned(text),
        DataFusionError::Execution(_) => "22000",
        DataFusionError::Configuration(_) => "42704",
        _ if text.contains("Error during planning") => planned(text),
        _ => "XX000",
    }
}

fn planned(text: &str) -> &'static str {
    let says = |words: &str| text.contains(words);
    if says("table '") && says("not found") {
        "42P01"
    } else if says("Invalid function") || says("No function matches") {
        "42883"
    } else if says("not supported") || says("not allowed") {
        "0A000"
    } else if says("GROUP BY") || says("aggregate") {
        "42803"
    } else {
        "42000"
    }
}
