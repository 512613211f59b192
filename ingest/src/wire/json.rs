//! How fields look in JSON where that is not how they lie in the log.
//!
//! Two forms of one object: what is shown to SQL and to people leaves out what they have no use
//! for; the whole form holds every field, so that the record can be read back from it.

use std::cell::Cell;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

use crate::wire;

thread_local! {
    /// Whether the thread is writing whole objects. Serde hands a field's condition nothing but the
    /// field, and two sets of structs would drift apart.
    static WHOLE: Cell<bool> = const { Cell::new(false) };
}

/// Lets what `write` serialises on this thread hold every field.
pub(crate) fn whole<T>(write: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            WHOLE.set(self.0);
        }
    }
    let _restore = Restore(WHOLE.replace(true));
    write()
}

/// The condition of a field that only the whole form has.
pub(crate) fn hidden<T>(_field: &T) -> bool {
    !WHOLE.get()
}

/// Microseconds since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(micros: i64) -> String {
    wire::instant(micros).unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The microseconds since 1970 of an instant in RFC 3339.
pub(crate) fn micros<E: Error>(text: &str) -> Result<i64, E> {
    let instant = chrono::DateTime::parse_from_rfc3339(text).map_err(E::custom)?;
    Ok(instant.timestamp_micros())
}

/// The name by which a form that nobody reads as text knows an instant; it holds microseconds since 1970.
pub const INSTANT: &str = "instant";

/// An instant in microseconds as RFC 3339.
pub(crate) mod instant {
    use super::{Deserialize, Deserializer, INSTANT, Serializer, micros, rfc3339};

    pub(crate) fn serialize<S: Serializer>(micros: &i64, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&rfc3339(*micros))
        } else {
            to.serialize_newtype_struct(INSTANT, micros)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        micros(&String::deserialize(from)?)
    }
}

/// An instant that may be missing.
pub(crate) mod optional_instant {
    use super::{Deserialize, Deserializer, Serializer, instant, micros};

    pub(crate) fn serialize<S: Serializer>(micros: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
        match micros {
            Some(micros) => instant::serialize(micros, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| micros(&text)).transpose()
    }
}

/// Bytes as base64.
pub(crate) mod bytes {
    use super::{BASE64_STANDARD, Deserialize, Deserializer, Engine, Error, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// JSON kept as text stands as JSON in JSON. In the whole form every text comes back as it was: an
/// object or a list stands there as it is, nothing as `null`, and any other text as a string.
pub(crate) mod embedded {
    use super::{Deserialize, Deserializer, Error, RawValue, Serialize, Serializer, WHOLE};

    pub(crate) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        if !WHOLE.get() {
            return match serde_json::from_str::<serde_json::Value>(text) {
                Ok(value) => value.serialize(to),
                Err(_) => to.serialize_none(),
            };
        }
        if text.is_empty() {
            return to.serialize_none();
        }
        let nested = text.starts_with(['{', '[']) && text.ends_with(['}', ']']);
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) if nested => raw.serialize(to),
            _ => to.serialize_str(text),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        match raw.get() {
            "null" => Ok(String::new()),
            text if text.starts_with('"') => serde_json::from_str(text).map_err(D::Error::custom),
            text => Ok(text.to_owned()),
        }
    }
}
