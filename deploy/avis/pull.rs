//! What people and their tools pull over HTTP: reports and settlements, each role its own; and what
//! finance does with a period while the node runs.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    routing::{get, post},
};
use connectors::{
    access::{self, Identity, Role, Tokens},
    problem::Problem,
    registry::registrar::Registrar,
};
use ingest::audit::Deed;
use utoipa::OpenApi;
use warehouse::{access::View, settlement::bank};

use crate::{audit::Auditor, failure::Failure, gate, node::Node};

mod bank_files;
pub mod dead_letters;
mod groups;
mod reports;
pub mod settlements;

/// The description of these routes, beside the terminals'.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        groups::count,
        reports::all,
        reports::one,
        settlements::list,
        settlements::close,
        settlements::one,
        settlements::file,
        settlements::sent,
        bank_files::all,
        bank_files::read
    ),
    tags(
        (name = "reports", description = "What was given, to whom and where"),
        (name = "settlements", description = "What grantors owe merchants")
    )
)]
pub struct Description;

/// The description of the routes that deal with what was refused.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(dead_letters::list, dead_letters::replay, dead_letters::drop),
    tags((name = "operation", description = "What was refused, and what is done about it"))
)]
pub struct RefusedDescription;

/// What the routes work over.
#[derive(Clone)]
struct Pulling {
    node: Arc<Node>,
    tokens: Tokens,
    auditor: Auditor,
    registrar: Registrar,
}

/// The routes over tables.
pub fn routes(node: &Arc<Node>, tokens: Tokens, auditor: Auditor, registrar: Registrar) -> Router {
    let pulling = Pulling { node: Arc::clone(node), tokens, auditor, registrar };
    Router::new()
        .route("/v1/groups/{id}/members:count", get(groups::count))
        .route("/v1/reports", get(reports::all))
        .route("/v1/reports/{name}", get(reports::one))
        .route("/v1/settlements", get(settlements::list).post(settlements::close))
        .route("/v1/settlements/{id}", get(settlements::one))
        .route("/v1/settlements/{id}/files/{form}", get(settlements::file))
        .route("/v1/settlements:sent", post(settlements::sent))
        .route("/v1/bank-files", get(bank_files::all).post(bank_files::read))
        .layer(DefaultBodyLimit::max(bank::LARGEST))
        .with_state(pulling)
}

/// The routes over what was refused.
pub fn refused(node: &Arc<Node>, tokens: Tokens, auditor: Auditor, registrar: Registrar) -> Router {
    let pulling = Pulling { node: Arc::clone(node), tokens, auditor, registrar };
    Router::new()
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters:replay", post(dead_letters::replay))
        .route("/v1/dead-letters:drop", post(dead_letters::drop))
        .layer(DefaultBodyLimit::max(bank::LARGEST))
        .with_state(pulling)
}

impl Pulling {
    /// Who asks, and what they see; that they asked stands in the audit trail.
    fn reader(
        &self,
        headers: &HeaderMap,
        action: &'static str,
        object: &str,
    ) -> Result<View, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        let view = gate::view(identity.role, &identity.organisation).map_err(Problem::forbidden)?;
        self.auditor.tell(deed(&identity, action, object));
        Ok(view)
    }

    /// Refuses whoever does not pay.
    fn finance(
        &self,
        headers: &HeaderMap,
        action: &'static str,
        object: &str,
    ) -> Result<(), Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        match identity.role {
            Role::Finance | Role::Administrator => {
                self.auditor.tell(deed(&identity, action, object));
                Ok(())
            }
            _ => Err(Problem::forbidden("this is for finance")),
        }
    }
}

fn deed(identity: &Identity, action: &'static str, object: &str) -> Deed {
    Deed {
        actor: identity.subject.to_string(),
        role: identity.role.code().into(),
        action,
        object: object.to_owned(),
        outcome: "begun".into(),
    }
}

fn inside(error: impl Into<Failure>) -> Problem {
    let error: Failure = error.into();
    tracing::error!(%error, "a request failed inside");
    Problem::unavailable("the node's log says why")
}

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
