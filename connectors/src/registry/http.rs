//! The registry over HTTP: `contracts.md` section 4. Every entry has a tag, by which whoever changes it says
//! what they had seen of it; nobody overwrites unseen what somebody else has changed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post, put},
};
use domain::registry::Kind;
use ingest::{register::registry::identity, vault::Vault};
use serde_json::{Value, json};

use super::{
    list::Asked,
    listed,
    registrar::{Now, Past, Registrar, none},
    rights::{self, Reach},
    standing::Change,
    translate, versions,
};
use crate::{
    access::{self, Identity, Role, Tokens},
    edge::page::{self, PageAsked},
    json,
    precondition::{Seen, tag},
    problem::Problem,
};

mod drafts;
mod preview;
mod whole;

pub use preview::{Days, Simulated, Simulating, Simulator};

/// The largest entry, in bytes.
const LARGEST_ENTRY: usize = 1 << 20;
/// The largest draft, or registry as a whole.
const LARGEST_DOCUMENT: usize = 64 << 20;

/// What the routes work over.
#[derive(Clone)]
pub struct Door {
    /// Through whom the registry changes.
    pub registrar: Registrar,
    /// Whose tokens hold.
    pub tokens: Tokens,
    /// For the keyed hashes of whom groups list.
    pub vault: Vault,
    /// Who tells what other rules would have done.
    pub simulator: Arc<dyn Simulator>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("registrar", &self.registrar).finish_non_exhaustive()
    }
}

/// The routes of the registry, but for its [`trials`].
pub fn routes(door: Door) -> Router {
    let mut routes = Router::new();
    for kind in Kind::ALL {
        let path = format!("/v1/{}", rights::path_of(kind));
        // The list of officials is the availability board's.
        if kind != Kind::Official {
            routes = routes
                .route(&path, get(move |state, headers, query| list(kind, state, headers, query)));
        }
        routes = routes
            .route(
                &format!("{path}/{{id}}"),
                get(move |state, headers, id, query| one(kind, state, headers, id, query))
                    .put(move |state, headers, id, body| put_one(kind, state, headers, id, body))
                    .delete(move |state, headers, id| remove(kind, state, headers, id)),
            )
            .route(
                &format!("{path}/{{id}}/history"),
                get(move |state, headers, id, query| history(kind, state, headers, id, query)),
            );
    }
    routes
        .route("/v1/instructions/{id}/versions", get(all_versions))
        .layer(DefaultBodyLimit::max(LARGEST_ENTRY))
        .merge(
            Router::new()
                .route("/v1/registry", get(whole::export).put(whole::import))
                .route("/v1/drafts", get(drafts::list))
                .route("/v1/drafts/{id}", get(drafts::one).put(drafts::put).delete(drafts::remove))
                .route("/v1/drafts/{id}/state", put(drafts::move_to))
                .route("/v1/drafts/{id}/shadow", get(drafts::shadow))
                .layer(DefaultBodyLimit::max(LARGEST_DOCUMENT)),
        )
        .with_state(door)
}

/// The routes that try what a change would do, and change nothing: they take as long as what reads.
pub fn trials(door: Door) -> Router {
    Router::new()
        .route("/v1/instructions:preview", post(preview::preview))
        .route("/v1/registry:diff", post(whole::diff))
        .route("/v1/registry:simulate", post(whole::simulate))
        .layer(DefaultBodyLimit::max(LARGEST_DOCUMENT))
        .with_state(door)
}

impl Door {
    fn identity(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        access::identity(&self.tokens, headers)
    }

    /// Names who is listed, by the keyed hashes of their codes.
    fn naming(&self) -> impl Fn(&str) -> Option<String> {
        |written| listed::member(&self.vault, written)
    }

    /// Who asks, where their role reads a kind at all.
    fn reader(&self, headers: &HeaderMap, kind: Kind) -> Result<Identity, Problem> {
        let identity = self.identity(headers)?;
        if rights::of(identity.role, kind).read == Reach::Nothing {
            let (role, name) = (identity.role.code(), rights::path_of(kind));
            return Err(Problem::forbidden(format!("the role {role} reads no {name}")));
        }
        Ok(identity)
    }
}

fn answer(status: StatusCode, body: &Value, offset: Option<u64>) -> Response {
    let mut response = Response::new(axum::body::Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(tag) = offset.and_then(|offset| HeaderValue::from_str(&tag(offset)).ok()) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// A page of a list, and where the next one begins.
fn paged(items: Vec<Value>, next: Option<String>) -> Response {
    let mut page = json!({"items": items});
    if let Some(next) = &next {
        page["next_cursor"] = Value::from(next.as_str());
    }
    page::leading_on(answer(StatusCode::OK, &page, None), next.as_deref())
}

fn no_content() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

type Queried = Query<BTreeMap<String, String>>;

async fn list(
    kind: Kind,
    State(door): State<Door>,
    headers: HeaderMap,
    Query(query): Queried,
) -> Result<Response, Problem> {
    let identity = door.reader(&headers, kind)?;
    let asked = Asked::read(&query)?;
    let page = asked.page(&identity, kind, door.registrar.now().await?.standing());
    Ok(paged(page.items, page.next))
}

/// An entry under the id of a path, with the offset of its last change: of an instruction the version
/// that `query` names, or the one in force.
fn found<'a>(
    now: &'a Now<'_>,
    door: &Door,
    kind: Kind,
    id: &str,
    query: &BTreeMap<String, String>,
) -> Result<Option<(&'a Value, u64)>, Problem> {
    let view = &now.standing().view;
    if kind != Kind::Instruction {
        return Ok(view.entry(kind, id).map(|entry| (&entry.document, entry.changed)));
    }
    let versions = versions::of(view, id);
    // Also of versions that were removed: that is a change of the instruction, too.
    let below = format!("{id}/");
    let ever = now.standing().ever(kind.list(), &below);
    let ever = ever.filter(|of| of.rsplit_once('/').is_some_and(|(of, _)| of == id));
    let changed = ever.filter_map(|of| now.standing().offsets(kind.list(), of).last().copied());
    let changed = changed.max();
    let version = match query.get("version") {
        None => versions::on(&versions, door.registrar.today()),
        Some(text) => {
            let number: u64 =
                text.parse().map_err(|_| Problem::invalid("version must be a whole number"))?;
            let is = |(_, entry): &&(&str, &ingest::register::registry::Entry)| {
                entry.document["version"].as_u64() == Some(number)
            };
            versions.iter().find(is).copied()
        }
    };
    // The tag is of all versions: a new one is a change of the instruction.
    Ok(version.and_then(|(_, entry)| Some((&entry.document, changed?))))
}

async fn one(
    kind: Kind,
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Queried,
) -> Result<Response, Problem> {
    let identity = door.reader(&headers, kind)?;
    let now = door.registrar.now().await?;
    let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
    let (entry, offset) = found(&now, &door, kind, &id, &query)?
        .filter(|(entry, _)| rights::reads(&identity, kind, entry, &find))
        .ok_or_else(|| none(kind, &id))?;
    let shown = rights::shown(&identity, kind, entry, &find);
    Ok(answer(StatusCode::OK, &shown, Some(offset)))
}

async fn put_one(
    kind: Kind,
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let by = door.identity(&headers)?;
    let mut entry = Value::from(json::body(&body)?);
    let fields =
        entry.as_object_mut().ok_or_else(|| Problem::invalid("the body must be an object"))?;
    if !matches!(kind, Kind::CatalogueItem | Kind::Subsidy) {
        fields.entry("id").or_insert_with(|| Value::from(id.as_str()));
    }
    if kind == Kind::Group && by.role == Role::Grantor {
        fields.entry("grantor").or_insert_with(|| Value::from(&*by.organisation));
    }
    translate(&mut entry);
    if kind == Kind::Group {
        listed::name_in(&mut entry, &door.naming());
    }
    let mut now = door.registrar.now().await?;
    let changes = match kind {
        Kind::Instruction => versions::put(&now.standing().view, &id, entry),
        kind => vec![Change { kind, id: identity(kind, &entry), entry: Some(entry) }],
    };
    let standing = found(&now, &door, kind, &id, &BTreeMap::new())?.map(|(_, offset)| offset);
    now.allowed(&by, &changes, false)?;
    let last = changes.last().ok_or_else(|| Problem::invalid("there is nothing to change"))?;
    if last.entry.as_ref().is_some_and(|entry| !is_under(kind, &id, entry)) {
        let detail = format!("the body is of {}, the path of {id}", last.id);
        return Err(Problem::invalid(detail));
    }
    let is_new = now.standing().entry(kind, &last.id).is_none();
    let same = changes.iter().all(|of| now.standing().entry(of.kind, &of.id) == of.entry.as_ref());
    if !same {
        Seen::of(&headers).is_newest(standing)?;
        now.checked(&by, &changes, |_| String::new(), Vec::new())?;
        now.commit(&by, &changes, None).await?;
        door.registrar.tell(&by, "registry.put", object(kind, &last.id));
    }
    let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
    let entry = find(kind, &last.id).ok_or_else(|| none(kind, &id))?;
    let offset = found(&now, &door, kind, &id, &BTreeMap::new())?.map(|(_, offset)| offset);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &rights::shown(&by, kind, entry, &find), offset))
}

/// Whether an entry stands under the id of a path.
fn is_under(kind: Kind, id: &str, entry: &Value) -> bool {
    match kind {
        Kind::Instruction => entry["id"].as_str() == Some(id),
        kind => identity(kind, entry) == id,
    }
}

fn object(kind: Kind, id: &str) -> String {
    format!("{}/{id}", rights::path_of(kind))
}

async fn remove(
    kind: Kind,
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    let mut now = door.registrar.now().await?;
    let view = &now.standing().view;
    let ids: Vec<String> = match kind {
        Kind::Instruction => versions::of(view, &id).iter().map(|(of, _)| (*of).into()).collect(),
        kind => view.entry(kind, &id).map(|_| id.clone()).into_iter().collect(),
    };
    let removed = |id: String| Change { kind, id, entry: None };
    let changes: Vec<_> = ids.into_iter().map(removed).collect();
    let nothing = [removed(id.clone())];
    now.allowed(&identity, if changes.is_empty() { &nothing } else { &changes }, false)?;
    if changes.is_empty() {
        return Err(none(kind, &id));
    }
    let standing = found(&now, &door, kind, &id, &BTreeMap::new())?.map(|(_, offset)| offset);
    Seen::of(&headers).is_newest(standing)?;
    now.checked(&identity, &changes, |_| String::new(), Vec::new())?;
    now.commit(&identity, &changes, None).await?;
    door.registrar.tell(&identity, "registry.remove", object(kind, &id));
    Ok(no_content())
}

async fn all_versions(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    let kind = Kind::Instruction;
    let identity = door.reader(&headers, kind)?;
    let now = door.registrar.now().await?;
    let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
    let versions = versions::of(&now.standing().view, &id);
    let readable =
        versions.iter().filter(|(_, entry)| rights::reads(&identity, kind, &entry.document, &find));
    let items: Vec<_> =
        readable.map(|(_, entry)| rights::shown(&identity, kind, &entry.document, &find)).collect();
    if items.is_empty() {
        return Err(none(kind, &id));
    }
    let number = |entry: &Value| format!("{:020}", entry["version"].as_u64().unwrap_or_default());
    let (items, next) = page::cut(items, &asked, CHANGES, number)?;
    Ok(paged(items, next))
}

/// Versions of a page, and changes of one of history, unless asked otherwise.
const CHANGES: usize = 100;

async fn history(
    kind: Kind,
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    let identity = door.reader(&headers, kind)?;
    let size = asked.size(CHANGES)?;
    let before = match &asked.cursor {
        Some(text) => text.parse().map_err(|_| Problem::invalid("cursor is not one of a page"))?,
        None => u64::MAX,
    };
    let now = door.registrar.now().await?;
    let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
    let ids: Vec<String> = match kind {
        Kind::Instruction => {
            let below = format!("{id}/");
            let ever = now.standing().ever(kind.list(), &below);
            let own = ever.filter(|of| of.rsplit_once('/').is_some_and(|(of, _)| of == id));
            own.map(str::to_owned).collect()
        }
        _ => vec![id.clone()],
    };
    let mut changes = Vec::new();
    // One more says whether there is a next page, and the one before it whose that one was.
    for id in &ids {
        changes.extend(now.history(kind.list(), id, before, size + 2).await?);
    }
    changes.sort_by_key(|past| std::cmp::Reverse(past.offset));
    let document = |past: &Past| serde_json::from_str::<Value>(&past.change.document).ok();
    // Whose it is now decides; of what is gone, whose it was.
    let last = changes.iter().find_map(document);
    let last = last.filter(|last| rights::reads(&identity, kind, last, &find));
    let last = last.ok_or_else(|| none(kind, &id))?;
    // It says who changed what, which is for those who might have.
    if identity.role != Role::Operator && !rights::changes(&identity, kind, &last, &find) {
        return Err(Problem::forbidden("the history is for those who may change the entry"));
    }
    // An id may have been another's before; a removal is of whose the entry was.
    let mut own = false;
    changes.reverse();
    changes.retain(|past| {
        let entry = document(past);
        own = entry.map_or(own, |entry| rights::reads(&identity, kind, &entry, &find));
        own
    });
    changes.reverse();
    let next = (changes.len() > size).then(|| changes[size - 1].offset.to_string());
    let told = changes.iter().take(size).map(|past| {
        let entry = document(past).map(|entry| rights::shown(&identity, kind, &entry, &find));
        json!({"at": past.at, "by": past.change.changed_by, "tag": tag(past.offset), "entry": entry})
    });
    let items: Vec<_> = told.collect();
    Ok(paged(items, next))
}
