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
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use utoipa::OpenApi;
use warehouse::{access::View, settlement::bank};

use crate::{audit::Auditor, failure::Failure, gate, node::Node};

mod bank_files;
pub mod dead_letters;
mod groups;
pub mod landing;
pub mod persons;
pub mod proofs;
mod reports;
pub mod settlements;
pub mod streams;
mod trail;

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
        bank_files::read,
        proofs::books,
        proofs::stores,
        landing::list,
        persons::export
    ),
    tags(
        (name = "reports", description = "What was given, to whom and where"),
        (name = "settlements", description = "What grantors owe merchants"),
        (name = "persons", description = "What is held of somebody, told and forgotten")
    )
)]
pub struct Description;

/// The description of the routes for whoever runs the platform.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        dead_letters::list,
        dead_letters::replay,
        dead_letters::drop,
        streams::list,
        streams::records,
        trail::verify,
        persons::erase
    ),
    tags((name = "operation", description = "What the streams hold, and what was refused"))
)]
pub struct OperationDescription;

/// What the routes work over.
#[derive(Clone)]
pub struct Pulling {
    /// The node that is asked.
    pub node: Arc<Node>,
    /// By which whoever asks is known.
    pub tokens: Tokens,
    /// Hears who asked for what.
    pub auditor: Auditor,
    /// Who is forgotten leaves the registers by it.
    pub registrar: Registrar,
    /// Where reports are computed: on threads that nobody at a till waits for.
    pub answering: Handle,
}

impl Pulling {
    /// The routes over tables.
    pub fn tables(self) -> Router {
        let routes = Router::new()
            .route("/v1/groups/{id}/members:count", get(groups::count))
            .route("/v1/settlements", get(settlements::list).post(settlements::close))
            .route("/v1/settlements/{id}", get(settlements::one))
            .route("/v1/settlements/{id}/files/{form}", get(settlements::file))
            .route("/v1/settlements:sent", post(settlements::sent))
            .route("/v1/bank-files", get(bank_files::all).post(bank_files::read))
            .route("/v1/settlements:check", get(proofs::books))
            .route("/v1/verification", get(proofs::stores))
            .route("/v1/pipelines", get(landing::list))
            .route("/v1/persons:export", post(persons::export));
        self.serve(routes)
    }

    /// The routes of reports, which end with whoever asks for one.
    pub fn reports(self) -> Router {
        let routes = Router::new()
            .route("/v1/reports", get(reports::all))
            .route("/v1/reports/{name}", get(reports::one));
        self.serve(routes)
    }

    /// The routes for whoever runs the platform, over the streams and the keys.
    pub fn operation(self) -> Router {
        let routes = Router::new()
            .route("/v1/dead-letters", get(dead_letters::list))
            .route("/v1/dead-letters:replay", post(dead_letters::replay))
            .route("/v1/dead-letters:drop", post(dead_letters::drop))
            .route("/v1/streams", get(streams::list))
            .route("/v1/streams/{stream}/records", get(streams::records));
        self.serve(routes)
    }

    /// The routes for whoever runs the platform that read whole streams before they answer.
    pub fn whole_streams(self) -> Router {
        let routes = Router::new()
            .route("/v1/audit:verify", post(trail::verify))
            .route("/v1/persons:erase", post(persons::erase));
        self.serve(routes)
    }

    fn serve(self, routes: Router<Self>) -> Router {
        routes.layer(DefaultBodyLimit::max(bank::LARGEST)).with_state(self)
    }

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

    /// Whoever watches the platform or runs it.
    fn watcher(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        match identity.role {
            Role::Operator | Role::Administrator => Ok(identity),
            _ => Err(Problem::forbidden("this is for operators")),
        }
    }

    /// Whoever may see what is known of people.
    fn administrator(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        match identity.role {
            Role::Administrator => Ok(identity),
            _ => Err(Problem::forbidden("this is for administrators")),
        }
    }
}

/// Whoever asks for what reads whole streams: one at a time.
static READING: Semaphore = Semaphore::const_new(1);
/// After how many seconds somebody else may ask.
const READ_AGAIN: u32 = 10;

/// The turn to read whole streams.
fn reading() -> Result<SemaphorePermit<'static>, Problem> {
    READING.try_acquire().map_err(|_| {
        let detail = "somebody else has the streams read to their ends now: ask again later";
        Problem::unavailable(detail).again_in(READ_AGAIN)
    })
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
