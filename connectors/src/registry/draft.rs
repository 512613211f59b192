//! Drafts: changes of the registry that do not hold yet. A draft may run in the shadow of what holds, and
//! comes to hold when a second person approves it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::registry::Kind;
use ingest::{
    register::registry::{RegistryView, identity},
    wire::v1::RegistryChanged,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{standing::Change, translate, versions};

/// The list's name on the stream; what follows the registry alone passes it over.
pub const LIST: &str = "drafts";

/// Where a draft stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being written.
    Draft,
    /// It runs beside what holds, on what happens from now on, and gives nothing.
    Shadow,
    /// It waits for a second person.
    Submitted,
    /// It holds.
    Published,
    /// The second person did not want it.
    Rejected,
}

/// An entry that a draft removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The list's name in a registry file.
    pub kind: String,
    /// Its identity there.
    pub id: String,
}

/// A draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Its identifier.
    pub id: String,
    /// The role and the organisation of who began it.
    pub role: String,
    /// As in tokens; empty for nobody in particular.
    pub organisation: String,
    /// What it is about.
    pub note: String,
    /// Where it stands.
    pub state: State,
    /// What it puts, by list, in the registry file's form.
    pub entries: Map<String, Value>,
    /// What it removes.
    pub remove: Vec<Removed>,
    /// Who wrote it or submitted it: none of them approves it.
    pub written_by: Vec<String>,
    /// Who approved or rejected it.
    pub decided_by: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// The first local day of its shadow.
    pub shadow_since: Option<NaiveDate>,
}

impl Draft {
    /// What it would change of what stands now, and where in its body each change stands.
    #[must_use]
    pub fn changes(&self, view: &RegistryView) -> (Vec<Change>, Vec<String>) {
        self.expanded(view, |_| {})
    }

    /// What it would change if its instructions were in force from a day on, or from their own first day
    /// where that is earlier.
    #[must_use]
    pub fn changes_from(&self, view: &RegistryView, since: NaiveDate) -> Vec<Change> {
        self.expanded(view, |instruction| {
            let begins = instruction["valid"]["from"].as_str().and_then(|text| text.parse().ok());
            if begins.is_some_and(|from: NaiveDate| from > since) {
                instruction["valid"]["from"] = json!(since.to_string());
            }
        })
        .0
    }

    fn expanded(
        &self,
        view: &RegistryView,
        of_instruction: impl Fn(&mut Value),
    ) -> (Vec<Change>, Vec<String>) {
        let (mut changes, mut places) = (Vec::new(), Vec::new());
        for (list, entries) in &self.entries {
            let Some(kind) = Kind::of_list(list) else { continue };
            for (at, entry) in entries.as_array().into_iter().flatten().enumerate() {
                let mut entry = entry.clone();
                translate(&mut entry);
                if kind == Kind::Instruction {
                    of_instruction(&mut entry);
                    let id = entry["id"].as_str().unwrap_or_default().to_owned();
                    changes.extend(versions::put(view, &id, entry));
                } else {
                    changes.push(Change { kind, id: identity(kind, &entry), entry: Some(entry) });
                }
                // Putting an instruction may end its earlier version, too.
                places.resize(changes.len(), format!("/entries/{list}/{at}"));
            }
        }
        places.extend((0..self.remove.len()).map(|at| format!("/remove/{at}")));
        let removed = self.remove.iter().filter_map(|removed| {
            let kind = Kind::of_list(&removed.kind)?;
            Some(Change { kind, id: removed.id.clone(), entry: None })
        });
        changes.extend(removed);
        (changes, places)
    }
}

/// The drafts that there are, each with the offset of its last change.
#[derive(Debug, Default)]
pub struct Drafts(BTreeMap<String, (Draft, u64)>);

impl Drafts {
    /// Takes a change of the stream.
    pub(super) fn apply(&mut self, change: &RegistryChanged, offset: u64) {
        if change.kind != LIST {
            return;
        }
        match serde_json::from_str(&change.document) {
            Ok(draft) => self.0.insert(change.id.clone(), (draft, offset)),
            Err(_) => self.0.remove(&change.id),
        };
    }

    /// A draft, and the offset of its last change.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&(Draft, u64)> {
        self.0.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &(Draft, u64)> {
        self.0.values()
    }
}
