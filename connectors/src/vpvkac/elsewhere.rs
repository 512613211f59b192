//! The routes of a node that does not have the desk: whoever asks is told so, and nothing is decided.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{any, get},
};

use crate::{
    access::{self, Tokens},
    problem::Problem,
};

/// After how many seconds it may be asked again: until callers are led elsewhere, it is as it is.
const AGAIN: u32 = 60;

/// The routes of [`http`](super::http), all of which answer 503.
pub fn routes(tokens: Tokens) -> Router {
    let all = [
        "/v1/officials/board",
        "/v1/officials/{id}/availability",
        "/v1/calls",
        "/v1/calls/{id}",
        "/v1/calls/{id}/{step}",
        "/v1/services:start",
        "/v1/services:complete",
    ];
    let routes = Router::new().route("/v1/officials", get(no_desk));
    all.into_iter().fold(routes, |routes, path| routes.route(path, any(no_desk))).with_state(tokens)
}

async fn no_desk(State(tokens): State<Tokens>, headers: HeaderMap) -> Result<Response, Problem> {
    access::identity(&tokens, &headers)?;
    let detail =
        "this node gives no calls: of the nodes over these streams another one has the desk";
    let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "The desk is elsewhere");
    Err(Problem::new(status, "no_desk", title, detail).again_in(AGAIN))
}
