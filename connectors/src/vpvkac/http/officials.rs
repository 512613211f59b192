//! Who can be reached: as a list, and live.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use domain::{call_event::Availability, service_centre::Official};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Caller, Door, describe::AvailabilityRequest};
use crate::{
    edge::page::{self, PageAsked},
    problem::Problem,
    terminal::openapi::Refusals,
    vpvkac::{
        answer::{BoardState, OfficialPage, OfficialState},
        decide::Refusal,
        request,
    },
};

/// Officials of a page, unless asked otherwise.
const PAGE: usize = 200;

/// Which officials.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Of this institution.
    institution: Option<String>,
    /// Who consult on this service.
    service: Option<String>,
    /// Who speak this language.
    language: Option<String>,
}

impl Listing {
    fn has(&self, official: &Official) -> bool {
        self.institution.as_deref().is_none_or(|it| official.institution.as_str() == it)
            && self
                .service
                .as_deref()
                .is_none_or(|it| official.services.iter().any(|service| service.as_str() == it))
            && self.language.as_ref().is_none_or(|it| official.languages.contains(it))
    }
}

/// The officials of the registry and whether they can be reached.
#[utoipa::path(get, path = "/v1/officials", tag = "officials",
    operation_id = "list_officials", security(("token" = [])),
    params(Listing, PageAsked), responses((status = 200, body = OfficialPage), Refusals))]
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    Query(listing): Query<Listing>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    door.caller(&headers)?;
    let size = asked.size(PAGE)?;
    let roster = door.desk.roster();
    let board = door.desk.board();
    let mut found =
        roster.officials_after(asked.cursor.as_deref()).filter(|official| listing.has(official));
    let page: Vec<&Official> = found.by_ref().take(size).collect();
    let more = found.next().is_some();
    let last = page.last().map(|official| official.id.to_string());
    let officials = page.into_iter().map(|official| OfficialState::of(official, &board)).collect();
    let page = OfficialPage { officials, next_cursor: last.filter(|_| more) };
    page::answer(&page, page.next_cursor.as_deref())
}

/// An official can be reached, or not. In a call is who has one: that nobody says.
///
/// For the official; an operator may set somebody `offline`. Who goes while a call is offered gives
/// it back.
#[utoipa::path(put, path = "/v1/officials/{id}/availability", tag = "officials",
    operation_id = "put_availability",
    security(("token" = [])), request_body = AvailabilityRequest,
    params(("id" = String, Path, description = "The official")),
    responses((status = 200, body = OfficialState), Refusals))]
pub(super) async fn stand(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<OfficialState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    match &caller {
        Caller::Official(own) if own.as_str() == id => {}
        Caller::Official(_) => return Err(Refusal::NoOfficial.into()),
        Caller::Watcher => {}
        Caller::Centre(_) => return Err(Problem::forbidden("this is for officials")),
    }
    let availability = request::availability(&body)?;
    if caller == Caller::Watcher && availability != Availability::Offline {
        return Err(Problem::forbidden("an operator sets offline only"));
    }
    let official = door.desk.roster().official(&id).cloned().ok_or(Refusal::NoOfficial)?;
    let of = official.id.clone();
    door.desk.decide(move |decision| decision.stand(&of, availability)).await?;
    let state = OfficialState::of(&official, &door.desk.board());
    Ok(Json(state))
}

/// The board, live, as server-sent events.
///
/// First a `snapshot` of all officials and open calls, then `changes`: those that are other than
/// before, as they are now. Each has an id; with the last one in `Last-Event-ID` what was missed is
/// told, or the snapshot where that is not known any more. Who reads too slowly is cut off.
#[utoipa::path(get, path = "/v1/officials/board", tag = "officials",
    operation_id = "listen_to_board", security(("token" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The last message taken")),
    responses(
        (status = 200, description = "The data of each message is a board state",
            content((BoardState = "text/event-stream"))),
        Refusals))]
pub(super) async fn listen(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    door.caller(&headers)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let roster = door.desk.roster();
    let messages = door.desk.live().listen(last, &door.desk.board(), &roster);
    let messages = messages.ok_or_else(|| Problem::unavailable("too many listen to the board"))?;
    let mut response = Response::new(Body::from_stream(messages));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that gathers answers would make it no live one.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
