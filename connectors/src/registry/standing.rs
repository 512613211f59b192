//! The registry as it stands, and what a change would make of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::registry::{Kind, Registry};
use ingest::{
    document::Fault,
    record::Stored,
    register::registry::{RegistryView, identity},
    wire::v1::Event,
};
use serde_json::{Map, Value};

use super::{ConditionCheck, check, draft::Drafts};
use crate::{
    access::terminal_key::kid,
    terminal::enrolment::{Enrolled, Enrolments},
};

/// One entry that is put, or removed where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its kind.
    pub kind: Kind,
    /// Its identity in its list.
    pub id: String,
    /// What it is from now on.
    pub entry: Option<Value>,
}

/// The registry, the drafts of it, and where on the stream each entry changed.
#[derive(Debug, Default)]
pub struct Standing {
    /// What holds.
    pub view: RegistryView,
    /// What may come to hold.
    pub drafts: Drafts,
    /// The terminals' keys.
    pub enrolments: Enrolments,
    history: BTreeMap<(String, String), Vec<u64>>,
    conditions: HashSet<String>,
}

/// A registry that is not yet: what stands, with changes in it.
#[derive(Debug)]
pub struct Candidate {
    /// The whole document.
    pub document: Value,
    /// What can be read of it.
    pub registry: Registry,
    /// What is wrong with it.
    pub faults: Vec<Misfit>,
}

/// A fault of a candidate, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// In which entry.
    pub place: Place,
    /// What is wrong; the path is within the entry.
    pub fault: Fault,
}

/// In which entry a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In that of a change.
    Change(usize),
    /// In one that stands, which the changes do not fit.
    Entry(Kind, String),
    /// In none that could be told.
    Nowhere,
}

impl Standing {
    /// Takes records of `registry-changes`, in order.
    pub fn apply(&mut self, batch: &[Stored]) {
        self.view.apply(batch);
        for stored in batch {
            let Event::RegistryChanged(change) = &stored.record.event else { continue };
            self.drafts.apply(change, stored.position.offset);
            self.enrolments.apply(change);
            let key = (change.kind.clone(), change.id.clone());
            self.history.entry(key).or_default().push(stored.position.offset);
        }
        let groups = self.view.after(Kind::Group, "");
        let texts = groups.filter_map(|(_, entry)| entry.document["where"].as_str());
        self.conditions = texts.map(str::to_owned).collect();
    }

    /// The merchant whose terminal it is.
    #[must_use]
    pub fn merchant_of(&self, terminal: &str) -> Option<&str> {
        let place = self.entry(Kind::Terminal, terminal)?["place"].as_str()?;
        self.entry(Kind::Place, place)?["merchant"].as_str()
    }

    /// What is known of a terminal's keys, as long as it is the same merchant's: who had the id before, or
    /// the terminal, signs for nobody any more.
    #[must_use]
    pub fn enrolled(&self, terminal: &str) -> Option<&Enrolled> {
        let merchant = self.merchant_of(terminal)?;
        self.enrolments.of(terminal).filter(|enrolled| enrolled.merchant == merchant)
    }

    /// The keys that hold, by the names that tokens have.
    pub fn keys(&self) -> impl Iterator<Item = (String, String)> {
        let terminals = self.enrolments.terminals();
        let enrolled = terminals.filter_map(|id| Some((id, self.enrolled(id)?)));
        enrolled.flat_map(|(terminal, enrolled)| {
            enrolled.holding().map(move |key| (kid(terminal, &key.id), key.public_key.clone()))
        })
    }

    /// The offsets of all changes of an entry, in order.
    #[must_use]
    pub fn offsets(&self, list: &str, id: &str) -> &[u64] {
        self.history.get(&(list.to_owned(), id.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The identities that ever stood in a list and begin so, in order.
    pub fn ever(&self, list: &str, beginning: &str) -> impl Iterator<Item = &str> {
        let from = (list.to_owned(), beginning.to_owned());
        let below = self.history.range(from.clone()..);
        below
            .take_while(move |((of, id), _)| *of == from.0 && id.starts_with(&from.1))
            .map(|((_, id), _)| id.as_str())
    }

    /// An entry as it stands.
    #[must_use]
    pub fn entry(&self, kind: Kind, id: &str) -> Option<&Value> {
        self.view.entry(kind, id).map(|entry| &entry.document)
    }

    /// The registry with changes in it, and what is wrong then.
    #[must_use]
    pub fn with(&self, changes: &[Change], condition: ConditionCheck<'_>) -> Candidate {
        let mut entries: BTreeMap<(Kind, &str), (Option<usize>, &Value)> = BTreeMap::new();
        for kind in Kind::ALL {
            let standing = self.view.after(kind, "");
            entries.extend(standing.map(|(id, entry)| ((kind, id), (None, &entry.document))));
        }
        for (at, change) in changes.iter().enumerate() {
            let key = (change.kind, change.id.as_str());
            match &change.entry {
                Some(entry) => entries.insert(key, (Some(at), entry)),
                None => entries.remove(&key),
            };
        }
        let mut lists: Map<String, Value> = Map::new();
        let mut from: HashMap<String, Vec<Option<usize>>> = HashMap::new();
        for ((kind, _), (at, entry)) in entries {
            let list = lists.entry(kind.list()).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().into_iter().for_each(|list| list.push(entry.clone()));
            from.entry(kind.list().to_owned()).or_default().push(at);
        }
        let document = Value::Object(lists);
        // What stands has been looked at before.
        let unknown = |text: &str| match self.conditions.contains(text) {
            true => None,
            false => condition(text),
        };
        let (registry, faults) = check(&document, &unknown);
        let faults = faults.into_iter().map(|fault| located(fault, &document, &from)).collect();
        Candidate { document, registry, faults }
    }
}

/// A fault of the whole document as one of a change, or of an entry that is named.
fn located(
    mut fault: Fault,
    document: &Value,
    from: &HashMap<String, Vec<Option<usize>>>,
) -> Misfit {
    let mut steps = fault.path.splitn(4, '/').skip(1);
    let (list, at, rest) = (steps.next(), steps.next(), steps.next());
    let list = list.unwrap_or_default().to_owned();
    let place = at.and_then(|at| at.parse::<usize>().ok());
    let change = place.and_then(|place| *from.get(&list)?.get(place)?);
    fault.path = rest.map(|rest| format!("/{rest}")).unwrap_or_default();
    let place = match (change, place, Kind::of_list(&list)) {
        (Some(change), ..) => Place::Change(change),
        (None, Some(place), Some(kind)) => {
            Place::Entry(kind, identity(kind, &document[&list][place]))
        }
        _ => Place::Nowhere,
    };
    Misfit { place, fault }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ingest::{
        record::{Position, Record, outside_id},
        wire::v1::RegistryChanged,
    };
    use serde_json::json;

    use super::*;

    fn standing(entries: &[(Kind, Value)]) -> Standing {
        let mut standing = Standing::default();
        let stored = |(offset, (kind, entry)): (u64, &(Kind, Value))| Stored {
            position: Position { partition: 0, offset },
            record: Record {
                id: outside_id("registry", &offset.to_string()),
                key: "registry".into(),
                source: "registry".into(),
                sequence: offset,
                event_time: DateTime::UNIX_EPOCH,
                recorded_at: DateTime::UNIX_EPOCH,
                event: Event::RegistryChanged(RegistryChanged {
                    kind: kind.list().into(),
                    id: identity(*kind, entry),
                    document: entry.to_string(),
                    changed_by: String::new(),
                }),
            },
        };
        let batch: Vec<_> = (0..).zip(entries).map(stored).collect();
        standing.apply(&batch);
        standing
    }

    #[test]
    fn faults_are_of_the_change_that_has_them_or_name_what_no_longer_fits() {
        let standing = standing(&[
            (Kind::Merchant, json!({"id": "shop"})),
            (Kind::Place, json!({"id": "shop-1", "merchant": "shop", "territory": "LV0001000"})),
        ]);
        let removed = Change { kind: Kind::Merchant, id: "shop".into(), entry: None };
        let place = json!({"id": "shop-0", "merchant": "shop", "territory": "Riga"});
        let put = Change { kind: Kind::Place, id: "shop-0".into(), entry: Some(place) };
        let candidate = standing.with(&[removed, put], &|_| None);
        let told = &candidate.faults;
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(
            (&told[0].place, told[0].fault.path.as_str()),
            (&Place::Change(1), "/territory")
        );
        assert_eq!(told[1].place, Place::Entry(Kind::Place, "shop-1".into()));
        assert_eq!(told[1].fault.to_string(), "/merchant: there is no shop in merchants");
    }
}
