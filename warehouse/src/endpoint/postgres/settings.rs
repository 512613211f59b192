//! What `SHOW`, `SET` and `current_setting` know: as PostgreSQL has it, where clients look at it.

use std::{collections::HashMap, time::Duration};

/// The version that clients see: they choose their questions by it.
pub(crate) const VERSION: &str = "16.6";
const VERSION_NUMBER: &str = "160006";
/// What `version()` says.
pub(crate) const VERSION_TEXT: &str =
    concat!("PostgreSQL 16.6 (AVIS ", env!("CARGO_PKG_VERSION"), ")");

/// Settings that a connection may change, and what they are at its start.
const CHANGING: [(&str, &str); 8] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("datestyle", "ISO, MDY"),
    ("extra_float_digits", "1"),
    ("intervalstyle", "postgres"),
    ("search_path", "public"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
];

/// A setting that never changes, or what one that may is at the start.
pub(crate) fn fixed(name: &str) -> Option<&'static str> {
    let changing = CHANGING.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    changing.or(match name {
        "server_version" => Some(VERSION),
        "server_version_num" => Some(VERSION_NUMBER),
        // Text goes out in one encoding, whatever a client would like.
        "server_encoding" | "client_encoding" => Some("UTF8"),
        "standard_conforming_strings"
        | "integer_datetimes"
        | "transaction_read_only"
        | "default_transaction_read_only" => Some("on"),
        "is_superuser" | "in_hot_standby" => Some("off"),
        "transaction_isolation" | "transaction_isolation_level" => Some("repeatable read"),
        "default_transaction_isolation" => Some("repeatable read"),
        "max_identifier_length" => Some("63"),
        "max_index_keys" => Some("32"),
        "lc_collate" | "lc_ctype" | "lc_messages" | "lc_monetary" | "lc_numeric" => Some("C"),
        "session_authorization" => Some("default"),
        "wal_level" => Some("replica"),
        "block_size" => Some("8192"),
        _ => None,
    })
}

/// The settings of one connection.
#[derive(Debug, Default)]
pub(super) struct Settings {
    changed: HashMap<String, String>,
}

impl Settings {
    /// Sets what may be set; anything else is taken and means nothing, as clients expect.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if CHANGING.iter().any(|(known, _)| *known == name) {
            if value.eq_ignore_ascii_case("default") {
                self.changed.remove(name);
            } else {
                self.changed.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// What a setting is.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        // `SHOW TIME ZONE` has two words.
        let name = if name == "time_zone" { "timezone" } else { name };
        self.changed.get(name).map(String::as_str).or_else(|| fixed(name))
    }

    /// Forgets what was set.
    pub(super) fn reset(&mut self) {
        self.changed.clear();
    }

    /// How long the client lets a statement run, where it says so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let text = self.get("statement_timeout")?;
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit()).trim();
        let number: u64 = digits.parse().ok()?;
        let milliseconds = match unit {
            "" | "ms" => number,
            "s" => number.checked_mul(1_000)?,
            "min" => number.checked_mul(60_000)?,
            "h" => number.checked_mul(3_600_000)?,
            _ => return None,
        };
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }
}

/// How PostgreSQL writes a name that it tells a client of by itself when it changes.
pub(super) fn told(name: &str) -> Option<&'static str> {
    match name {
        "application_name" => Some("application_name"),
        "client_encoding" => Some("client_encoding"),
        "datestyle" => Some("DateStyle"),
        "intervalstyle" => Some("IntervalStyle"),
        "timezone" => Some("TimeZone"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sets_what_is_its_own() {
        let mut settings = Settings::default();
        settings.set("statement_timeout", "2s");
        settings.set("server_version", "9");
        assert_eq!(settings.timeout(), Some(Duration::from_secs(2)));
        assert_eq!(settings.get("server_version"), Some(VERSION));
        settings.set("statement_timeout", "0");
        assert_eq!(settings.timeout(), None);
        settings.set("timezone", "Europe/Riga");
        assert_eq!(settings.get("time_zone"), Some("Europe/Riga"));
        settings.reset();
        assert_eq!(settings.get("timezone"), Some("UTC"));
        assert_eq!(settings.get("shared_buffers"), None);
    }
}
