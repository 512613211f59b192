//! Calls: asked for, taken, connected, ended, handed over, rated; and watched.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use domain::id::CallId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Caller, Door, call_id,
    describe::{CallRequest, EndRequest, HandOverRequest, KeyOfADay, RatingRequest},
};
use crate::{
    edge::page::{self, PageAsked},
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
    vpvkac::{
        answer::{CallPage, CallState, Requested},
        call::{Call, Stage},
        decide::{Decision, Refusal},
        desk::Seat,
        request,
    },
};

/// Calls of a page, unless asked otherwise.
const PAGE: usize = 200;
/// The most calls that are looked through for a page.
const LOOKED_THROUGH: usize = 20_000;

/// A centre asks for an official.
///
/// Of the free officials of the institution who consult on the service in the language the one free
/// for the longest is offered the call; where none is free it waits, the first first. With
/// `official` that one is asked, and waited for while at work.
#[utoipa::path(post, path = "/v1/calls", tag = "calls",
    operation_id = "request_call", security(("token" = [])),
    request_body = CallRequest, params(KeyOfADay),
    responses(
        (status = 200, description = "Offered, or waiting; again with the same key, the same",
            body = Requested),
        Refusals))]
pub(super) async fn request(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Requested>, Problem> {
    let asking = door.asking(&headers)?;
    let ask = request::call(&body, &asking, &door.desk.roster())?;
    let call = door
        .desk
        .decide(move |decision| {
            let id = decision.request(&ask)?;
            decided(decision, id)
        })
        .await?;
    let address = door.desk.address(&call, Seat::Moderator);
    Ok(Json(Requested::of(&call, address)))
}

fn decided(decision: &Decision<'_>, id: CallId) -> Result<Call, Refusal> {
    decision.board().call(id).cloned().ok_or(Refusal::NotFound)
}

/// Which calls.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// `open`, or one of `waiting`, `offered`, `accepted`, `connected`, `ended`, `abandoned`.
    state: Option<String>,
    /// From this centre.
    centre: Option<String>,
    /// To this institution.
    institution: Option<String>,
    /// About this service.
    service: Option<String>,
}

impl Listing {
    fn has(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        let state = match self.state.as_deref() {
            Some("open") => call.stage.is_open(),
            _ => is(&self.state, call.stage.code()),
        };
        state
            && is(&self.centre, call.centre.as_str())
            && is(&self.institution, call.matter.institution.as_str())
            && is(&self.service, call.matter.service.as_str())
    }
}

/// The calls of the last day, the newest first: a centre its own, an official those to the own
/// institution, operators all. A page may be empty and yet have a next.
#[utoipa::path(get, path = "/v1/calls", tag = "calls",
    operation_id = "list_calls", security(("token" = [])),
    params(Listing, PageAsked), responses((status = 200, body = CallPage), Refusals))]
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    Query(listing): Query<Listing>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let state = listing.state.as_deref();
    if state.is_some_and(|state| state != "open" && Stage::parse(state).is_none()) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_value",
            "The request is not valid",
            "state is none that calls have",
        ));
    }
    let size = asked.size(PAGE)?;
    let before = asked.cursor.as_deref().map(call_id).transpose()?;
    let roster = door.desk.roster();
    let institution = match &caller {
        Caller::Official(official) => roster.official(official.as_str()),
        _ => None,
    };
    let institution = institution.map(|official| official.institution.clone());
    let sees = |call: &Call| match &caller {
        Caller::Centre(centre) => call.centre == *centre,
        Caller::Official(_) => institution.as_ref() == Some(&call.matter.institution),
        Caller::Watcher => true,
    };
    let board = door.desk.board();
    let (mut calls, mut looked, mut next) = (Vec::new(), 0, None);
    for call in board.calls_before(before) {
        if calls.len() == size || looked == LOOKED_THROUGH {
            break;
        }
        looked += 1;
        next = Some(call.id);
        if sees(call) && listing.has(call) {
            calls.push(CallState::of(call));
        }
    }
    let more = next.is_some_and(|last| board.calls_before(Some(last)).next().is_some());
    let next_cursor = next.filter(|_| more).map(|id| id.to_string());
    let page = CallPage { calls, next_cursor };
    page::answer(&page, page.next_cursor.as_deref())
}

/// A call as it stands: for its centre, its official, and operators.
#[utoipa::path(get, path = "/v1/calls/{id}", tag = "calls",
    operation_id = "get_call", security(("token" = [])),
    params(("id" = String, Path, description = "The call")),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn one(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    Ok(Json(door.shown(&caller, call_id(&id)?)?))
}

/// The official takes the call that is offered.
#[utoipa::path(post, path = "/v1/calls/{id}/accept", tag = "calls",
    operation_id = "accept_call", security(("token" = [])),
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn accept(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (official, id) = (caller.official()?.clone(), call_id(&id)?);
    door.desk.decide(move |decision| decision.accept(&official, id)).await?;
    Ok(Json(door.shown(&caller, id)?))
}

/// The official does not take it, and is away until saying otherwise. The call goes to the next.
#[utoipa::path(post, path = "/v1/calls/{id}/decline", tag = "calls",
    operation_id = "decline_call", security(("token" = [])),
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 204, description = "Declined"), Refusals))]
pub(super) async fn decline(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (official, id) = (caller.official()?.clone(), call_id(&id)?);
    door.desk.decide(move |decision| decision.decline(&official, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// They see each other: said by the centre or by the official.
#[utoipa::path(post, path = "/v1/calls/{id}/connect", tag = "calls",
    operation_id = "connect_call", security(("token" = [])),
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn connect(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (party, id) = (caller.party()?, call_id(&id)?);
    door.desk.decide(move |decision| decision.connect(&party, id)).await?;
    Ok(Json(door.shown(&caller, id)?))
}

/// It is over: said by the centre or by the official, with whether the client was helped.
#[utoipa::path(post, path = "/v1/calls/{id}/end", tag = "calls",
    operation_id = "end_call", security(("token" = [])),
    request_body = Option<EndRequest>,
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn end(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (party, id) = (caller.party()?, call_id(&id)?);
    let resolved = request::end(&body)?;
    door.desk.decide(move |decision| decision.end(&party, id, resolved)).await?;
    Ok(Json(door.shown(&caller, id)?))
}

/// The client leaves before the talk.
#[utoipa::path(post, path = "/v1/calls/{id}/abandon", tag = "calls",
    operation_id = "abandon_call", security(("token" = [])),
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn abandon(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (centre, id) = (caller.centre()?.clone(), call_id(&id)?);
    door.desk.decide(move |decision| decision.abandon(&centre, id)).await?;
    Ok(Json(door.shown(&caller, id)?))
}

/// The call goes on with another official, service or institution: said by its official, or by the
/// centre's specialist as moderator.
///
/// This call ends, and the one answered goes on in the same room and keeps its place among those
/// who wait. What is not said stays as it is.
#[utoipa::path(post, path = "/v1/calls/{id}/hand-over", tag = "calls",
    operation_id = "hand_over_call", security(("token" = [])),
    request_body = HandOverRequest,
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, description = "The call that goes on", body = Requested), Refusals))]
pub(super) async fn hand_over(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Requested>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (party, id) = (caller.party()?, call_id(&id)?);
    let over = request::hand_over(&body, &door.desk.roster())?;
    let next = door
        .desk
        .decide(move |decision| {
            let mandate = over.mandate.clone();
            let next = decision.hand_over(&party, id, |call| over.of(call), mandate)?;
            decided(decision, next)
        })
        .await?;
    let seat = if matches!(caller, Caller::Centre(_)) { Seat::Moderator } else { Seat::Guest };
    let address = door.desk.address(&next, seat);
    Ok(Json(Requested::of(&next, address)))
}

/// The client's rating, once, within an hour and a half.
#[utoipa::path(post, path = "/v1/calls/{id}/rating", tag = "calls",
    operation_id = "rate_call", security(("token" = [])),
    request_body = RatingRequest,
    params(("id" = String, Path, description = "The call"), KeyOfAnswer),
    responses((status = 200, body = CallState), Refusals))]
pub(super) async fn rate(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<CallState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let (centre, id) = (caller.centre()?.clone(), call_id(&id)?);
    let (rating, resolved) = request::rating(&body)?;
    door.desk.decide(move |decision| decision.rate(&centre, id, rating, resolved)).await?;
    Ok(Json(door.shown(&caller, id)?))
}
