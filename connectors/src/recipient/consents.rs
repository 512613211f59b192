//! What a recipient agrees to: given, withdrawn, with every change.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use chrono::SecondsFormat;
use domain::id::{ConsentId, PurposeId, TextVersion};
use ingest::{
    record::{Record, outside_id},
    register::consents::{Change, Terms},
    topic::Topic,
    wire::v1::{ConsentChanged, Event},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::http::{Asking, Door, Person, USUAL, inside, own, own_page};
use crate::{
    access::Role,
    edge::page::{PageAsked, cut},
    json,
    problem::Problem,
    terminal::openapi::Refusals,
};

/// Consents of one person.
const MOST_CONSENTS: usize = 100;
/// Changes of one person's consents beyond which none is given any more; withdrawing goes on.
const MOST_CHANGES: usize = 1_000;

/// What is agreed to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentRequest {
    /// What the data is used for: an identifier.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    purpose: String,
    /// The version of the text that the person has read.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    text_version: String,
}

/// A consent as it stands, with every change.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OwnConsent {
    consent: String,
    /// What the data is used for.
    purpose: String,
    /// Whether it is given now.
    given: bool,
    /// The version of the text of the newest change.
    text_version: String,
    /// Every change, the oldest first.
    history: Vec<ConsentStep>,
}

/// A consent given or withdrawn.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ConsentStep {
    at: String,
    given: bool,
    text_version: String,
    /// The role of whoever recorded it: `recipient` for oneself.
    recorded_by: String,
}

/// A page of a recipient's consents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnConsents {
    /// By their ids.
    consents: Vec<OwnConsent>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The recipient's consents with their history.
#[utoipa::path(get, path = "/v1/me/consents", tag = "me",
    operation_id = "own_consents", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = OwnConsents), Refusals))]
pub(super) async fn list(asking: Asking<PageAsked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let all = all(&door, &person).await?;
    let by_id = |consent: &OwnConsent| consent.consent.clone();
    let (consents, next_cursor) = cut(all, &query, USUAL, by_id)?;
    let page = OwnConsents { consents, next_cursor };
    own_page(&page, page.next_cursor.as_deref())
}

/// Give a consent; given again under the same terms it stays as it is.
#[utoipa::path(put, path = "/v1/me/consents/{id}", tag = "me",
    operation_id = "give_consent", security(("token" = [])),
    params(("id" = String, Path, description = "The consent")),
    request_body = ConsentRequest,
    responses((status = 200, description = "As it stands now", body = OwnConsent), Refusals))]
pub(super) async fn give(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let person = door.person(&headers)?;
    let id = consent_id(&id)?;
    let (purpose, text_version) = terms_of(&body)?;
    let mut known = door.registers.consents().await.map_err(inside)?;
    let newest = known.consents.newest(person.id, &id);
    if let Some(Change { terms, .. }) = &newest
        && terms.purpose != purpose
    {
        let detail = "the consent is for another purpose; give this one an id of its own";
        return Err(conflict("other_purpose", detail));
    }
    let is_same = |change: &Change| change.terms.given && change.terms.text_version == text_version;
    if !newest.as_ref().is_some_and(is_same) {
        let is_more = newest.is_none() && known.consents.of(person.id).len() >= MOST_CONSENTS;
        if is_more || known.consents.changes(person.id) >= MOST_CHANGES {
            return Err(conflict(
                "too_many_consents",
                "there are too many consents of this person",
            ));
        }
        let terms = terms(purpose, true, text_version);
        let record = record(&person, &id, known.consents.changes(person.id), terms);
        door.append(&[record]).await?;
        door.tell(&person, "consent.give", "done");
        drop(known);
        known = door.registers.consents().await.map_err(inside)?;
    }
    let changes = known.consents.of(person.id).remove(&id).unwrap_or_default();
    drop(known);
    own(&OwnConsent::of(&id, &changes))
}

/// Withdraw a consent; one that is withdrawn already stays as it is.
#[utoipa::path(delete, path = "/v1/me/consents/{id}", tag = "me",
    operation_id = "withdraw_consent", security(("token" = [])),
    params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "As it stands now", body = OwnConsent), Refusals))]
pub(super) async fn withdraw(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let person = door.person(&headers)?;
    let id = consent_id(&id)?;
    let mut known = door.registers.consents().await.map_err(inside)?;
    let newest = known.consents.newest(person.id, &id).ok_or_else(unknown)?;
    if newest.terms.given {
        let Terms { purpose, text_version, .. } = newest.terms;
        let terms = terms(purpose, false, text_version);
        let record = record(&person, &id, known.consents.changes(person.id), terms);
        door.append(&[record]).await?;
        door.tell(&person, "consent.withdraw", "done");
        drop(known);
        known = door.registers.consents().await.map_err(inside)?;
    }
    let changes = known.consents.of(person.id).remove(&id).unwrap_or_default();
    drop(known);
    own(&OwnConsent::of(&id, &changes))
}

/// All consents of a person.
pub(super) async fn all(door: &Door, person: &Person) -> Result<Vec<OwnConsent>, Problem> {
    let known = door.registers.consents().await.map_err(inside)?;
    let consents = known.consents.of(person.id);
    Ok(consents.iter().map(|(id, changes)| OwnConsent::of(id, changes)).collect())
}

impl Door {
    async fn append(&self, records: &[Record]) -> Result<(), Problem> {
        let log = &self.authoriser.parts().log;
        log.append(Topic::Consents, records).await.map_err(inside)?;
        Ok(())
    }
}

impl OwnConsent {
    fn of(id: &ConsentId, changes: &[Change]) -> Self {
        let newest = changes.last().map(|change| &change.terms);
        let step = |Change { at, terms }: &Change| ConsentStep {
            at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            given: terms.given,
            text_version: terms.text_version.to_string(),
            recorded_by: terms.recorded_by.clone(),
        };
        Self {
            consent: id.to_string(),
            purpose: newest.map(|of| of.purpose.to_string()).unwrap_or_default(),
            given: newest.is_some_and(|of| of.given),
            text_version: newest.map(|of| of.text_version.to_string()).unwrap_or_default(),
            history: changes.iter().map(step).collect(),
        }
    }
}

/// What is agreed to; every fault of the body at once. Identifiers alone are taken, so nothing personal
/// comes into the stream.
fn terms_of(body: &[u8]) -> Result<(PurposeId, TextVersion), Problem> {
    json::read(body, |fields| {
        let purpose = fields.required("purpose").and_then(|at| at.id(PurposeId::new));
        let version = fields.required("text_version").and_then(|at| at.id(TextVersion::new));
        Some((purpose?, version?))
    })
}

fn record(person: &Person, id: &ConsentId, changes: usize, terms: Terms) -> Record {
    let key = person.id.to_string();
    let Terms { purpose, given, text_version, recorded_by } = terms;
    Record {
        id: outside_id("consent", &format!("{key}/{changes}/{}", person.now.timestamp_micros())),
        source: recorded_by.clone(),
        sequence: 0,
        event_time: person.now,
        recorded_at: person.now,
        event: Event::ConsentChanged(ConsentChanged {
            person: key.clone(),
            consent_id: id.to_string(),
            purpose: purpose.to_string(),
            given,
            text_version: text_version.to_string(),
            recorded_by,
        }),
        key,
    }
}

fn terms(purpose: PurposeId, given: bool, text_version: TextVersion) -> Terms {
    Terms { purpose, given, text_version, recorded_by: Role::Recipient.code().into() }
}

fn consent_id(text: &str) -> Result<ConsentId, Problem> {
    ConsentId::new(text).map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found("there is no such consent")
}

fn conflict(code: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, "Not in this state", detail)
}
