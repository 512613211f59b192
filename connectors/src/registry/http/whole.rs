//! The registry as one document: exported, compared, and imported whole or not at all.

use std::collections::BTreeMap;

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use chrono::NaiveDate;
use domain::registry::{Kind, Registry};
use ingest::register::registry::identity;
use serde_json::{Value, json};

use super::{Days, Door, Simulating, answer};
use crate::{
    access::{Identity, Role},
    precondition::{Seen, tag},
    problem::Problem,
    registry::{self, listed, registrar::Now, standing::Change, translated},
};

/// Whoever administers the registry as a whole.
fn administrator(door: &Door, headers: &HeaderMap) -> Result<Identity, Problem> {
    let identity = door.identity(headers)?;
    if identity.role == Role::Administrator {
        return Ok(identity);
    }
    Err(Problem::forbidden("the registry as a whole is for administrators"))
}

/// The whole registry in the registry file's form, as JSON or as the YAML that is asked for; it says what
/// `PUT` takes.
pub(super) async fn export(
    State(door): State<Door>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = administrator(&door, &headers)?;
    let now = door.registrar.now().await?;
    let view = &now.standing().view;
    let asked = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    let (kind, text) = match asked.is_some_and(|kinds| kinds.contains("yaml")) {
        true => {
            ("application/yaml", registry::yaml(&view.document()).map_err(Problem::unavailable)?)
        }
        false => ("application/json", view.document().to_string()),
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(tag) = HeaderValue::from_str(&tag(view.version())) {
        headers.insert(header::ETAG, tag);
    }
    door.registrar.tell(&identity, "registry.export", String::new());
    Ok(response)
}

/// A registry that has no faults, as a document and as it is read.
fn wanted(door: &Door, now: &Now<'_>, bytes: &[u8]) -> Result<(Value, Registry), Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::malformed("not UTF-8"))?;
    let mut wanted = registry::parse(text).map_err(Problem::malformed)?;
    listed::name(&mut wanted, &door.naming());
    let (registry, faults) = registry::check(&wanted, &|text| now.condition(text));
    if !faults.is_empty() {
        return Err(Problem::faults(&faults));
    }
    Ok((wanted, registry))
}

/// What makes the registry the wanted one.
fn changes(door: &Door, now: &Now<'_>, bytes: &[u8]) -> Result<Vec<Change>, Problem> {
    let (wanted, _) = wanted(door, now, bytes)?;
    let standing = now.standing();
    let wanted = translated(&wanted);
    let mut changes = Vec::new();
    for kind in Kind::ALL {
        let list = wanted[kind.list()].as_array();
        let put = list.into_iter().flatten().map(|entry| Change {
            kind,
            id: identity(kind, entry),
            entry: Some(entry.clone()),
        });
        let put: Vec<_> = put.collect();
        let kept: std::collections::HashSet<_> = put.iter().map(|of| of.id.as_str()).collect();
        let gone = standing.view.after(kind, "").filter(|(id, _)| !kept.contains(id));
        let gone: Vec<_> =
            gone.map(|(id, _)| Change { kind, id: id.to_owned(), entry: None }).collect();
        let differs = |of: &Change| standing.entry(kind, &of.id) != of.entry.as_ref();
        changes.extend(put.into_iter().filter(differs));
        changes.extend(gone);
    }
    Ok(changes)
}

fn told(now: &Now<'_>, changes: &[Change]) -> Value {
    let what =
        |change: &Change| match (now.standing().entry(change.kind, &change.id), &change.entry) {
            (None, _) => "added",
            (Some(_), None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
    let changes = changes
        .iter()
        .map(|change| json!({"kind": change.kind.list(), "id": change.id, "change": what(change)}));
    json!({"changes": changes.collect::<Vec<_>>()})
}

/// What a registry, YAML or JSON, would change.
pub(super) async fn diff(
    State(door): State<Door>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    administrator(&door, &headers)?;
    let now = door.registrar.now().await?;
    let changes = changes(&door, &now, &bytes)?;
    Ok(answer(StatusCode::OK, &told(&now, &changes), Some(now.standing().view.version())))
}

/// What a registry, YAML or JSON, would have done to the transactions that are recorded of some local days,
/// beside what was done.
pub(super) async fn simulate(
    State(door): State<Door>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let identity = administrator(&door, &headers)?;
    let day = |name: &str| {
        let day = query.get(name).and_then(|text| text.parse::<NaiveDate>().ok());
        day.ok_or_else(|| Problem::invalid(format!("{name} is no day: YYYY-MM-DD")))
    };
    let days = Days { from: day("from")?, to: day("to")? };
    let (_, registry) = wanted(&door, &door.registrar.now().await?, &bytes)?;
    door.registrar.tell(&identity, "registry.simulate", format!("{} to {}", days.from, days.to));
    let told = door.simulator.simulate(Simulating { registry, days, own: None }).await?;
    Ok(answer(StatusCode::OK, &told, None))
}

/// Makes the registry this one, YAML or JSON, whole or not at all. What would remove more than a hundredth
/// of the entries is taken only with `yes=true`: a file that was cut must not empty the registry.
pub(super) async fn import(
    State(door): State<Door>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let identity = administrator(&door, &headers)?;
    let mut now = door.registrar.now().await?;
    let changes = changes(&door, &now, &bytes)?;
    let version = now.standing().view.version();
    // An empty registry has a tag, too, which need not be said.
    let seen = Seen::of(&headers);
    let stands = version > 0 || matches!(seen, Seen::Tags(_));
    seen.is_newest(stands.then_some(version))?;
    let removed = changes.iter().filter(|change| change.entry.is_none()).count();
    let known = Kind::ALL.map(|kind| now.standing().view.after(kind, "").count());
    let known: usize = known.into_iter().sum();
    if removed * 100 > known && query.get("yes").is_none_or(|yes| yes != "true") {
        let detail =
            format!("it would remove {removed} of {known} entries; say yes=true if it is meant");
        return Err(Problem::new(StatusCode::CONFLICT, "removes", "Removes much", detail));
    }
    now.allowed(&identity, &changes, false)?;
    let place = |at: usize| {
        changes.get(at).map(|of| format!("/{}/{}", of.kind.list(), of.id)).unwrap_or_default()
    };
    now.checked(&identity, &changes, place, Vec::new())?;
    let told = told(&now, &changes);
    now.commit(&identity, &changes, None).await?;
    let object = format!("{} entries", changes.len());
    door.registrar.tell(&identity, "registry.apply", object);
    Ok(answer(StatusCode::OK, &told, Some(now.standing().view.version())))
}
