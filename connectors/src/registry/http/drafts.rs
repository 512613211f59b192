//! Drafts over HTTP: written, run in the shadow, submitted, and approved by a second person.

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use ingest::document::{Cursor, Fault, Json};
use serde_json::{Map, Value, json};

use super::{Days, Door, Simulating, answer, no_content, paged};
use crate::{
    access::{Identity, Role},
    edge::page::{self, PageAsked},
    json,
    precondition::Seen,
    problem::Problem,
    registry::{
        draft::{Draft, LIST, Removed, State as Stands},
        listed,
        registrar::{Beside, Now},
    },
};

/// Drafts of a page, unless asked otherwise.
const PAGE: usize = 100;
/// The longest note or reason, in bytes.
const LONGEST: usize = 4_096;

impl Door {
    /// Names who is listed in what a draft puts.
    pub(super) fn name_draft(&self, document: &mut Value) {
        if let Some(entries) = document.get_mut("entries") {
            listed::name(entries, &self.naming());
        }
    }

    /// Who asks, where their role has drafts: whoever changes something, or watches.
    fn drafting(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let identity = self.identity(headers)?;
        match identity.role {
            Role::Grantor | Role::Merchant | Role::Administrator => Ok(identity),
            role => Err(Problem::forbidden(format!("the role {} has no drafts", role.code()))),
        }
    }
}

/// An administrator sees all drafts, everybody else those of their organisation.
fn sees(by: &Identity, draft: &Draft) -> bool {
    by.role == Role::Administrator
        || (draft.role == by.role.code()
            && !by.organisation.is_empty()
            && draft.organisation == *by.organisation)
}

fn none(id: &str) -> Problem {
    Problem::not_found(format!("there is no draft {id}"))
}

fn of<'a>(now: &'a Now<'_>, by: &Identity, id: &str) -> Result<&'a (Draft, u64), Problem> {
    let draft = now.standing().drafts.get(id).filter(|(draft, _)| sees(by, draft));
    draft.ok_or_else(|| none(id))
}

/// What becomes of a draft on the stream.
fn beside<'a>(id: &'a str, draft: Option<&Draft>) -> Beside<'a> {
    let document = draft.map(|draft| serde_json::to_string(draft).unwrap_or_default());
    Beside { list: LIST, id, document: document.unwrap_or_default() }
}

/// A draft as somebody sees it: who is listed in a group is told to whose draft it is alone.
fn shown(by: &Identity, draft: &Draft) -> Value {
    let mut shown = serde_json::to_value(draft).unwrap_or_default();
    if draft.role == by.role.code() && draft.organisation == *by.organisation {
        return shown;
    }
    let groups = shown["entries"]["groups"].as_array_mut();
    for group in groups.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(members) = group.remove("members") {
            let count = members.as_array().map_or(0, Vec::len);
            group.insert("members_count".into(), json!(count));
        }
    }
    shown
}

pub(super) async fn list(
    State(door): State<Door>,
    headers: HeaderMap,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    let now = door.registrar.now().await?;
    let all = now.standing().drafts.iter().filter(|(draft, _)| sees(&identity, draft));
    let by_id = |(draft, _): &&(Draft, u64)| draft.id.clone();
    let (all, next) = page::cut(all.collect(), &asked, PAGE, by_id)?;
    // What they put is told one by one: it may be long.
    let items = all.into_iter().map(|(draft, _)| {
        json!({"id": draft.id, "state": draft.state, "note": draft.note,
            "organisation": draft.organisation, "shadow_since": draft.shadow_since})
    });
    Ok(paged(items.collect(), next))
}

pub(super) async fn one(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    let now = door.registrar.now().await?;
    let (draft, offset) = of(&now, &identity, &id)?;
    Ok(answer(StatusCode::OK, &shown(&identity, draft), Some(*offset)))
}

/// What a draft puts and removes, as the body says.
#[derive(Default)]
pub(super) struct Body {
    pub(super) note: String,
    pub(super) entries: Map<String, Value>,
    pub(super) remove: Vec<Removed>,
}

/// What can be read of what a draft puts and removes, and the faults of the form: they are told with those
/// of the entries.
pub(super) fn read(document: &Value) -> (Body, Vec<Fault>) {
    let (body, faults) = json::read_with_faults(&Json::from(document), |fields| {
        let note = fields.short_text("note", LONGEST).unwrap_or_default();
        let entries = fields.optional("entries");
        let lists = entries.as_ref().map(|at| at.entries()).unwrap_or_default();
        let mut put = Map::new();
        for (list, at) in lists {
            if domain::registry::Kind::of_list(list).is_none() {
                at.fault("unknown list");
            }
            // What its elements say is checked with the rest, if each of them is an object.
            let elements = at.elements();
            if elements.iter().filter_map(Cursor::fields).count() == elements.len() {
                put.insert(list.to_owned(), at.value().clone().into());
            }
        }
        let remove = fields.list("remove").iter().filter_map(removed).collect();
        Some(Body { note, entries: put, remove })
    });
    (body.unwrap_or_default(), faults)
}

fn removed(at: &Cursor<'_>) -> Option<Removed> {
    let fields = at.fields()?;
    let kind = fields.required("kind").and_then(|at| {
        at.parsed("the name of a list", |text| {
            domain::registry::Kind::of_list(text).map(|kind| kind.list().to_owned())
        })
    });
    let id = fields.required("id").and_then(|at| at.text()).map(str::to_owned);
    fields.finish();
    Some(Removed { kind: kind?, id: id? })
}

pub(super) async fn put(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    domain::id::GroupId::new(&id).map_err(|error| Problem::invalid(format!("the id {error}")))?;
    let mut document = Value::from(json::body(&bytes)?);
    door.name_draft(&mut document);
    let (body, form) = read(&document);
    let mut now = door.registrar.now().await?;
    let standing = now.standing().drafts.get(&id);
    if standing.is_some_and(|(draft, _)| !sees(&identity, draft)) {
        return Err(none(&id));
    }
    Seen::of(&headers).is_newest(standing.map(|(_, offset)| *offset))?;
    if let Some((Draft { state: Stands::Submitted | Stands::Published, .. }, _)) = standing {
        return Err(not_now("a submitted or published draft is not written any more"));
    }
    let mut draft = draft(&identity, &id, body);
    if let Some((before, _)) = standing {
        (draft.role, draft.organisation) = (before.role.clone(), before.organisation.clone());
        draft.written_by.clone_from(&before.written_by);
    }
    note_writer(&mut draft, &identity);
    let is_new = standing.is_none();
    check(&now, &identity, &draft, form)?;
    now.commit(&identity, &[], Some(beside(&id, Some(&draft)))).await?;
    door.registrar.tell(&identity, "draft.put", id.clone());
    let (draft, offset) = of(&now, &identity, &id)?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &shown(&identity, draft), Some(*offset)))
}

/// What somebody writes, as a draft of their organisation.
pub(super) fn draft(by: &Identity, id: &str, body: Body) -> Draft {
    let mut draft = Draft {
        id: id.to_owned(),
        role: by.role.code().into(),
        organisation: by.organisation.to_string(),
        note: body.note,
        state: Stands::Draft,
        entries: body.entries,
        remove: body.remove,
        written_by: Vec::new(),
        decided_by: None,
        reason: None,
        shadow_since: None,
    };
    own_groups(by, &mut draft);
    draft
}

/// A grantor's groups are its own.
fn own_groups(by: &Identity, draft: &mut Draft) {
    if by.role != Role::Grantor {
        return;
    }
    let groups = draft.entries.get_mut("groups").and_then(Value::as_array_mut);
    for group in groups.into_iter().flatten().filter_map(Value::as_object_mut) {
        group.entry("grantor").or_insert_with(|| Value::from(&*by.organisation));
    }
}

fn note_writer(draft: &mut Draft, by: &Identity) {
    if !draft.written_by.iter().any(|subject| *subject == *by.subject) {
        draft.written_by.push(by.subject.to_string());
    }
}

/// Whether the draft could hold as the registry is now, and its form is right.
fn check(now: &Now<'_>, by: &Identity, draft: &Draft, form: Vec<Fault>) -> Result<(), Problem> {
    let (changes, places) = draft.changes(&now.standing().view);
    now.allowed(by, &changes, true)?;
    now.checked(by, &changes, |at| places.get(at).cloned().unwrap_or_default(), form)?;
    Ok(())
}

fn not_now(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, "state", "Not in this state", detail)
}

pub(super) async fn remove(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    let mut now = door.registrar.now().await?;
    let (draft, offset) = of(&now, &identity, &id)?;
    Seen::of(&headers).is_newest(Some(*offset))?;
    if draft.state == Stands::Published {
        return Err(not_now("what was published is kept"));
    }
    now.commit(&identity, &[], Some(beside(&id, None))).await?;
    door.registrar.tell(&identity, "draft.remove", id);
    Ok(no_content())
}

/// Where a draft is to stand, and why.
fn wanted(bytes: &[u8]) -> Result<(Stands, Option<String>), Problem> {
    const STATES: [(&str, Stands); 5] = [
        ("draft", Stands::Draft),
        ("shadow", Stands::Shadow),
        ("submitted", Stands::Submitted),
        ("published", Stands::Published),
        ("rejected", Stands::Rejected),
    ];
    json::read(bytes, |fields| {
        let state = fields.required("state").and_then(|at| at.word(&STATES));
        let reason = fields.short_text("reason", LONGEST);
        Some((state?, reason))
    })
}

pub(super) async fn move_to(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    let (state, reason) = wanted(&bytes)?;
    let today = door.registrar.today();
    let mut now = door.registrar.now().await?;
    let (standing, offset) = of(&now, &identity, &id)?.clone();
    if standing.state == state {
        return Ok(answer(StatusCode::OK, &shown(&identity, &standing), Some(offset)));
    }
    Seen::of(&headers).is_newest(Some(offset))?;
    let mut draft = Draft { state, ..standing.clone() };
    let mut changes = Vec::new();
    match (standing.state, state) {
        (Stands::Draft | Stands::Rejected, Stands::Shadow) => {
            check(&now, &identity, &draft, Vec::new())?;
            draft.shadow_since = Some(today);
        }
        (Stands::Draft | Stands::Shadow, Stands::Submitted) => {
            check(&now, &identity, &draft, Vec::new())?;
            note_writer(&mut draft, &identity);
        }
        (Stands::Shadow | Stands::Submitted | Stands::Rejected, Stands::Draft) => {}
        (Stands::Submitted, Stands::Published | Stands::Rejected) => {
            if standing.written_by.iter().any(|subject| *subject == *identity.subject) {
                let detail = "somebody else than who wrote or submitted it decides about a draft";
                return Err(Problem::forbidden(detail));
            }
            if is_of_administrator(&standing) && identity.role != Role::Administrator {
                return Err(Problem::forbidden("an administrator decides about this draft"));
            }
            draft.decided_by = Some(identity.subject.to_string());
            draft.reason = reason;
            if state == Stands::Published {
                check(&now, &identity, &draft, Vec::new())?;
                changes = draft.changes(&now.standing().view).0;
            }
        }
        (from, to) => {
            let word = |state| serde_json::to_value(state).unwrap_or_default();
            let detail = format!("a draft does not go from {} to {}", word(from), word(to));
            return Err(not_now(detail.replace('"', "")));
        }
    }
    now.commit(&identity, &changes, Some(beside(&id, Some(&draft)))).await?;
    door.registrar.tell(&identity, "draft.state", format!("{id} {}", json!(state)));
    let (draft, offset) = of(&now, &identity, &id)?;
    Ok(answer(StatusCode::OK, &shown(&identity, draft), Some(*offset)))
}

/// Whether an administrator decides: about a merchant's e-services.
fn is_of_administrator(draft: &Draft) -> bool {
    draft.role == Role::Merchant.code()
}

/// What a draft would have done since its shadow began, beside what was done.
pub(super) async fn shadow(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let identity = door.drafting(&headers)?;
    let to = door.registrar.today();
    let simulating = {
        let now = door.registrar.now().await?;
        let (draft, _) = of(&now, &identity, &id)?;
        let since = draft.shadow_since.ok_or_else(|| not_now("this draft runs in no shadow"))?;
        let changes = draft.changes_from(&now.standing().view, since);
        // What it names may have become another's since it was written.
        now.allowed(&identity, &changes, true)?;
        let candidate = now.with(&changes);
        if let Some(misfit) = candidate.faults.first() {
            let fault = now.told(&identity, misfit, |_| String::new());
            return Err(not_now(format!("it no longer fits: {fault}")));
        }
        let own = super::preview::own(&identity, &candidate.registry);
        Simulating { registry: candidate.registry, days: Days { from: since, to }, own }
    };
    let told = door.simulator.simulate(simulating).await?;
    Ok(answer(StatusCode::OK, &told, None))
}
