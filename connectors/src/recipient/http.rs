//! The recipients' HTTP API, `/v1/me/…`: `contracts.md` section 4.

use std::{fmt, sync::Arc, time::Instant};

use authoriser::{refresh::read, service::Handle};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Query},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{delete, get, put},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{id::RecipientId, period::LocalTime, recipient::Recipient};
use ingest::audit::Deed;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use utoipa::OpenApi;

use super::{
    benefits, consents, export, means, names::Names, notifications, panels, registers::Registers,
    transactions,
};
use crate::{
    access::{self, Role, Tokens},
    edge::page,
    portal::panels::PanelBook,
    problem::Problem,
    registry::Current,
    terminal::{http::json, pace::Pace},
};

/// Requests of one recipient a second, on and on.
const PER_SECOND: u32 = 10;
/// Requests of one recipient at once.
const AT_ONCE: u32 = 60;
/// Exports that are made at once; others wait.
const EXPORTS: usize = 2;
/// Entries of a page, unless asked otherwise.
pub(super) const USUAL: usize = 100;
/// The largest body, in bytes.
const LARGEST_BODY: usize = 4 << 10;

/// The description of these routes, beside the terminals'.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        benefits::list,
        means::list,
        transactions::list,
        notifications::list,
        consents::list,
        consents::give,
        consents::withdraw,
        panels::list,
        panels::dismiss,
        export::whole
    ),
    tags((name = "me", description = "What a recipient can get, has used and has agreed to"))
)]
pub struct Description;

/// Where the audit trail hears of an export, and of what somebody changes.
pub type Tell = Arc<dyn Fn(Deed) + Send + Sync>;

/// What the routes of recipients work over.
#[derive(Clone)]
pub struct Door {
    /// Asks the authoriser.
    pub(super) authoriser: Handle,
    pub(super) registers: Arc<Registers>,
    pub(super) panels: PanelBook,
    /// Exports that may begin now.
    pub(super) exports: Arc<Semaphore>,
    tokens: Tokens,
    pace: Arc<Pace<RecipientId>>,
    tell: Tell,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("authoriser", &self.authoriser).finish_non_exhaustive()
    }
}

/// Who asks, and when.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) id: RecipientId,
    /// As of now; none for one who has died.
    pub(super) recipient: Option<Recipient>,
    pub(super) now: DateTime<Utc>,
    /// The local day.
    pub(super) day: NaiveDate,
}

/// Somebody who asks for what is their own, or for as much of it as a query says.
pub(super) struct Asking<Q> {
    pub(super) door: Arc<Door>,
    pub(super) person: Person,
    pub(super) query: Q,
}

impl<Q: DeserializeOwned + Send> FromRequestParts<Arc<Door>> for Asking<Q> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Response> {
        let query = Query::<Q>::from_request_parts(parts, door).await;
        let Query(query) = query.map_err(IntoResponse::into_response)?;
        let person = door.person(&parts.headers).map_err(IntoResponse::into_response)?;
        Ok(Self { door: Arc::clone(door), person, query })
    }
}

impl Door {
    /// The routes' parts of one node; `tell` hears of exports and changes.
    #[must_use]
    pub fn new(
        authoriser: Handle,
        tokens: Tokens,
        registry: Current,
        panels: PanelBook,
        tell: Tell,
    ) -> Self {
        let log = Arc::clone(&authoriser.parts().log);
        let registers = Arc::new(Registers::over(log, registry));
        Self {
            authoriser,
            registers,
            panels,
            exports: Arc::new(Semaphore::new(EXPORTS)),
            tokens,
            pace: Arc::new(Pace::new(PER_SECOND, AT_ONCE)),
            tell,
        }
    }

    /// The person whom the token names. One who was erased, or never enrolled, does not exist.
    pub(super) fn person(&self, headers: &HeaderMap) -> Result<Person, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        if identity.role != Role::Recipient {
            return Err(Problem::forbidden("this is for recipients"));
        }
        let unknown = || Problem::not_found("there is no such recipient");
        let id = RecipientId::parse(&identity.subject).ok_or_else(unknown)?;
        self.pace.take(&id, Instant::now()).map_err(Problem::too_many)?;
        let parts = self.authoriser.parts();
        if parts.vault.is_erased(id) {
            return Err(unknown());
        }
        let now = parts.clock.now();
        let day = LocalTime::of(now).date;
        let recipient = read(self.authoriser.people()).person(id, now, day).recipient;
        Ok(Person { id, recipient, now, day })
    }

    /// The registry's names as of now.
    pub(super) async fn names(&self) -> Result<Arc<Names>, Problem> {
        self.registers.names().await.map_err(inside)
    }

    /// Tells the audit trail what a person had done.
    pub(super) fn tell(&self, person: &Person, action: &'static str, outcome: &str) {
        (self.tell)(Deed {
            actor: person.id.to_string(),
            role: Role::Recipient.code().into(),
            action,
            object: person.id.to_string(),
            outcome: outcome.into(),
        });
    }
}

/// The routes of recipients.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/me/benefits", get(benefits::list))
        .route("/v1/me/means", get(means::list))
        .route("/v1/me/transactions", get(transactions::list))
        .route("/v1/me/notifications", get(notifications::list))
        .route("/v1/me/consents", get(consents::list))
        .route("/v1/me/consents/{id}", put(consents::give).delete(consents::withdraw))
        .route("/v1/me/panels", get(panels::list))
        .route("/v1/me/panels/{panel}", delete(panels::dismiss))
        .route("/v1/me/export", get(export::whole))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(door))
}

/// An answer about one person, which nobody between keeps.
pub(super) fn own(message: &impl Serialize) -> Result<Response, Problem> {
    let mut response = json(message)?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A page of an answer about one person, which leads on to the next one.
pub(super) fn own_page(page: &impl Serialize, next: Option<&str>) -> Result<Response, Problem> {
    Ok(page::leading_on(own(page)?, next))
}

/// What went wrong inside: the log says it, the caller is told to ask again.
pub(super) fn inside(error: impl fmt::Display) -> Problem {
    tracing::error!(%error, "a recipient's request failed inside");
    Problem::unavailable("the node's log says why")
}
