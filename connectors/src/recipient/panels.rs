//! What merchants' applications show a recipient: the items of the client's workspace.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use chrono::{DateTime, SecondsFormat};
use domain::id::PanelId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    http::{Asking, Door, Person, USUAL, own_page},
    names::{Named, Names},
};
use crate::{
    edge::page::{PageAsked, cut},
    portal::panels::{PanelState, Shown},
    problem::Problem,
    terminal::{openapi::Refusals, wire::Text},
};

/// An item that a merchant's application shows its client.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OwnPanel {
    /// By which it is put away.
    panel: String,
    /// The merchant's e-service.
    e_service: Named,
    merchant: Named,
    title: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    state: PanelState,
    /// By when something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    /// The last day on which it is shown.
    until: String,
    /// When the merchant said so.
    put_at: String,
    #[serde(skip)]
    offset: u64,
}

/// A page of a recipient's items.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnPanels {
    /// The newest first.
    panels: Vec<OwnPanel>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What merchants' applications show the recipient, of each e-service the newest twenty.
#[utoipa::path(get, path = "/v1/me/panels", tag = "me",
    operation_id = "own_panels", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = OwnPanels), Refusals))]
pub(super) async fn list(asking: Asking<PageAsked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let names = door.names().await?;
    let all = all(&door, &person, &names).await?;
    let newest_first = |panel: &OwnPanel| format!("{:020}", u64::MAX - panel.offset);
    let (panels, next_cursor) = cut(all, &query, USUAL, newest_first)?;
    let page = OwnPanels { panels, next_cursor };
    own_page(&page, page.next_cursor.as_deref())
}

/// Put an item away; it comes back where the merchant has something new to say of it.
#[utoipa::path(delete, path = "/v1/me/panels/{panel}", tag = "me",
    operation_id = "dismiss_panel", security(("token" = [])),
    params(("panel" = String, Path, description = "The item")),
    responses((status = 204, description = "It is not shown any more"), Refusals))]
pub(super) async fn dismiss(
    State(door): State<Arc<Door>>,
    Path(panel): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let person = door.person(&headers)?;
    let unknown = || Problem::not_found("there is no such item");
    let panel = PanelId::parse(&panel).ok_or_else(unknown)?;
    match door.panels.dismiss(person.id, panel).await? {
        true => {
            door.tell(&person, "panel.dismiss", "done");
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(unknown()),
    }
}

/// All items of a person whose e-services are there.
pub(super) async fn all(
    door: &Door,
    person: &Person,
    names: &Names,
) -> Result<Vec<OwnPanel>, Problem> {
    let shown = door.panels.shown(person.id).await?;
    Ok(shown.into_iter().filter_map(|panel| OwnPanel::of(panel, names)).collect())
}

impl OwnPanel {
    fn of(panel: Shown, names: &Names) -> Option<Self> {
        let Shown { id, e_service, until, offset, saying, .. } = panel;
        let (e_service, merchant) = names.e_service(e_service.as_str())?;
        let put_at = DateTime::from_timestamp_micros(saying.put_at).unwrap_or_default();
        Some(Self {
            panel: id.to_string(),
            e_service,
            merchant,
            title: saying.title,
            text: saying.text,
            link: saying.link,
            state: saying.state,
            due: saying.due.map(|due| due.to_string()),
            until: until.to_string(),
            put_at: put_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            offset,
        })
    }
}
