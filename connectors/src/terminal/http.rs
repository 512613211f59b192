//! The terminals' HTTP API: `contracts.md` section 4.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::{command::Refusal, history::History, reply::Reply, service::Handle};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use domain::id::{AuthorisationId, IdempotencyKey, TerminalId};
use ingest::{
    audit::Deed,
    log::Log,
    traces::{self, Step},
    vault::Vault,
};
use serde::Serialize;

use super::{
    admission::{Admission, Admitted},
    answer::{self, Explain},
    batch,
    kit::{self, Kits},
    pace::Pace,
    request::{self, LARGEST_BODY},
    wire::{Authorisation, Problem as Message, Reversed},
};
use crate::{
    access::{self, Identity, Role, Tokens},
    metrics::Metrics,
    problem::Problem,
};

/// What is configured of the doors for terminals.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests of one terminal a second, on and on.
    pub per_second: u32,
    /// Requests of one terminal at once.
    pub at_once: u32,
    /// Requests of all terminals that are decided at once, at the most.
    pub decided_at_once: usize,
    /// What an offline terminal may give to one card on one day.
    pub caps: kit::Caps,
    /// How long lines of an upload wait until they are taken and decided.
    pub patience: Duration,
}

/// How long lines of an upload wait, unless it is said: as long as a basket.
pub const PATIENCE: Duration = Duration::from_secs(15);

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_second: 50,
            at_once: 200,
            decided_at_once: 4_096,
            caps: kit::Caps::default(),
            patience: PATIENCE,
        }
    }
}

/// Where the audit trail hears of who looks up somebody's authorisation.
pub type Tell = Arc<dyn Fn(Deed) + Send + Sync>;

/// What the doors for terminals work over.
#[derive(Clone)]
pub struct Door {
    /// Asks the authoriser.
    pub authoriser: Handle,
    /// The streams, for uploads and dead letters.
    pub log: Arc<dyn Log>,
    /// For the keyed hashes of means.
    pub vault: Vault,
    /// Whose tokens hold.
    pub tokens: Tokens,
    /// What operators see.
    pub metrics: Metrics,
    /// What they see of the streams: dead letters.
    pub streams: ingest::metrics::Metrics,
    /// What offline terminals need.
    pub kits: Arc<Kits>,
    pace: Arc<Pace<TerminalId>>,
    pub(super) patience: Duration,
    pub(super) admission: Arc<Admission>,
    tell: Tell,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("authoriser", &self.authoriser).finish_non_exhaustive()
    }
}

impl Door {
    /// The doors of one node; called on the runtime that serves them.
    #[must_use]
    pub fn new(
        authoriser: Handle,
        vault: Vault,
        tokens: Tokens,
        metrics: Metrics,
        streams: ingest::metrics::Metrics,
        settings: Settings,
    ) -> Self {
        let log = Arc::clone(&authoriser.parts().log);
        let pace = Arc::new(Pace::new(settings.per_second, settings.at_once));
        let kits = Arc::new(Kits::new(&authoriser, &vault, settings.caps));
        let admission = Admission::new(settings.decided_at_once);
        let (decides, told) = (authoriser.clone(), metrics.clone());
        let (write, tell) = (move || decides.write(), move |limit| told.may_be_decided(limit));
        tokio::spawn(Admission::follow(Arc::downgrade(&admission), write, tell));
        let (patience, tell): (_, Tell) = (settings.patience, Arc::new(|_| ()));
        Self {
            authoriser,
            log,
            vault,
            tokens,
            metrics,
            streams,
            kits,
            pace,
            patience,
            admission,
            tell,
        }
    }

    /// The same, with an audit trail that hears who else than its terminal looks up an authorisation.
    #[must_use]
    pub fn audited(self, tell: Tell) -> Self {
        Self { tell, ..self }
    }

    /// Lets in what is to be decided, if there is room.
    fn admit(&self) -> Result<Admitted, Problem> {
        self.admission.enter().ok_or_else(|| Refusal::Busy.into())
    }

    /// The terminal that a token names, within its pace.
    pub(super) fn terminal(&self, identity: &Identity) -> Result<TerminalId, Problem> {
        if identity.role != Role::Terminal {
            return Err(Problem::forbidden("this is for terminals"));
        }
        let terminal = TerminalId::new(&identity.subject)
            .map_err(|_| Problem::forbidden("the token's subject is no terminal"))?;
        self.pace.take(&terminal, Instant::now()).map_err(Problem::too_many)?;
        Ok(terminal)
    }

    /// The history of an authorisation, for whom it exists; to a grantor its own part of it. A terminal
    /// looks within its pace, and of who else does the audit trail hears, by whichever door.
    pub(super) async fn look_up(
        &self,
        identity: &Identity,
        id: AuthorisationId,
    ) -> Result<History, Problem> {
        if identity.role == Role::Terminal {
            self.terminal(identity)?;
        }
        let history = self.authoriser.look_up(id).await?;
        let decided = &history.decided;
        let own = match identity.role {
            Role::Terminal => {
                decided.terminal_id == *identity.subject
                    || (!identity.organisation.is_empty()
                        && decided.merchant_id == *identity.organisation)
            }
            Role::Merchant => decided.merchant_id == *identity.organisation,
            Role::Grantor => {
                // An instruction that nobody knows is no grantor's, nor that of nobody in particular.
                let own = |of: &str| !of.is_empty() && of == &*identity.organisation;
                let mut given = decided.lines.iter().flat_map(|line| &line.benefits);
                // Of an excess that it bears the instruction may be none that came into question.
                decided.instructions.iter().any(|outcome| own(&outcome.grantor_id))
                    || given.any(|benefit| own(&benefit.grantor_id))
            }
            Role::Recipient => decided.recipient_id.as_deref() == Some(&*identity.subject),
            _ => false,
        };
        if !own {
            return Err(Refusal::NotFound.into());
        }
        // A recipient sees what is their own, and a terminal what it did itself.
        if matches!(identity.role, Role::Merchant | Role::Grantor) {
            (self.tell)(Deed {
                actor: identity.subject.to_string(),
                role: identity.role.code().into(),
                action: "authorisation.read",
                object: id.to_string(),
                outcome: "done".into(),
            });
        }
        match identity.role {
            Role::Grantor => Ok(answer::part_of(&history, &identity.organisation)),
            _ => Ok(history),
        }
    }
}

/// The routes of terminals.
pub fn routes(door: Door) -> Router {
    let door = Arc::new(door);
    Router::new()
        .route("/v1/authorisations", post(authorise))
        .route("/v1/authorisations/{id}", get(look_up))
        .route("/v1/authorisations/{id}/capture", post(capture))
        .route("/v1/authorisations/{id}/void", post(void))
        .route("/v1/authorisations/{id}/refunds", post(refund))
        .route("/v1/reversals", post(reverse))
        .route("/v1/terminals/{id}/offline-kit", get(kit::offline_kit))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&door), turn_away))
        .route("/v1/transactions:batch", post(batch::upload).layer(DefaultBodyLimit::disable()))
        .with_state(door)
}

/// Where nobody is let in, nobody's body is read either: to turn somebody away has to be cheap.
async fn turn_away(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() == Method::POST && door.admission.is_full() {
        return Err(Refusal::Busy.into());
    }
    Ok(next.run(request).await)
}

/// Decide a basket: reserve, or sell at once.
#[utoipa::path(
    post,
    path = "/v1/authorisations",
    tag = "authorisations",
    request_body = super::openapi::AuthorisationRequest,
    params(super::openapi::IdempotencyKey),
    responses(
        (status = 200, description = "Decided; again with the same key, the same bytes", body = Authorisation),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn authorise(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked = Asked::now("POST /v1/authorisations", &headers);
    let terminal = door.terminal(&access::identity(&door.tokens, &headers)?)?;
    let key = idempotency_key(&headers)?;
    let basket = request::authorise(&body, key, &door.vault)?;
    own(&terminal, &basket.request.terminal)?;
    let _admitted = door.admit()?;
    asked.told(&door.authoriser.authorise(basket.request, basket.body).await?)
}

/// A reservation made final, whole.
#[utoipa::path(
    post,
    path = "/v1/authorisations/{id}/capture",
    tag = "authorisations",
    request_body = Option<super::openapi::CaptureRequest>,
    params(("id" = String, Path, description = "The authorisation"), super::openapi::IdempotencyKey),
    responses(
        (status = 200, description = "Captured", body = Authorisation),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn capture(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked = Asked::now("POST /v1/authorisations/{id}/capture", &headers);
    let (terminal, key, id) = door.changing(&headers, &id)?;
    let change = request::capture(&body, id, terminal, key)?;
    let _admitted = door.admit()?;
    asked.told(&door.authoriser.change(change).await?)
}

/// A reservation cancelled before capture.
#[utoipa::path(
    post,
    path = "/v1/authorisations/{id}/void",
    tag = "authorisations",
    params(("id" = String, Path, description = "The authorisation"), super::openapi::IdempotencyKey),
    responses(
        (status = 200, description = "Voided", body = Authorisation),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn void(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked = Asked::now("POST /v1/authorisations/{id}/void", &headers);
    let (terminal, key, id) = door.changing(&headers, &id)?;
    let change = request::void(&body, id, terminal, key)?;
    let _admitted = door.admit()?;
    asked.told(&door.authoriser.change(change).await?)
}

/// Some of it, or the rest, comes back after capture.
#[utoipa::path(
    post,
    path = "/v1/authorisations/{id}/refunds",
    tag = "authorisations",
    request_body = super::openapi::RefundRequest,
    params(("id" = String, Path, description = "The authorisation"), super::openapi::IdempotencyKey),
    responses(
        (status = 200, description = "Refunded; the last of `refunds` is this one", body = Authorisation),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn refund(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked = Asked::now("POST /v1/authorisations/{id}/refunds", &headers);
    let (terminal, key, id) = door.changing(&headers, &id)?;
    let change = request::refund(&body, id, terminal, key)?;
    let _admitted = door.admit()?;
    asked.told(&door.authoriser.change(change).await?)
}

/// Undo by its key what a terminal never heard the outcome of; nothing came, so the key is blocked.
#[utoipa::path(
    post,
    path = "/v1/reversals",
    tag = "authorisations",
    request_body = super::openapi::ReversalRequest,
    params(super::openapi::IdempotencyKey),
    responses(
        (status = 200, description = "Undone, or blocked", body = Reversed),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn reverse(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let terminal = door.terminal(&access::identity(&door.tokens, &headers)?)?;
    let key = idempotency_key(&headers)?;
    let (caller, undone) = request::reversal(&body, key)?;
    own(&terminal, &caller.terminal)?;
    let _admitted = door.admit()?;
    let reply = door.authoriser.reverse(caller, undone.clone()).await?;
    json(&answer::reversed(&reply, terminal.as_str(), undone.as_str()))
}

/// Where an authorisation stands.
#[utoipa::path(
    get,
    path = "/v1/authorisations/{id}",
    tag = "authorisations",
    operation_id = "get_authorisation",
    params(
        ("id" = String, Path, description = "The authorisation"),
        ("explain" = Option<String>, Query, description = "`full`: why each instruction applied or not; for a grantor its own, for a recipient all"),
    ),
    responses(
        (status = 200, description = "As it stands now", body = Authorisation),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn look_up(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    let full =
        query.as_deref().is_some_and(|query| query.split('&').any(|of| of == "explain=full"));
    let id = authorisation_id(&id)?;
    let history = door.look_up(&identity, id).await?;
    let explain = match identity.role {
        Role::Grantor if full => Explain::OfGrantor(&identity.organisation),
        Role::Recipient if full => Explain::All,
        _ if full => {
            return Err(Problem::forbidden("explain=full is for grantors and recipients"));
        }
        _ => Explain::Applied,
    };
    json(&answer::authorisation(&history, explain))
}

impl Door {
    fn changing(
        &self,
        headers: &HeaderMap,
        id: &str,
    ) -> Result<(TerminalId, IdempotencyKey, AuthorisationId), Problem> {
        let terminal = self.terminal(&access::identity(&self.tokens, headers)?)?;
        Ok((terminal, idempotency_key(headers)?, authorisation_id(id)?))
    }
}

fn authorisation_id(text: &str) -> Result<AuthorisationId, Problem> {
    AuthorisationId::parse(text).ok_or_else(|| Refusal::NotFound.into())
}

/// A terminal speaks for itself only.
pub(super) fn own(terminal: &TerminalId, named: &TerminalId) -> Result<(), Problem> {
    if terminal == named {
        return Ok(());
    }
    Err(Problem::forbidden("/terminal_id is not the terminal of the token"))
}

/// The header of whoever asks so that it may be asked again.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The `Idempotency-Key` header, bare or as a quoted string.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let value =
        headers.get(IDEMPOTENCY_KEY).ok_or_else(|| no_key("send an Idempotency-Key header"))?;
    let text = value.to_str().map_err(|_| no_key("the key must be ASCII"))?;
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    usable_key(bare)
}

/// A key as whoever asks says it.
pub(super) fn usable_key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::new(text).map_err(|error| no_key(&format!("the key {error}")))
}

fn no_key(detail: &str) -> Problem {
    let (status, title) = (StatusCode::BAD_REQUEST, "No usable Idempotency-Key");
    Problem::new(status, "idempotency_key", title, detail)
}

/// A request that is on its way.
struct Asked<'a> {
    route: &'static str,
    since: Instant,
    headers: &'a HeaderMap,
}

impl<'a> Asked<'a> {
    fn now(route: &'static str, headers: &'a HeaderMap) -> Self {
        Self { route, since: Instant::now(), headers }
    }

    /// The answer, of which the authorisation's trace is told.
    fn told(&self, reply: &Reply) -> Result<Response, Problem> {
        let Reply::Authorisation(history) = reply else { return Err(Refusal::KeyReused.into()) };
        if let Some(trace) = traces::of(&history.decided.authorisation_id) {
            let caller = self.headers.get(traces::CALLER).and_then(|caller| caller.to_str().ok());
            trace.tell(Step::answered(self.route, self.since.elapsed(), caller));
        }
        json(&answer::authorisation(history, Explain::Applied))
    }
}

pub(crate) fn json(message: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(message).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", "")
    })?;
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// Refusals whose body is a problem.
impl From<Problem> for Message {
    fn from(problem: Problem) -> Self {
        problem.message().clone()
    }
}
