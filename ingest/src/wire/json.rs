//! How fields look in JSON where that is not how they lie in the log.

use serde::{Serialize, Serializer};

use crate::wire;

/// Microseconds since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(micros: i64) -> String {
    wire::instant(micros).unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// An instant in microseconds as RFC 3339.
pub(crate) fn instant<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*micros))
}

/// An instant that may be missing.
pub(crate) fn optional_instant<S: Serializer>(
    micros: &Option<i64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match micros {
        Some(micros) => instant(micros, serializer),
        None => serializer.serialize_none(),
    }
}

/// JSON kept as text stands as JSON in JSON.
pub(crate) fn embedded_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_none(),
    }
}
