//! A person change of DAGR as a record of the stream.

use chrono::{DateTime, Utc};
use domain::{id::RecipientId, person_code::PersonCode};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Json},
    record::{Record, outside_id},
    register::people,
    spread,
    vault::{Vault, VaultError},
    wire::v1::{Event, PersonChanged},
};

use super::snapshot::Snapshot;
use crate::{
    connector::Refusal,
    event::{self, Headers, Parts},
    json,
};

/// The type of a person change.
pub const PERSON_CHANGED: &str = "lv.dagr.person.changed";

/// A person change as it came. Nothing shows the attributes.
#[derive(Clone)]
pub struct PersonChange<'a> {
    headers: Headers,
    person: PersonCode,
    sequence: u64,
    /// `None` where the person has left the register.
    attributes: Option<Json<'a>>,
    /// How many lines a snapshot has, on its first; `Some(None)` where it does not say.
    snapshot: Option<Option<u64>>,
}

impl std::fmt::Debug for PersonChange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonChange").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Reads one person change.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn person_change(message: &[u8]) -> Result<PersonChange<'_>, Refusal> {
    let document = json::message(message)?;
    let (change, faults) = {
        let root = Cursor::root(&document);
        (read(&root), root.faults())
    };
    let change = change.filter(|_| faults.is_empty()).ok_or_else(|| Refusal::of(&faults))?;
    let attributes = document.into_field("data").and_then(|data| data.into_field("attributes"));
    Ok(PersonChange { attributes: attributes.filter(|of| *of != Json::Null), ..change })
}

/// All but the attributes, which are taken where they lie.
fn read(root: &Cursor<'_>) -> Option<PersonChange<'static>> {
    let Parts { headers, kind, data } = event::read(root)?;
    if kind.is_some_and(|kind| kind != PERSON_CHANGED) {
        root.fault_of(Reason::UnknownType, format!("/type: must be {PERSON_CHANGED}"));
        return None;
    }
    let extensions = root.fields()?;
    let begins = extensions.optional("snapshot").and_then(|at| at.boolean()).unwrap_or(false);
    let count = extensions.optional("snapshotcount").and_then(|at| at.integer(0, i64::MAX));
    let count = count.and_then(|count| u64::try_from(count).ok());
    let fields = data?;
    let person = fields.required("person").and_then(|at| {
        let parsed = PersonCode::parse(at.text()?);
        parsed.map_err(|error| at.fault(error.to_string())).ok()
    });
    let sequence = fields.required("sequence").and_then(|at| at.integer(0, i64::MAX));
    if !fields.has("attributes") {
        // Null removes the person; what is merely not there must not.
        fields.at().fault_of(Reason::MissingField, "attributes is missing");
    }
    if let Some(at) = fields.optional("attributes") {
        if !at.is_object() {
            at.fault_of(Reason::WrongType, "must be an object, or null for a removed person");
        } else if let Some(born) = at.fields().and_then(|of| of.optional("birth_date")) {
            born.date();
        }
    }
    fields.finish();
    Some(PersonChange {
        headers: headers?,
        person: person?,
        sequence: u64::try_from(sequence?).ok()?,
        attributes: None,
        snapshot: begins.then_some(count),
    })
}

/// Enrols the people of a batch at once, so that their keys are synced once, and seals each change.
#[must_use]
pub fn records<'a>(
    vault: &Vault,
    parsed: Vec<Result<PersonChange<'a>, Refusal>>,
    now: DateTime<Utc>,
    snapshot: &mut Snapshot,
) -> Vec<Result<Record, Refusal>> {
    let codes: Vec<PersonCode> =
        parsed.iter().flatten().map(|change| change.person.clone()).collect();
    let mut ids = match vault.enrol(&codes) {
        Ok(ids) => ids.into_iter(),
        Err(error) => {
            let refusal = Refusal::new(Reason::InvalidValue, error.to_string());
            return parsed.iter().map(|_| Err(refusal.clone())).collect();
        }
    };
    let identify = |change: Result<PersonChange<'a>, Refusal>| {
        let change = change?;
        // One id for each parsed change, in the same order.
        let id = ids.next().ok_or_else(|| Refusal::new(Reason::InvalidValue, "not enrolled"))?;
        snapshot.saw(id, change.snapshot, change.headers.time);
        Ok((id, change, snapshot.has_begun()))
    };
    let identified: Vec<_> = parsed.into_iter().map(identify).collect();
    spread::map(identified, |identified| {
        let (id, change, in_snapshot) = identified?;
        record(vault, id, change, in_snapshot, now)
    })
}

/// The record of one person's change, sealed.
fn record(
    vault: &Vault,
    id: RecipientId,
    change: PersonChange<'_>,
    in_snapshot: bool,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let sealed = change.attributes.as_ref().and_then(|attributes| {
        let event_id = &change.headers.id;
        match people::seal(vault, id, &change.person, attributes, event_id) {
            // Whoever is just being erased stays so until the code leads to nobody.
            Err(VaultError::NoKey) => None,
            sealed => Some(sealed),
        }
    });
    let refused = |error: VaultError| Refusal::new(Reason::InvalidValue, error.to_string());
    let sealed = sealed.transpose().map_err(refused)?;
    let event = Event::PersonChanged(PersonChanged {
        person: id.to_string(),
        person_sequence: change.sequence,
        removed: sealed.is_none(),
        snapshot: in_snapshot,
        sealed: sealed.unwrap_or_default(),
    });
    Ok(Record {
        id: outside_id(&change.headers.source, &change.headers.id),
        key: id.to_string(),
        source: change.headers.source,
        sequence: change.sequence,
        event_time: change.headers.time,
        recorded_at: now,
        event,
    })
}
