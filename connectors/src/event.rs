//! CloudEvents 1.0, as DAGR, the centres and the portal send them.

use chrono::{DateTime, Utc};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
};

use crate::{connector::Refusal, json};

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

/// The events of one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// What every type begins with.
    pub(crate) prefix: &'static str,
    /// Each type's last words.
    pub(crate) names: &'static [&'static str],
    /// The fault of an event of another type.
    pub(crate) anothers: &'static str,
}

impl Source {
    /// An event's headers, and what `made` makes of its data and its type's last words.
    ///
    /// # Errors
    /// Every fault of the message, with the JSON pointer of each.
    pub(crate) fn read<T>(
        &self,
        message: &[u8],
        made: impl FnOnce(&Fields<'_>, Option<&str>) -> T,
    ) -> Result<(Headers, T), Refusal> {
        let document = json::message(message)?;
        let root = Cursor::root(&document);
        let read = read(&root).and_then(|Parts { headers, kind, data }| {
            let name = kind.and_then(|kind| kind.strip_prefix(self.prefix));
            if kind.is_some() && name.is_none_or(|name| !self.names.contains(&name)) {
                root.fault_of(Reason::UnknownType, self.anothers);
            }
            let fields = data?;
            let made = made(&fields, name);
            fields.finish();
            Some((headers?, made))
        });
        let faults = root.faults();
        read.filter(|_| faults.is_empty()).ok_or_else(|| Refusal::of(&faults))
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
