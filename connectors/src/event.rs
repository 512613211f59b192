//! CloudEvents 1.0, as DAGR, the centres and the portal send them.

use chrono::{DateTime, Utc};
use ingest::document::{Cursor, Fields};

/// The longest text of a header, in bytes.
const LONGEST: usize = 256;

/// The headers of a CloudEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The source's own id; source and id together are unique.
    pub id: String,
    /// Who sends.
    pub source: String,
    /// What kind of event it is.
    pub kind: String,
    /// When it happened.
    pub time: DateTime<Utc>,
}

/// What can be read of an event: its data is, whatever is wrong with its headers, so that every fault is
/// told at once.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Its headers, where each is there and right.
    pub headers: Option<Headers>,
    /// Its type, where that can be read.
    pub kind: Option<&'a str>,
    /// Its data.
    pub data: Option<Fields<'a>>,
}

impl Parts<'_> {
    /// Whether its type is another source's: a source's own are its prefix and one of its names.
    #[must_use]
    pub fn is_anothers(&self, prefix: &str, names: &[&str]) -> bool {
        let own = |kind: &str| kind.strip_prefix(prefix).is_some_and(|name| names.contains(&name));
        self.kind.is_some_and(|kind| !own(kind))
    }
}

/// The parts of an event; faults are noted where something is missing. Extensions are allowed by the
/// specification and passed over.
#[must_use]
pub fn read<'a>(event: &Cursor<'a>) -> Option<Parts<'a>> {
    let fields = event.fields()?;
    fields.required("specversion").and_then(|at| at.word(&[("1.0", ())]));
    let text = |name| fields.required(name).and_then(|at| at.short_text(LONGEST));
    let (id, source, kind) = (text("id"), text("source"), text("type"));
    let time = fields.required("time").and_then(|at| at.instant());
    let data = fields.required("data").and_then(|at| at.fields());
    let headers = || {
        let (id, source, kind) = (id?.to_owned(), source?.to_owned(), kind?.to_owned());
        Some(Headers { id, source, kind, time: time? })
    };
    Some(Parts { headers: headers(), kind, data })
}

/// An optional instant of an event's data, in microseconds.
#[must_use]
pub fn instant(fields: &Fields<'_>, name: &'static str) -> Option<i64> {
    fields.optional(name).and_then(|at| at.instant()).map(|at| at.timestamp_micros())
}
