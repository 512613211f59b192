//! `/v1/means`: registered by their issuers and at service centres, blocked by whoever may, looked at
//! by token. A means' value comes in with its registration and is kept nowhere.
//!
//! An issuer has its own means. A grantor that issues means is an issuer under its own id: its staff
//! sees those, blocks and unblocks them, and registers none. Officials and centres enrol people's means
//! for an issuer, with the consent that they took, and see none. A recipient sees their own, and reports
//! them lost. Many at once come one a line, of issuers and administrators. Of another's means nobody
//! learns that it is there, but by registering the same.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use chrono::NaiveDate;
use domain::{
    id::{IssuerId, MeansToken, RecipientId},
    period::LocalTime,
};
use ingest::{
    audit::Deed,
    dead_letter::Reason,
    document::Fault,
    record::{Record, outside_id},
    register::issued::Listed,
    wire::v1::{Event, MeansChanged},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    ledger::{Kept, Ledger, PAGE, Place},
    request::{self, Changed, LARGEST_BODY, Status},
};
use crate::{
    access::{self, Identity, Role, Tokens},
    edge::page::{self, PageAsked},
    load::Context,
    precondition::tag,
    problem::Problem,
    registry::Current,
    terminal::{
        http::json,
        openapi::{IdempotencyKey, Refusals},
        pace::Pace,
        wire::Problem as Message,
    },
};

mod batch;
mod change;
mod enrol;

/// Requests of one caller a second, on and on, and at once.
const PACE: (u32, u32) = (50, 200);
/// The most means of a page, though more are asked for: each is read from the stream.
const MOST: usize = 200;
/// Batches that are read at once.
const BODIES: usize = 4;

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(enrol::register, batch::load, list, one, change, withdraw),
    tags((name = "means", description = "What shows who a recipient is"))
)]
pub struct Description;

/// What the door for means works over.
pub struct Door {
    context: Context,
    tokens: Tokens,
    registry: Current,
    holdings: Holdings,
    tell: Tell,
    ledger: Ledger,
    pace: Pace<Arc<str>>,
    /// Batches that are read at once.
    bodies: Semaphore,
}

/// The means of a person, as the node's register has them; a few may be others'.
pub type Holdings = Arc<dyn Fn(RecipientId) -> Vec<MeansToken> + Send + Sync>;
/// Where the audit trail hears of every change, and of who else than the holder looks.
pub type Tell = Arc<dyn Fn(Deed) + Send + Sync>;

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Door {
    /// The door of one node.
    #[must_use]
    pub fn new(
        context: Context,
        tokens: Tokens,
        registry: Current,
        holdings: Holdings,
        tell: Tell,
    ) -> Self {
        let ledger = Ledger::new(Arc::clone(&context.log));
        let pace = Pace::new(PACE.0, PACE.1);
        let bodies = Semaphore::new(BODIES);
        Self { context, tokens, registry, holdings, tell, ledger, pace, bodies }
    }
}

/// The routes.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/means", post(enrol::register).get(list))
        .route("/v1/means:batch", post(batch::load))
        .route("/v1/means/{token}", get(one).put(change).delete(withdraw))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(door))
}

/// A means as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeansTold {
    /// The keyed hash by which it is known; its value is kept nowhere.
    token: String,
    /// Who issued it.
    issuer: String,
    /// `card_uid`, `qr`, `barcode`, `document`, `app_token` or `bank_card`.
    kind: String,
    /// `active`, `blocked`, `lost`, `replaced` or `withdrawn`; only an active one holds.
    status: &'static str,
    /// Whether it is somebody's, or stands alone.
    held: bool,
    /// The first day on which it holds.
    valid_from: String,
    /// The last one; none for no end.
    valid_to: Option<String>,
    /// The means in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
}

/// A page of means.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeansPage {
    means: Vec<MeansTold>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl MeansTold {
    fn of(change: &MeansChanged) -> Self {
        Self {
            token: change.token.clone(),
            issuer: change.issuer_id.clone(),
            kind: change.kind.clone(),
            status: Status::of(change.blocked, &change.reason).code(),
            held: change.person.is_some(),
            valid_from: change.valid_from.clone(),
            valid_to: change.valid_to.clone(),
            replaced_by: change.replaced_by.clone(),
        }
    }
}

/// Whose means a caller may look at, and how they may change them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Caller {
    /// All of them.
    Issuer(IssuerId),
    /// Blocked and unblocked.
    Grantor(IssuerId),
    /// Reported lost.
    Holder(RecipientId),
}

impl Caller {
    fn of(identity: &Identity) -> Result<Self, Problem> {
        let nobody = |_| Problem::forbidden("the token names no issuer");
        let issuer = || IssuerId::new(&identity.organisation).map_err(nobody);
        match identity.role {
            Role::Issuer => Ok(Self::Issuer(issuer()?)),
            Role::Grantor => Ok(Self::Grantor(issuer()?)),
            Role::Recipient => RecipientId::parse(&identity.subject)
                .map(Self::Holder)
                .ok_or_else(|| Problem::forbidden("the token's subject is no recipient")),
            _ => Err(Problem::forbidden("this is for issuers, grantors and recipients")),
        }
    }

    /// Whether somebody asks for what is their own.
    const fn is_holder(&self) -> bool {
        matches!(self, Self::Holder(_))
    }

    fn has(&self, of: &Listed<'_>) -> bool {
        match self {
            Self::Issuer(issuer) | Self::Grantor(issuer) => of.issuer == issuer,
            // One that stands alone is its own recipient.
            Self::Holder(id) => {
                of.person.map_or(of.token.as_u128(), RecipientId::as_u128) == id.as_u128()
            }
        }
    }

    fn has_kept(&self, kept: &Kept) -> bool {
        let change = &kept.change;
        match self {
            Self::Issuer(issuer) | Self::Grantor(issuer) => change.issuer_id == issuer.as_str(),
            Self::Holder(id) => change.person.as_ref().unwrap_or(&change.token) == &id.to_string(),
        }
    }

    /// Whether the caller may change a means so.
    fn may(&self, wanted: &Changed) -> Result<(), Problem> {
        match self {
            Self::Issuer(_) => Ok(()),
            Self::Grantor(_) => {
                let blocks = matches!(wanted.status, Some(Status::Active | Status::Blocked));
                if blocks && !wanted.moves_days() {
                    return Ok(());
                }
                Err(Problem::forbidden("a grantor blocks and unblocks: active or blocked"))
            }
            Self::Holder(_) => {
                let lost = Changed { status: Some(Status::Lost), ..Changed::default() };
                if *wanted == lost {
                    return Ok(());
                }
                Err(Problem::forbidden(
                    "a recipient reports a means lost; its issuer does the rest",
                ))
            }
        }
    }
}

/// Which means.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only means that hold today and end before this day: whose renewal is due.
    #[param(format = Date)]
    expiring_before: Option<String>,
    /// Only those that are blocked, for whatever reason, or are not.
    blocked: Option<bool>,
}

/// One's own means, page by page. A page may be short, or empty, and yet have a next.
#[utoipa::path(
    get,
    path = "/v1/means",
    tag = "means",
    operation_id = "list_means",
    params(Listing, PageAsked),
    responses((status = 200, body = MeansPage), Refusals),
    security(("token" = []))
)]
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    Query(listing): Query<Listing>,
    Query(asked): Query<PageAsked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    let caller = Caller::of(&identity)?;
    let today = LocalTime::of(door.context.clock.now()).date;
    let before = match &listing.expiring_before {
        None => None,
        Some(text) => {
            let day = text.parse::<NaiveDate>().ok();
            Some(day.ok_or_else(|| invalid("/expiring_before", "must be a date, YYYY-MM-DD"))?)
        }
    };
    let size = asked.size(PAGE)?.min(MOST);
    let from = match &asked.cursor {
        None => Place::default(),
        Some(text) => {
            let place = Place::parse(text);
            place.ok_or_else(|| invalid("/cursor", "is none that a page said"))?
        }
    };
    let wanted = |of: &Listed<'_>| {
        let ends = |before| !of.blocked && of.to.is_some_and(|to| (today..before).contains(&to));
        caller.has(of)
            && before.is_none_or(ends)
            && listing.blocked.is_none_or(|blocked| blocked == of.blocked)
    };
    let (means, next) = match &caller {
        Caller::Issuer(_) | Caller::Grantor(_) => door.ledger.list(from, size, wanted).await?,
        Caller::Holder(id) => {
            let mut tokens = (door.holdings)(*id);
            // One that stands alone.
            tokens.push(MeansToken::from_u128(id.as_u128()));
            door.ledger.those(&tokens, from, size, wanted).await?
        }
    };
    if !caller.is_holder() {
        door.tell(&identity, "means.list", "");
    }
    let next_cursor = next.map(|next| next.to_string());
    let means = means.iter().map(|kept| MeansTold::of(&kept.change)).collect();
    let page = MeansPage { means, next_cursor };
    page::answer(&page, page.next_cursor.as_deref())
}

/// A means, by its token.
#[utoipa::path(
    get,
    path = "/v1/means/{token}",
    tag = "means",
    operation_id = "get_means",
    params(("token" = String, Path, description = "The means")),
    responses(
        (status = 200, description = "As it is now; its `ETag` is wanted by whoever changes it", body = MeansTold),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn one(
    State(door): State<Arc<Door>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    let caller = Caller::of(&identity)?;
    let token = MeansToken::parse(&token).ok_or_else(unknown)?;
    let kept = door.ledger.find(token).await?;
    let kept = kept.filter(|kept| caller.has_kept(kept)).ok_or_else(unknown)?;
    if !caller.is_holder() {
        door.tell(&identity, "means.read", &token.to_string());
    }
    told(&kept)
}

/// Register a means under its token, by its value, or change one: block or unblock it, report it lost, say
/// what replaced it, renew it.
#[utoipa::path(
    put,
    path = "/v1/means/{token}",
    tag = "means",
    operation_id = "change_means",
    params(
        ("token" = String, Path, description = "The means"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the state that is changed; none where it is registered"),
    ),
    request_body = request::MeansPut,
    responses(
        (status = 201, description = "Registered; put again, the same bytes", body = enrol::RegisteredMeans),
        (status = 200, description = "As it is now, for the next terminal that asks", body = MeansTold),
        (status = 412, description = "It has changed since", body = Message, content_type = "application/problem+json"),
        (status = 428, description = "No If-Match", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn change(
    State(door): State<Arc<Door>>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    if request::is_registration(&body) {
        return door.put(&identity, &token, &headers, &body).await;
    }
    let caller = Caller::of(&identity)?;
    let wanted = request::changed(&body)?;
    door.change(&identity, &caller, &token, &headers, wanted).await
}

/// Withdraw a means: it is blocked for ever.
#[utoipa::path(
    delete,
    path = "/v1/means/{token}",
    tag = "means",
    operation_id = "withdraw_means",
    params(
        ("token" = String, Path, description = "The means"),
        ("If-Match" = String, Header, description = "The `ETag` of the state that is changed"),
    ),
    responses(
        (status = 200, description = "Withdrawn", body = MeansTold),
        (status = 412, description = "It has changed since", body = Message, content_type = "application/problem+json"),
        (status = 428, description = "No If-Match", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn withdraw(
    State(door): State<Arc<Door>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    let caller = Caller::of(&identity)?;
    let wanted = Changed { status: Some(Status::Withdrawn), ..Changed::default() };
    door.change(&identity, &caller, &token, &headers, wanted).await
}

impl Door {
    /// Who asks, within their pace.
    fn identity(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        self.pace.take(&identity.subject, Instant::now()).map_err(Problem::too_many)?;
        Ok(identity)
    }

    /// Tells the audit trail who has done what with a means; its token says nothing by itself.
    fn tell(&self, identity: &Identity, action: &'static str, token: &str) {
        (self.tell)(Deed {
            actor: identity.subject.to_string(),
            role: identity.role.code().into(),
            action,
            object: token.to_owned(),
            outcome: "done".into(),
        });
    }

    fn record(&self, of: &str, name: &str, source: String, change: MeansChanged) -> Record {
        let now = self.context.clock.now();
        Record {
            id: outside_id(of, name),
            key: change.person.clone().unwrap_or_else(|| change.token.clone()),
            source,
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::MeansChanged(change),
        }
    }
}

fn told(kept: &Kept) -> Result<Response, Problem> {
    let mut response = json(&MeansTold::of(&kept.change))?;
    if let Ok(tag) = HeaderValue::from_str(&tag(kept.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such means")
}

fn conflict(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, "Not in this state", detail)
}

fn invalid(path: &str, message: &str) -> Problem {
    Problem::faults(&[Fault {
        reason: Reason::InvalidValue,
        path: path.into(),
        message: message.into(),
    }])
}
