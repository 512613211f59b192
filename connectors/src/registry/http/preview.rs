//! What instructions would be among the others, before they are saved.

use std::{collections::BTreeSet, future::Future, pin::Pin};

use axum::{body::Bytes, extract::State, http::HeaderMap, http::StatusCode, response::Response};
use chrono::NaiveDate;
use domain::{
    id::InstructionId,
    registry::{Kind, Registry},
};
use ingest::document::{Cursor, Fault, Json};
use serde_json::{Map, Value, json};

use super::{Door, answer, drafts};
use crate::{
    access::{Identity, Role},
    json,
    problem::Problem,
    registry::{
        registrar::Now,
        rights,
        standing::{Change, Misfit},
        versions,
    },
};

/// Local days, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

/// What is to be simulated.
#[derive(Debug)]
pub struct Simulating {
    /// The registry under which recorded transactions are decided anew.
    pub registry: Registry,
    /// The days that are told of.
    pub days: Days,
    /// The instructions that are told of; none for all, and then for what they were given where, too.
    pub own: Option<BTreeSet<InstructionId>>,
}

/// Decides recorded transactions anew under another registry, and tells what was given then and now.
pub trait Simulator: Send + Sync {
    /// Simulates.
    fn simulate(&self, what: Simulating) -> Simulated<'_>;
}

/// What a simulation tells, in time.
pub type Simulated<'a> = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send + 'a>>;

/// Of whose instructions somebody is told.
pub(super) fn own(by: &Identity, registry: &Registry) -> Option<BTreeSet<InstructionId>> {
    if by.role == Role::Administrator {
        return None;
    }
    let organisation = by.organisation.as_ref();
    let of_grantor = registry.benefits.iter().filter(|of| of.grantor.as_str() == organisation);
    let benefits: BTreeSet<_> = of_grantor.map(|of| &of.id).collect();
    let (own, others): (Vec<_>, Vec<_>) =
        registry.instructions.iter().partition(|of| benefits.contains(&of.benefit));
    // Figures are by id: one that has a version of another's is nobody's alone.
    let others: BTreeSet<_> = others.into_iter().map(|of| &of.id).collect();
    Some(own.into_iter().map(|of| of.id.clone()).filter(|id| !others.contains(id)).collect())
}

/// What a preview asks for beside what a draft has.
#[derive(Default)]
struct Asked {
    order: Vec<String>,
    from: Option<NaiveDate>,
    simulate: Option<Days>,
}

/// The order of `order` and the days of `simulate` are taken out of the body; the rest is a draft's. With it
/// the faults of the form.
fn read(door: &Door, bytes: &[u8]) -> Result<(Asked, drafts::Body, Vec<Fault>), Problem> {
    let mut document = Value::from(json::body(bytes)?);
    door.name_draft(&mut document);
    let fields = document.as_object_mut().ok_or_else(|| Problem::invalid("must be an object"))?;
    let mut taken = Map::new();
    for name in ["order", "from", "simulate"] {
        taken.extend(fields.remove(name).map(|value| (name.to_owned(), value)));
    }
    let taken = Value::Object(taken);
    let (asked, mut form) = json::read_with_faults(&Json::from(&taken), |fields| {
        let order = fields.list("order");
        let order = order.iter().filter_map(|at| at.text().map(str::to_owned)).collect();
        let from = fields.optional("from").and_then(|at| at.date());
        let simulate = fields.optional("simulate").and_then(|at| days(&at));
        Some(Asked { order, from, simulate })
    });
    let (body, of_draft) = drafts::read(&document);
    form.extend(of_draft);
    Ok((asked.unwrap_or_default(), body, form))
}

fn days(at: &Cursor<'_>) -> Option<Days> {
    let fields = at.fields()?;
    let from = fields.required("from").and_then(|at| at.date());
    let to = fields.required("to").and_then(|at| at.date());
    fields.finish();
    Some(Days { from: from?, to: to? })
}

/// The next versions by which instructions come into an order: the priorities that they have now, spread
/// anew; who keeps its priority stays as it is.
fn reordered(
    by: &Identity,
    now: &Now<'_>,
    order: &[String],
    (today, from): (NaiveDate, NaiveDate),
) -> Result<Vec<Value>, Problem> {
    let mut known = Vec::new();
    for (at, id) in order.iter().enumerate() {
        let versions = versions::of(&now.standing().view, id);
        let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
        let own = versions::on(&versions, today).filter(|(_, version)| {
            rights::changes(by, Kind::Instruction, &version.document, &find)
        });
        let version = own.ok_or_else(|| {
            let (path, message) = (format!("/order/{at}"), format!("there is no {id}"));
            let reason = ingest::dead_letter::Reason::UnknownReference;
            Problem::faults(&[Fault { reason, path, message }])
        })?;
        known.push(version.1.document.clone());
    }
    let mut priorities: Vec<_> = known.iter().filter_map(|of| of["priority"].as_i64()).collect();
    priorities.sort_unstable();
    let moved = known.into_iter().zip(priorities);
    let moved = moved.filter(|(entry, priority)| entry["priority"].as_i64() != Some(*priority));
    let next = moved.map(|(mut entry, priority)| {
        entry["priority"] = json!(priority);
        entry["valid"]["from"] = json!(from.to_string());
        if let Some(fields) = entry.as_object_mut() {
            fields.shift_remove("version");
        }
        entry
    });
    Ok(next.collect())
}

/// What the entries of a draft would be among the others: what is wrong, what would change, in which order
/// all are tried on the first day, and what they would have cost.
pub(super) async fn preview(
    State(door): State<Door>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    if !matches!(identity.role, Role::Grantor | Role::Administrator) {
        return Err(Problem::forbidden("this is for grantors and administrators"));
    }
    let (asked, mut body, form) = read(&door, &bytes)?;
    let today = door.registrar.today();
    let (told, simulating) = {
        let now = door.registrar.now().await?;
        if !asked.order.is_empty() {
            let from = asked.from.or_else(|| today.succ_opt()).unwrap_or(today);
            let next = reordered(&identity, &now, &asked.order, (today, from))?;
            let list = body.entries.entry("instructions").or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.extend(next.iter().cloned()));
        }
        let draft = drafts::draft(&identity, "", body);
        let (changes, places) = draft.changes(&now.standing().view);
        now.allowed(&identity, &changes, true)?;
        let candidate = now.with(&changes);
        let faults = conflicts((&identity, &now), &changes, &candidate.faults, &places, today);
        if !form.is_empty() {
            return Err(Problem::faults(&[form, faults].concat()));
        }
        let faults = faults.iter().map(|of| json!({"pointer": of.path, "detail": of.message}));
        let day = first_day(&changes).unwrap_or(today);
        let told = json!({
            "faults": faults.collect::<Vec<_>>(),
            "entries": draft.entries,
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
            "day": day.to_string(),
            "order": order(&identity, &candidate.registry, &changes, day),
        });
        let simulating = asked.simulate.filter(|_| candidate.faults.is_empty()).map(|days| {
            // What is to begin is tried on days that were.
            let changes = draft.changes_from(&now.standing().view, days.from);
            let registry = now.with(&changes).registry;
            let own = own(&identity, &registry);
            Simulating { registry, days, own }
        });
        (told, simulating)
    };
    let mut told = told;
    if let Some(simulating) = simulating {
        told["simulated"] = door.simulator.simulate(simulating).await?;
    }
    Ok(answer(StatusCode::OK, &told, None))
}

fn change(change: &Change) -> Value {
    let what = if change.entry.is_some() { "put" } else { "remove" };
    json!({"kind": change.kind.list(), "id": change.id, "change": what})
}

fn conflicts(
    (by, now): (&Identity, &Now<'_>),
    changes: &[Change],
    misfits: &[Misfit],
    places: &[String],
    today: NaiveDate,
) -> Vec<Fault> {
    let place = |at: usize| places.get(at).cloned().unwrap_or_default();
    let mut all: Vec<_> = misfits.iter().map(|misfit| now.told(by, misfit, place)).collect();
    let instructions = changes.iter().enumerate().filter(|(_, of)| of.kind == Kind::Instruction);
    all.extend(instructions.filter_map(|(at, change)| {
        let before = now.standing().entry(change.kind, &change.id);
        let fault = versions::fault(before, change.entry.as_ref(), today)?;
        Some(Fault { path: format!("{}{}", place(at), fault.path), ..fault })
    }));
    all
}

/// The first day on which all that is put is in force.
fn first_day(changes: &[Change]) -> Option<NaiveDate> {
    let put = changes.iter().filter(|change| change.kind == Kind::Instruction);
    let days =
        put.filter_map(|change| change.entry.as_ref()?["valid"]["from"].as_str()?.parse().ok());
    days.max()
}

/// The instructions of a day in the order in which they are tried. Of another grantor's only the grantor
/// and the priority are told.
fn order(by: &Identity, registry: &Registry, changes: &[Change], day: NaiveDate) -> Vec<Value> {
    let in_force = registry.instructions.iter().filter(|of| of.valid.contains(day));
    let mut all: Vec<_> = in_force.collect();
    all.sort_by(|one, other| (one.priority, &one.id).cmp(&(other.priority, &other.id)));
    let told = all.into_iter().map(|of| {
        let benefit = registry.benefits.iter().find(|benefit| benefit.id == of.benefit);
        let grantor = benefit.map(|benefit| benefit.grantor.as_str()).unwrap_or_default();
        if by.role != Role::Administrator && grantor != by.organisation.as_ref() {
            return json!({"grantor": grantor, "priority": of.priority});
        }
        let id = format!("{}/{}", of.id, of.version);
        let is_it = |change: &Change| change.kind == Kind::Instruction && change.id == id;
        let changed = changes.iter().any(is_it);
        json!({"grantor": grantor, "priority": of.priority, "instruction": of.id.as_str(),
            "version": of.version, "label": {"lv": of.label.lv, "en": of.label.en}, "changed": changed})
    });
    told.collect()
}
