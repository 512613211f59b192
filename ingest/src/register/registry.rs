//! The registry: its document, checked; and the view that its stream makes.

use std::{collections::BTreeMap, sync::Arc};

use domain::registry::{Kind, Registry};
use serde_json::{Map, Value};

use crate::{
    record::Stored,
    wire::v1::{Event, RegistryChanged},
};

mod cursor;
mod decode;
mod decode_instruction;
mod decode_service;
mod references;

pub use cursor::Fault;

/// A whole registry document as the domain's types.
///
/// # Errors
/// Every fault of form and reference, all at once, in the order of the document.
pub fn decode(document: &Value) -> Result<Registry, Vec<Fault>> {
    let (registry, mut faults) = decode::document(document);
    faults.extend(references::faults(&registry));
    if faults.is_empty() { Ok(registry) } else { Err(faults) }
}

/// The registry as its stream has it so far.
#[derive(Debug, Default)]
pub struct RegistryView {
    entries: BTreeMap<(Kind, String), Value>,
    registry: Arc<Registry>,
    version: u64,
}

impl RegistryView {
    /// Takes records of `registry-changes`, in order.
    pub fn apply(&mut self, batch: &[Stored]) {
        for stored in batch {
            self.version = stored.position.offset + 1;
            let Event::RegistryChanged(change) = &stored.record.event else { continue };
            let Some(kind) = Kind::of_list(&change.kind) else { continue };
            let key = (kind, change.id.clone());
            match serde_json::from_str(&change.document) {
                Ok(document) => self.entries.insert(key, document),
                Err(_) => self.entries.remove(&key),
            };
        }
        // What was appended had been checked; a stream of another version that does not decode
        // leaves what does.
        self.registry = Arc::new(decode::document(&self.document()).0);
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The offset after the last change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The registry as one document, as `avis registry export` writes it.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut lists: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
        for ((kind, _), entry) in &self.entries {
            lists.entry(*kind).or_default().push(entry.clone());
        }
        let lists = lists.into_iter().map(|(kind, list)| (kind.list().to_owned(), Value::Array(list)));
        Value::Object(lists.collect::<Map<_, _>>())
    }

    /// What makes this registry the wanted one: entries added, changed and removed.
    #[must_use]
    pub fn changes_to(&self, wanted: &Value) -> Vec<RegistryChanged> {
        let wanted = entries(wanted);
        let changed = wanted.iter().filter(|(key, entry)| self.entries.get(*key) != Some(entry));
        let removed = self.entries.keys().filter(|key| !wanted.contains_key(*key));
        let change = |(kind, id): &(Kind, String), document: String| RegistryChanged {
            kind: kind.list().into(),
            id: id.clone(),
            document,
        };
        let changed = changed.map(|(key, entry)| change(key, entry.to_string()));
        changed.chain(removed.map(|key| change(key, String::new()))).collect()
    }
}

/// The entries of a document by kind and identity.
fn entries(document: &Value) -> BTreeMap<(Kind, String), Value> {
    let mut entries = BTreeMap::new();
    for kind in Kind::ALL {
        let list = document.get(kind.list()).and_then(Value::as_array);
        for entry in list.into_iter().flatten() {
            entries.insert((kind, identity(kind, entry)), entry.clone());
        }
    }
    entries
}

/// An entry's identity in its list: of a catalogue's item merchant and item, of an instruction id
/// and version, of a subsidy its first day, else its id.
pub(crate) fn identity(kind: Kind, entry: &Value) -> String {
    let field = |name: &str| match entry.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    match kind {
        Kind::CatalogueItem => format!("{}/{}", field("merchant"), field("item")),
        Kind::Instruction => format!("{}/{}", field("id"), field("version")),
        Kind::Subsidy => field("from"),
        _ => field("id"),
    }
}
