//! The one writer of a node's registry: what is asked for is checked whole against what stands, appended
//! as one batch, and only then told.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{period::LocalTime, registry::Kind};
use ingest::{
    audit::Deed,
    clock::Clock,
    dead_letter::Reason,
    document::Fault,
    error::LogError,
    log::Log,
    topic::Topic,
    wire::v1::{Event, RegistryChanged},
};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    news, records, rights,
    standing::{Candidate, Change, Misfit, Place, Standing},
    versions,
};
use crate::{
    access::{Identity, Role, TerminalKeys},
    problem::Problem,
};

/// How long the stream may stay silent before it is looked at anyway.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Checks a group's condition, as [`super::ConditionCheck`] does.
pub type Condition = fn(&str) -> Option<String>;
/// Hears of every deed, for the audit trail.
pub type Told = Arc<dyn Fn(Deed) + Send + Sync>;

/// What the registry of a node is changed through.
#[derive(Clone, Debug)]
pub struct Registrar(Arc<Inner>);

struct Inner {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    condition: Condition,
    told: Told,
    /// Whether a second person approves what decides about money.
    approval: bool,
    /// The terminals' keys, told whenever they change.
    keys: Arc<TerminalKeys>,
    standing: Mutex<Standing>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("approval", &self.approval).finish_non_exhaustive()
    }
}

/// What changes on the registry's stream beside its entries.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// The list's name.
    pub list: &'a str,
    /// The identity in it.
    pub id: &'a str,
    /// What it is from now on, as JSON; empty where it is gone.
    pub document: String,
}

/// The registry as it stands, while nobody changes it.
#[derive(Debug)]
pub struct Now<'a> {
    inner: &'a Inner,
    guard: MutexGuard<'a, Standing>,
}

/// A change of an entry that was.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Its offset: the number in the entry's tag.
    pub offset: u64,
    /// The change.
    pub change: RegistryChanged,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

impl Registrar {
    /// The registrar of a node. `approval` says whether a second person approves what decides about money.
    #[must_use]
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        condition: Condition,
        told: Told,
        approval: bool,
        keys: Arc<TerminalKeys>,
    ) -> Self {
        let standing = Mutex::default();
        Self(Arc::new(Inner { log, clock, condition, told, approval, keys, standing }))
    }

    /// Follows the stream, for ever, so that the terminals' keys are those of now.
    pub async fn follow(&self) {
        let mut grown = self.0.log.subscribe(Topic::RegistryChanges);
        loop {
            // What cannot be read is told by whoever asks next.
            drop(self.now().await);
            let _ = tokio::time::timeout(LONGEST_PAUSE, grown.changed()).await;
        }
    }

    /// The registry as the stream has it now; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// 503 where the stream cannot be read.
    pub async fn now(&self) -> Result<Now<'_>, Problem> {
        let inner = &*self.0;
        let mut guard = inner.standing.lock().await;
        inner.follow(&mut guard).await.map_err(unavailable)?;
        Ok(Now { inner, guard })
    }

    /// The present instant.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// The local day.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        LocalTime::of(self.instant()).date
    }

    /// Tells the audit trail.
    pub fn tell(&self, by: &Identity, action: &'static str, object: String) {
        (self.0.told)(Deed {
            actor: by.subject.to_string(),
            role: by.role.code().into(),
            action,
            object,
            outcome: "done".into(),
        });
    }
}

impl Inner {
    async fn follow(&self, standing: &mut Standing) -> Result<(), LogError> {
        let news = news(&self.log, standing.view.version()).await?;
        if !news.is_empty() {
            standing.apply(&news);
            self.keys.set(standing.keys());
        }
        Ok(())
    }
}

impl Now<'_> {
    /// What stands.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.guard
    }

    /// What stands, with changes in it.
    #[must_use]
    pub fn with(&self, changes: &[Change]) -> Candidate {
        self.standing().with(changes, &self.inner.condition)
    }

    /// What is wrong with a group's condition.
    #[must_use]
    pub fn condition(&self, text: &str) -> Option<String> {
        (self.inner.condition)(text)
    }

    /// Why somebody may not make changes: what is another's is not there for them. Needs somebody to
    /// approve it what `approved` does not say has been.
    ///
    /// # Errors
    /// 403 or 404.
    pub fn allowed(
        &self,
        by: &Identity,
        changes: &[Change],
        approved: bool,
    ) -> Result<(), Problem> {
        let changed: HashMap<(Kind, &str), &Change> =
            changes.iter().map(|change| ((change.kind, change.id.as_str()), change)).collect();
        let put = |kind: Kind, id: &str| match changed.get(&(kind, id)) {
            Some(change) => change.entry.as_ref(),
            None => self.standing().entry(kind, id),
        };
        let was = |kind: Kind, id: &str| self.standing().entry(kind, id);
        for Change { kind, id, entry } in changes {
            let name = rights::path_of(*kind);
            if rights::of(by.role, *kind).change == rights::Reach::Nothing {
                let role = by.role.code();
                return Err(Problem::forbidden(format!("the role {role} changes no {name}")));
            }
            let before = was(*kind, id);
            if before.is_some_and(|before| !rights::changes(by, *kind, before, &was)) {
                return Err(none(*kind, id));
            }
            if entry.as_ref().is_some_and(|entry| !rights::changes(by, *kind, entry, &put)) {
                let detail =
                    format!("{name} {id} would not be of the organisation that you act for");
                return Err(Problem::forbidden(detail));
            }
            if *kind == Kind::Instruction
                && let Some(entry) = entry
            {
                // All versions of an instruction are of one grantor.
                let of = entry["id"].as_str().unwrap_or_default();
                let others = versions::of(&self.standing().view, of);
                let mut others = others.iter().map(|(_, version)| &version.document);
                if others.any(|version| !rights::changes(by, *kind, version, &was)) {
                    return Err(none(*kind, of));
                }
                if let Some((list, group)) = hidden(by, entry, &put) {
                    let message = format!("there is no {group} in groups");
                    let path = format!("/recipients/{list}");
                    let reason = Reason::UnknownReference;
                    return Err(Problem::faults(&[Fault { reason, path, message }]));
                }
            }
            if !approved && before != entry.as_ref() && self.wants_approval(by.role, *kind) {
                let detail = format!(
                    "{name} come to hold when a second person approves them: put a draft at \
                     /v1/drafts/{{id}} and submit it"
                );
                let (status, title) = (StatusCode::FORBIDDEN, "Needs approval");
                return Err(Problem::new(status, "needs_approval", title, detail));
            }
        }
        Ok(())
    }

    fn wants_approval(&self, role: Role, kind: Kind) -> bool {
        let decides = match kind {
            Kind::Instruction | Kind::Group => true,
            // What makes approved instructions give at other merchants and in other places.
            Kind::Contract | Kind::EService => role != Role::Administrator,
            Kind::Place => role == Role::Merchant,
            _ => false,
        };
        self.inner.approval && decides
    }

    /// What is wrong with changes: the faults of their form, which are known, and of what would stand, and
    /// what may not change any more.
    ///
    /// # Errors
    /// 422 with each fault and its pointer, which `pointer` completes by the number of the change; 409
    /// where what stands does not allow it.
    pub fn checked(
        &self,
        by: &Identity,
        changes: &[Change],
        pointer: impl Fn(usize) -> String,
        form: Vec<Fault>,
    ) -> Result<Candidate, Problem> {
        let today = LocalTime::of(self.inner.clock.now()).date;
        let candidate = self.with(changes);
        let (of_changes, of_others): (Vec<_>, Vec<_>) =
            candidate.faults.iter().partition(|misfit| matches!(misfit.place, Place::Change(_)));
        let told = |misfits: Vec<&Misfit>| -> Vec<Fault> {
            misfits.into_iter().map(|misfit| self.told(by, misfit, &pointer)).collect()
        };
        let own = [form, told(of_changes)].concat();
        if !own.is_empty() {
            return Err(Problem::faults(&own));
        }
        let conflict = |code, title, faults: &[Fault]| {
            Err(Problem::faults_as(StatusCode::CONFLICT, code, title, faults))
        };
        let applied: Vec<_> = changes
            .iter()
            .enumerate()
            .filter(|(_, change)| change.kind == Kind::Instruction)
            .filter_map(|(number, change)| {
                let before = self.standing().entry(change.kind, &change.id);
                let fault = versions::fault(before, change.entry.as_ref(), today)?;
                Some(Fault { path: format!("{}{}", pointer(number), fault.path), ..fault })
            })
            .collect();
        if !applied.is_empty() {
            return conflict("in_force", "Has been applied", &applied);
        }
        let dangling = told(of_others);
        if !dangling.is_empty() {
            return conflict("referred_to", "Something else needs it", &dangling);
        }
        Ok(candidate)
    }

    /// A fault as somebody is told of it: where in what they put, which `pointer` completes by the number of
    /// the change, or which other entry it is, as far as they may know of that.
    #[must_use]
    pub fn told(&self, by: &Identity, misfit: &Misfit, pointer: impl Fn(usize) -> String) -> Fault {
        let Misfit { place, fault } = misfit;
        let find = |kind: Kind, id: &str| self.standing().entry(kind, id);
        let (path, message) = match place {
            Place::Change(change) => {
                (format!("{}{}", pointer(*change), fault.path), fault.message.clone())
            }
            Place::Entry(kind, id) => {
                let entry = find(*kind, id);
                let list = rights::path_of(*kind);
                let message = match entry {
                    Some(entry) if rights::reads(by, *kind, entry, &find) => {
                        format!("{list} {id}{}: {}", fault.path, fault.message)
                    }
                    _ => format!("one of {list} would not fit any more"),
                };
                (String::new(), message)
            }
            Place::Nowhere => (String::new(), fault.message.clone()),
        };
        Fault { path, message, reason: fault.reason }
    }

    /// Appends changes that were allowed and checked, and what changes beside them, as one batch.
    ///
    /// # Errors
    /// 503 where the stream takes nothing.
    pub async fn commit(
        &mut self,
        by: &Identity,
        changes: &[Change],
        beside: Option<Beside<'_>>,
    ) -> Result<(), Problem> {
        let standing = self.standing();
        let differing = changes
            .iter()
            .filter(|change| standing.entry(change.kind, &change.id) != change.entry.as_ref());
        let changed_by = format!("{}:{}", by.role.code(), by.subject);
        let of_entries = differing.map(|change| RegistryChanged {
            kind: change.kind.list().into(),
            id: change.id.clone(),
            document: change.entry.as_ref().map(Value::to_string).unwrap_or_default(),
            changed_by: changed_by.clone(),
        });
        let beside = beside.map(|Beside { list, id, document }| RegistryChanged {
            kind: list.to_owned(),
            id: id.to_owned(),
            document,
            changed_by: changed_by.clone(),
        });
        let (now, version) = (self.inner.clock.now(), standing.view.version());
        let records = records(version, of_entries.chain(beside), now);
        if records.is_empty() {
            return Ok(());
        }
        let inner = self.inner;
        inner.log.append(Topic::RegistryChanges, &records).await.map_err(unavailable)?;
        inner.follow(&mut self.guard).await.map_err(unavailable)
    }

    /// The last changes of an entry before an offset, the newest first.
    ///
    /// # Errors
    /// 503 where the stream cannot be read.
    pub async fn history(
        &self,
        list: &str,
        id: &str,
        before: u64,
        most: usize,
    ) -> Result<Vec<Past>, Problem> {
        let offsets = self.standing().offsets(list, id);
        let older = offsets.iter().rev().filter(|offset| **offset < before).take(most);
        let mut history = Vec::new();
        for offset in older {
            let read = self.inner.log.read(Topic::RegistryChanges, 0, *offset, 1).await;
            for stored in read.map_err(unavailable)? {
                // What a compaction let go of is not there any more; the next one would come instead.
                let (position, at) = (stored.position, stored.record.recorded_at);
                if let Event::RegistryChanged(change) = stored.record.event
                    && position.offset == *offset
                {
                    history.push(Past { offset: *offset, change, at });
                }
            }
        }
        Ok(history)
    }
}

/// A group that an instruction names and that is another's, with the list that names it.
fn hidden<'a>(
    by: &Identity,
    instruction: &'a Value,
    find: rights::Find<'_>,
) -> Option<(&'static str, &'a str)> {
    ["any", "all", "none"].into_iter().find_map(|list| {
        let named = instruction["recipients"][list].as_array().into_iter().flatten();
        let mut named = named.filter_map(Value::as_str);
        let is_hidden = |id: &&str| {
            let group = find(Kind::Group, id);
            group.is_some_and(|group| !rights::reads(by, Kind::Group, group, find))
        };
        Some((list, named.find(is_hidden)?))
    })
}

/// There is no such entry, or none for who asks.
#[must_use]
pub fn none(kind: Kind, id: &str) -> Problem {
    Problem::not_found(format!("there is no {id} in {}", rights::path_of(kind)))
}

fn unavailable(error: LogError) -> Problem {
    tracing::error!(%error, "the registry's stream cannot be used");
    Problem::unavailable("the registry's stream cannot be used now")
}
