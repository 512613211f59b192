//! A line of a list of members as a record of the stream.

use chrono::{DateTime, Days, Utc};
use domain::id::{GroupId, MeansToken};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    record::{Record, outside_id},
    register::memberships::Listed,
    wire::v1::{Event, MembershipChanged},
};

use super::MembershipLists;
use crate::{
    connector::Refusal,
    issuer, json,
    terminal::basket::{means_kind, means_value},
};

/// Translates one line: `group`, `person` or `means`, `from` and `to`, the last day.
///
/// # Errors
/// Every fault of the line, with the JSON pointer of each.
pub fn member(
    message: &[u8],
    lists: &MembershipLists,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let document = json::message(message)?;
    let root = Cursor::root(&document);
    let change = root.fields().and_then(|fields| {
        let change = read(&fields, lists);
        fields.finish();
        change
    });
    let faults = root.faults();
    let change = change.filter(|_| faults.is_empty()).ok_or_else(|| Refusal::of(&faults))?;
    Ok(record(change, now))
}

/// The record of a membership, told at an instant.
pub(super) fn record(change: MembershipChanged, now: DateTime<Utc>) -> Record {
    let days = format!("{}/{:?}/{}", change.from, change.until, change.removed);
    Record {
        id: outside_id(&change.member(), &format!("{days}/{}", now.timestamp_micros())),
        key: change.member(),
        source: change.group_id.clone(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event: Event::MembershipChanged(change),
    }
}

fn read(fields: &Fields<'_>, lists: &MembershipLists) -> Option<MembershipChanged> {
    let group = group(fields, lists);
    let person = fields.optional("person").map(|at| issuer::translate::holder(&at, &lists.vault));
    let means = fields.optional("means").map(|at| token(&at, lists));
    let from = fields.required("from").and_then(|at| at.date());
    let to = fields.optional("to").map(|at| (at.date(), at));
    let who = match (person, means) {
        (Some(person), None) => person.map(Listed::Person),
        (None, Some(token)) => token.map(Listed::Means),
        (Some(_), Some(_)) => {
            fields.at().fault("has both person and means");
            None
        }
        (None, None) => {
            fields.at().fault_of(Reason::MissingField, "has neither person nor means");
            None
        }
    };
    let until = match to {
        None => None,
        Some((to, at)) => {
            let to = to?;
            if from.is_some_and(|from| to < from) {
                at.fault("ends before it begins");
            }
            Some(to.checked_add_days(Days::new(1))?.to_string())
        }
    };
    let (person, token) = match who? {
        Listed::Person(person) => (Some(person.to_string()), None),
        Listed::Means(token) => (None, Some(token.to_string())),
    };
    let (group_id, from) = (group?.to_string(), from?.to_string());
    Some(MembershipChanged { group_id, person, token, from, until, removed: false })
}

/// The group, which a line need not say where all of them are about one.
fn group(fields: &Fields<'_>, lists: &MembershipLists) -> Option<GroupId> {
    let at = match (fields.optional("group"), &lists.only) {
        (None, Some(only)) => return Some(only.clone()),
        (None, None) => fields.required("group")?,
        (Some(at), _) => at,
    };
    let group = at.id(GroupId::new)?;
    if lists.only.as_ref().is_some_and(|only| *only != group) {
        at.fault("is another group than the one that is asked for");
    } else if !lists.groups.contains(&group) {
        at.fault_of(Reason::UnknownReference, "no group of the registry that is a list");
    }
    Some(group)
}

/// A means by its token, or by its kind and value, of which the token is made.
fn token(at: &Cursor<'_>, lists: &MembershipLists) -> Option<MeansToken> {
    if at.is_object() {
        let fields = at.fields()?;
        let kind = fields.required("kind").and_then(|at| means_kind(&at));
        let value = fields.required("value").and_then(|at| means_value(&at));
        fields.finish();
        return Some(lists.vault.means_token(kind?, value?));
    }
    at.parsed("a means' token, or its kind and value", MeansToken::parse)
}
