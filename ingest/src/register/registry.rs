//! The registry: its document, checked; and the view that its stream makes.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use domain::registry::{Kind, Registry};
use serde_json::{Map, Value};

use crate::{
    document::Fault,
    record::Stored,
    wire::v1::{Event, RegistryChanged},
};

mod decode;
mod decode_instruction;
mod decode_service;
mod references;

/// A registry document as far as it can be read.
#[derive(Debug)]
pub struct Decoded {
    /// The entries without a fault of form.
    pub registry: Registry,
    /// Every fault of form and reference.
    pub faults: Vec<Fault>,
    /// Of each entry its place in the document's list.
    places: BTreeMap<Kind, Vec<usize>>,
}

impl Decoded {
    /// The path in the document of a path into [`registry`](Self::registry): entries with a fault
    /// of form are left out there, so places in lists differ.
    #[must_use]
    pub fn in_document(&self, path: &str) -> String {
        let moved = || {
            let (list, rest) = path.strip_prefix('/')?.split_once('/')?;
            let (at, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let place = self.places.get(&Kind::of_list(list)?)?.get(at.parse::<usize>().ok()?)?;
            let slash = if rest.is_empty() { "" } else { "/" };
            Some(format!("/{list}/{place}{slash}{rest}"))
        };
        moved().unwrap_or_else(|| path.to_owned())
    }
}

/// A whole registry document as the domain's types.
///
/// # Errors
/// Every fault of form and reference, all at once.
pub fn decode(document: &Value) -> Result<Registry, Vec<Fault>> {
    let Decoded { registry, faults, .. } = decode_all(document);
    if faults.is_empty() { Ok(registry) } else { Err(faults) }
}

/// What can be read of a document, and every fault of form and reference.
#[must_use]
pub fn decode_all(document: &Value) -> Decoded {
    let mut decoded = decode::document(document);
    let references = references::faults(&decoded.registry, document);
    let moved = references
        .into_iter()
        .map(|fault| Fault { path: decoded.in_document(&fault.path), ..fault });
    let moved: Vec<_> = moved.collect();
    decoded.faults.extend(moved);
    decoded
}

/// An entry as its last change left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry in the registry file's form.
    pub document: Value,
    /// The offset of the change that made it so.
    pub changed: u64,
}

/// The registry as its stream has it so far.
#[derive(Debug, Default)]
pub struct RegistryView {
    entries: BTreeMap<(Kind, String), Entry>,
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
                Ok(document) => {
                    let changed = stored.position.offset;
                    self.entries.insert(key, Entry { document, changed })
                }
                Err(_) => self.entries.remove(&key),
            };
        }
        // What was appended had been checked; a stream of another version that does not decode
        // leaves what does.
        self.registry = Arc::new(decode::document(&self.document()).registry);
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

    /// An entry by its kind and identity: of a catalogue's item `<merchant>/<item>`, of an instruction
    /// `<id>/<version>`, of a subsidy its first day, else its id.
    #[must_use]
    pub fn entry(&self, kind: Kind, id: &str) -> Option<&Entry> {
        self.entries.get(&(kind, id.to_owned()))
    }

    /// The entries of a kind whose identities come after one, in order.
    pub fn after<'a>(
        &'a self,
        kind: Kind,
        id: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let after = (Bound::Excluded((kind, id.to_owned())), Bound::Unbounded);
        let of_kind = self.entries.range(after).take_while(move |((of, _), _)| *of == kind);
        of_kind.map(|((_, id), entry)| (id.as_str(), entry))
    }

    /// The registry as one document, as `avis registry export` writes it.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut lists: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
        for ((kind, _), entry) in &self.entries {
            lists.entry(*kind).or_default().push(entry.document.clone());
        }
        let lists =
            lists.into_iter().map(|(kind, list)| (kind.list().to_owned(), Value::Array(list)));
        Value::Object(lists.collect::<Map<_, _>>())
    }

    /// What makes this registry the wanted one: entries added, changed and removed.
    #[must_use]
    pub fn changes_to(&self, wanted: &Value) -> Vec<RegistryChanged> {
        let wanted = entries(wanted);
        let is_known = |key: &(Kind, String), entry: &Value| {
            self.entries.get(key).is_some_and(|of| of.document == *entry)
        };
        let changed = wanted.iter().filter(|(key, entry)| !is_known(key, entry));
        let removed = self.entries.keys().filter(|key| !wanted.contains_key(*key));
        let change = |(kind, id): &(Kind, String), document: String| RegistryChanged {
            kind: kind.list().into(),
            id: id.clone(),
            document,
            changed_by: String::new(),
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
#[must_use]
pub fn identity(kind: Kind, entry: &Value) -> String {
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
