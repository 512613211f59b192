//! The HTTP API of the desk: who asks, and what they may.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    routing::{get, post, put},
};
use domain::id::{CallId, CentreId, OfficialId};
use utoipa::OpenApi;

use super::{
    answer::CallState,
    call::Call,
    decide::{Party, Refusal},
    desk::{Desk, Seat},
    request::{Asking, LARGEST_BODY},
};
use crate::{
    access::{self, Identity, Role, Tokens},
    edge::{self, Answers},
    problem::Problem,
    terminal::http::idempotency_key,
};

mod calls;
mod describe;
mod officials;
mod visits;

/// The description of these routes, beside the terminals'.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        officials::list,
        officials::stand,
        officials::listen,
        calls::request,
        calls::list,
        calls::one,
        calls::accept,
        calls::decline,
        calls::connect,
        calls::end,
        calls::abandon,
        calls::hand_over,
        calls::rate,
        visits::start,
        visits::complete
    ),
    tags(
        (name = "calls", description = "From a service centre to a remote official by video"),
        (name = "officials", description = "Who can be reached"),
        (name = "services", description = "What a service centre gives")
    )
)]
pub struct Description;

/// What the routes work over.
#[derive(Debug)]
struct Door {
    desk: Desk,
    tokens: Tokens,
}

/// The routes; what begins something is known by its key on the stream, the answers of its steps are among
/// `answers`.
pub fn routes(desk: Desk, tokens: Tokens, answers: Answers) -> Router {
    let steps = Router::new()
        .route("/v1/calls/{id}/accept", post(calls::accept))
        .route("/v1/calls/{id}/decline", post(calls::decline))
        .route("/v1/calls/{id}/connect", post(calls::connect))
        .route("/v1/calls/{id}/end", post(calls::end))
        .route("/v1/calls/{id}/abandon", post(calls::abandon))
        .route("/v1/calls/{id}/hand-over", post(calls::hand_over))
        .route("/v1/calls/{id}/rating", post(calls::rate))
        .route("/v1/services:complete", post(visits::complete));
    edge::keyed(steps, tokens.clone(), answers)
        .route("/v1/officials", get(officials::list))
        .route("/v1/officials/board", get(officials::listen))
        .route("/v1/officials/{id}/availability", put(officials::stand))
        .route("/v1/calls", get(calls::list).post(calls::request))
        .route("/v1/calls/{id}", get(calls::one))
        .route("/v1/services:start", post(visits::start))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(Door { desk, tokens }))
}

/// Somebody who has to do with calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Caller {
    Centre(CentreId),
    Official(OfficialId),
    /// Who runs or watches the platform.
    Watcher,
}

impl Caller {
    fn party(&self) -> Result<Party, Problem> {
        match self {
            Self::Centre(centre) => Ok(Party::Centre(centre.clone())),
            Self::Official(official) => Ok(Party::Official(official.clone())),
            Self::Watcher => Err(Problem::forbidden("this is for the call's centre and official")),
        }
    }

    fn centre(&self) -> Result<&CentreId, Problem> {
        match self {
            Self::Centre(centre) => Ok(centre),
            _ => Err(Problem::forbidden("this is for service centres")),
        }
    }

    fn official(&self) -> Result<&OfficialId, Problem> {
        match self {
            Self::Official(official) => Ok(official),
            _ => Err(Problem::forbidden("this is for officials")),
        }
    }
}

impl Door {
    /// Who asks, of those who have to do with calls.
    fn caller(&self, headers: &HeaderMap) -> Result<(Identity, Caller), Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        let roster = self.desk.roster();
        let caller = match identity.role {
            Role::Centre => {
                let centre = CentreId::new(&identity.organisation).ok();
                let centre = centre.filter(|centre| roster.has_centre(centre.as_str()));
                centre.map(Caller::Centre).ok_or("the token's organisation is no service centre")
            }
            Role::Official => {
                let official = roster.official(&identity.subject);
                let official = official.map(|official| Caller::Official(official.id.clone()));
                official.ok_or("the token's subject is no official of the registry")
            }
            Role::Operator | Role::Administrator => Ok(Caller::Watcher),
            _ => Err("this is for service centres, officials and operators"),
        };
        Ok((identity, caller.map_err(Problem::forbidden)?))
    }

    /// The centre that asks, and under which key.
    fn asking(&self, headers: &HeaderMap) -> Result<Asking, Problem> {
        let (identity, caller) = self.caller(headers)?;
        let centre = caller.centre()?.clone();
        let specialist = self.desk.staff(&identity.subject);
        Ok(Asking { centre, specialist: Some(specialist), key: idempotency_key(headers)? })
    }

    /// A call as its caller sees it: where they meet only for those whose it is.
    fn shown(&self, caller: &Caller, id: CallId) -> Result<CallState, Problem> {
        let (roster, rules) = (self.desk.roster(), self.desk.rules());
        let board = self.desk.board();
        let call = board.call(id).ok_or(Refusal::NotFound)?;
        let state = || CallState::of(call).with_wait(call, &board, &roster, rules);
        match caller {
            Caller::Watcher => Ok(state()),
            Caller::Centre(_) | Caller::Official(_) => {
                let seat = seat(caller, call).ok_or(Refusal::NotFound)?;
                Ok(state().with_address(call, self.desk.address(call, seat)))
            }
        }
    }
}

/// Where a caller sits in a call; nowhere in another's.
fn seat(caller: &Caller, call: &Call) -> Option<Seat> {
    let seat = if matches!(caller, Caller::Centre(_)) { Seat::Moderator } else { Seat::Guest };
    caller.party().is_ok_and(|party| party.has(call)).then_some(seat)
}

fn call_id(text: &str) -> Result<CallId, Problem> {
    CallId::parse(text).ok_or_else(|| Refusal::NotFound.into())
}
