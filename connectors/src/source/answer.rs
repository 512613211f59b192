//! What a source sends, and what it is told of that.

use chrono::SecondsFormat;
use domain::id::RecipientId;
use ingest::register::sequences::Gap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::terminal::wire::Problem as Message;

/// An event (CloudEvents 1.0); more headers may stand in it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// `1.0`.
    #[schema(pattern = "^1\\.0$")]
    pub specversion: String,
    /// The source's own id: source and id together are an event's for ever.
    #[schema(min_length = 1, max_length = 256)]
    pub id: String,
    /// Who says it.
    #[schema(min_length = 1, max_length = 256)]
    pub source: String,
    /// `lv.dagr.person.changed`, or one of `lv.vpvkac.…` and `lv.portal.…`.
    pub r#type: String,
    /// When it happened.
    #[schema(format = DateTime)]
    pub time: String,
    /// What happened, as its type says.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// What became of the events of one request.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Told {
    /// On their streams now.
    pub(super) taken: u64,
    /// Sent before; nothing changes.
    pub(super) already_there: u64,
    /// Changes of people that are not newer than what is known: ignored.
    pub(super) older: u64,
    /// Refused, each kept as a dead letter.
    pub(super) refused: Vec<RefusedEvent>,
    /// Changes of people that have not come, as these events show; ask them of `GET /v1/events/gaps`
    /// where there are more.
    pub(super) gaps: Vec<MissingChanges>,
    /// People whom a whole snapshot removed, as they were not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) removed: Option<u64>,
}

/// An event that is not taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedEvent {
    /// Its place in the batch, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u64>,
    /// Its line in the upload, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// The source's own id of it, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// Why.
    pub(super) problem: Message,
}

/// Changes of one person that have not come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissingChanges {
    /// The person's internal id, which says nothing outside.
    pub(super) person: String,
    /// The source's own id of the event that showed it; none where it is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    /// That event's sequence.
    pub(super) sequence: u64,
    /// The first sequence that is missing.
    pub(super) missing_from: u64,
    /// The last one.
    pub(super) missing_to: u64,
    /// When it was noticed.
    pub(super) noticed_at: String,
}

/// A page of what has not come.
#[derive(Debug, Serialize, ToSchema)]
pub struct GapPage {
    /// How many gaps there are in all.
    pub(super) open: u64,
    /// The gaps, by person.
    pub(super) gaps: Vec<MissingChanges>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

impl MissingChanges {
    pub(super) fn of(person: RecipientId, gap: &Gap, event_id: Option<String>) -> Self {
        Self {
            person: person.to_string(),
            event_id,
            sequence: gap.seen,
            missing_from: gap.from,
            missing_to: gap.to,
            noticed_at: gap.noticed_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}
