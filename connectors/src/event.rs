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

/// The headers and the data of an event; faults are noted where something is missing. Extensions
/// are allowed by the specification and passed over.
#[must_use]
pub fn read<'a>(event: &Cursor<'a>) -> Option<(Headers, Cursor<'a>)> {
    let fields = event.fields()?;
    fields.required("specversion").and_then(|at| at.word(&[("1.0", ())]));
    let text =
        |name| fields.required(name).and_then(|at| at.short_text(LONGEST)).map(str::to_owned);
    let (id, source, kind) = (text("id"), text("source"), text("type"));
    let time = fields.required("time").and_then(|at| at.instant());
    let data = fields.required("data");
    Some((Headers { id: id?, source: source?, kind: kind?, time: time? }, data?))
}

/// An optional instant of an event's data, in microseconds.
#[must_use]
pub fn instant(fields: &Fields<'_>, name: &'static str) -> Option<i64> {
    fields.optional(name).and_then(|at| at.instant()).map(|at| at.timestamp_micros())
}
