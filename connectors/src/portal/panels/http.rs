//! A merchant's application puts items into its clients' workspaces, and takes them away.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    routing::put,
};
use domain::{
    id::{EServiceId, LONGEST, MeansToken, PanelId, RecipientId},
    registry::Kind,
};
use ingest::{audit::Deed, vault::Vault};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    PanelBook, Put,
    request::{self, Client, LARGEST_BODY, PanelRequest},
};
use crate::{
    access::{self, Identity, Role, Tokens},
    problem::Problem,
    registry::{
        registrar::{Registrar, none},
        rights,
    },
    terminal::{openapi::Refusals, pace::Pace},
};

/// Requests of one merchant a second, on and on, and at once.
const PACE: (u32, u32) = (50, 200);

/// Whose a means is, as the node's register has it.
pub type Holder = Arc<dyn Fn(MeansToken) -> Option<RecipientId> + Send + Sync>;
/// Where the audit trail hears of every item.
pub type Tell = Arc<dyn Fn(Deed) + Send + Sync>;

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(paths(put_panel, withdraw_panel))]
pub struct Description;

/// What the routes work over.
pub struct Door {
    book: PanelBook,
    registrar: Registrar,
    tokens: Tokens,
    vault: Vault,
    holder: Holder,
    tell: Tell,
    pace: Pace<Arc<str>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("book", &self.book).finish_non_exhaustive()
    }
}

impl Door {
    /// The door of one node; `tell` hears of every item.
    #[must_use]
    pub fn new(
        book: PanelBook,
        registrar: Registrar,
        tokens: Tokens,
        vault: Vault,
        holder: Holder,
        tell: Tell,
    ) -> Self {
        let pace = Pace::new(PACE.0, PACE.1);
        Self { book, registrar, tokens, vault, holder, tell, pace }
    }

    /// The merchant who asks, and their e-service and item of it.
    async fn own(
        &self,
        headers: &HeaderMap,
        e_service: &str,
        panel: &str,
    ) -> Result<(Identity, EServiceId, PanelId), Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        if identity.role != Role::Merchant {
            return Err(Problem::forbidden("this is for merchants"));
        }
        self.pace.take(&identity.organisation, Instant::now()).map_err(Problem::too_many)?;
        let unknown = || none(Kind::EService, e_service);
        let id = EServiceId::new(e_service).map_err(|_| unknown())?;
        let now = self.registrar.now().await?;
        let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
        let entry = find(Kind::EService, e_service);
        if !entry.is_some_and(|of| rights::is_own(&identity, Kind::EService, of, &find)) {
            return Err(unknown());
        }
        if panel.is_empty() || panel.len() > LONGEST {
            return Err(Problem::invalid(format!("an item's name has 1 to {LONGEST} bytes")));
        }
        let panel = self.book.id(&id, panel);
        Ok((identity, id, panel))
    }

    fn tell(&self, identity: &Identity, action: &'static str, e_service: &EServiceId, id: PanelId) {
        (self.tell)(Deed {
            actor: identity.subject.to_string(),
            role: identity.role.code().into(),
            action,
            object: format!("{e_service}/{id}"),
            outcome: "done".into(),
        });
    }

    /// Whoever is named, if they are known here and were not forgotten.
    fn known(&self, client: Client) -> Option<RecipientId> {
        let person = match client {
            Client::Person(person) => person,
            Client::Means(token) => (self.holder)(token),
        };
        person.filter(|person| !self.vault.is_erased(*person))
    }
}

/// The routes.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/e-services/{id}/panels/{panel}", put(put_panel).delete(withdraw_panel))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(door))
}

/// An item that was taken.
#[derive(Debug, Serialize, ToSchema)]
struct PanelTaken {
    /// By which its client knows it.
    panel: String,
    /// The last day on which it is shown.
    until: String,
}

/// Put an item into a client's workspace, under a name of the merchant's own; again, it is changed.
///
/// The client sees it at `/v1/me/panels`. Whether whoever is named is known here is not told. What is put
/// again unchanged stays put away where the client has done so; changed, it is shown anew. Of one e-service
/// a client sees the newest twenty items.
#[utoipa::path(put, path = "/v1/e-services/{id}/panels/{panel}", tag = "portal",
    operation_id = "put_panel", security(("token" = [])),
    params(("id" = String, Path, description = "The merchant's own e-service"),
        ("panel" = String, Path, description = "The merchant's name for the item")),
    request_body = PanelRequest,
    responses((status = 200, description = "It is shown to whom it is for", body = PanelTaken), Refusals))]
async fn put_panel(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    Path((e_service, panel)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<PanelTaken>, Problem> {
    let (identity, e_service, id) = door.own(&headers, &e_service, &panel).await?;
    let put_at = door.registrar.instant().timestamp_micros();
    let asked = request::panel(&body, &door.vault, door.book.today(), put_at)?;
    let person = door.known(asked.client);
    let request::Asked { saying, until, request_hash, .. } = asked;
    let put = Put { id, e_service, person, saying, until, request_hash };
    if door.book.put(&put).await? {
        door.tell(&identity, "panel.put", &put.e_service, id);
    }
    Ok(Json(PanelTaken { panel: id.to_string(), until: until.to_string() }))
}

/// Take an item out of its client's workspace, if it is there.
#[utoipa::path(delete, path = "/v1/e-services/{id}/panels/{panel}", tag = "portal",
    operation_id = "withdraw_panel", security(("token" = [])),
    params(("id" = String, Path, description = "The merchant's own e-service"),
        ("panel" = String, Path, description = "The merchant's name for the item")),
    responses((status = 204, description = "It is not there"), Refusals))]
async fn withdraw_panel(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    Path((e_service, panel)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (identity, e_service, id) = door.own(&headers, &e_service, &panel).await?;
    if door.book.withdraw(id, &e_service).await? {
        door.tell(&identity, "panel.withdraw", &e_service, id);
    }
    Ok(StatusCode::NO_CONTENT)
}
