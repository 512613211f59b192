//! Services that a centre gives, PAK_01 to PAK_10, with channel and outcome.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract::State, http::HeaderMap};

use super::{
    Door,
    describe::{CompleteRequest, KeyOfADay, StartRequest},
};
use crate::{
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
    vpvkac::{answer::VisitState, decide::Refusal, request},
};

/// A centre begins a service for somebody.
#[utoipa::path(post, path = "/v1/services:start", tag = "services",
    operation_id = "start_service", security(("token" = [])),
    request_body = StartRequest, params(KeyOfADay),
    responses((status = 200, description = "Begun; again with the same key, the same",
        body = VisitState), Refusals))]
pub(super) async fn start(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<VisitState>, Problem> {
    let asking = door.asking(&headers)?;
    let ask = request::start(&body, &asking, &door.desk.roster())?;
    let visit = door.desk.decide(move |decision| {
        let id = decision.start(&ask)?;
        decision.board().visit(id).cloned().ok_or(Refusal::NotFound)
    });
    Ok(Json(VisitState::started(&visit.await?)))
}

/// A centre has given a service, of the last day.
#[utoipa::path(post, path = "/v1/services:complete", tag = "services",
    operation_id = "complete_service", security(("token" = [])),
    request_body = CompleteRequest, params(KeyOfAnswer),
    responses((status = 200, body = VisitState), Refusals))]
pub(super) async fn complete(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<VisitState>, Problem> {
    let (_, caller) = door.caller(&headers)?;
    let centre = caller.centre()?.clone();
    let (id, outcome, call) = request::complete(&body)?;
    let visit = door.desk.decide(move |decision| {
        decision.complete(&centre, id, outcome, call)?;
        decision.board().visit(id).cloned().ok_or(Refusal::NotFound)
    });
    Ok(Json(VisitState::of(&visit.await?)))
}
