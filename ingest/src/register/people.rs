//! The person register: who is known, with which attributes, in which family.
//!
//! The only view that holds attributes in the clear, in memory; the stream holds them sealed.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::{id::RecipientId, masked::Masked, person_code::PersonCode};
use serde_json::{Map, Value};

use crate::{
    record::Stored,
    vault::{Vault, VaultError},
    wire::v1::{Event, PersonChanged},
};

/// One person, as the register's newest change has it.
#[derive(Clone, Debug)]
pub struct Person {
    /// The register's count of this person's changes.
    pub sequence: u64,
    /// When the newest change happened.
    pub event_time: DateTime<Utc>,
    /// The attributes; `None` once the person has left the register.
    pub attributes: Option<Masked<Map<String, Value>>>,
}

impl Person {
    /// The text of an attribute, where it is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.as_ref()?.expose().get(name)?.as_str()
    }

    /// The register's id of the family.
    #[must_use]
    pub fn family_id(&self) -> Option<&str> {
        self.text("family_id")
    }

    /// Whether the person lives: in the register and not said to be dead.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.attributes.is_some() && self.text("status").is_none_or(|status| status == "alive")
    }
}

/// Everybody whom the register has told of.
#[derive(Debug, Default)]
pub struct People {
    people: HashMap<RecipientId, Person>,
    families: HashMap<String, BTreeSet<RecipientId>>,
}

/// Seals what the register says of a person.
///
/// # Errors
/// Where the person has no key.
pub fn seal(
    vault: &Vault,
    id: RecipientId,
    code: &PersonCode,
    attributes: &Map<String, Value>,
) -> Result<Vec<u8>, VaultError> {
    let plain = serde_json::json!({ "person": code.expose(), "attributes": attributes });
    vault.seal(id, plain.to_string().as_bytes())
}

/// Seals what an event of the register says of a person, with the event's own id: by it the register
/// knows whom it was about, and it may tell others, too.
///
/// # Errors
/// Where the person has no key.
pub fn seal_event(
    vault: &Vault,
    id: RecipientId,
    code: &PersonCode,
    attributes: &Map<String, Value>,
    event_id: &str,
) -> Result<Vec<u8>, VaultError> {
    let plain = serde_json::json!({
        "person": code.expose(), "attributes": attributes, "event_id": event_id,
    });
    vault.seal(id, plain.to_string().as_bytes())
}

/// The register's own id of the event that a change came by; none where it was not kept, or the
/// person was erased.
#[must_use]
pub fn event_id(vault: &Vault, change: &PersonChanged) -> Option<String> {
    let plain = vault.unseal(RecipientId::parse(&change.person)?, &change.sealed).ok()?;
    let value: Value = serde_json::from_slice(&plain).ok()?;
    value.get("event_id")?.as_str().map(str::to_owned)
}

impl People {
    /// Takes one record of `person-changes`; answers whose state changed. A change that is not newer
    /// than the known one changes nothing, and an erased person stays unknown.
    ///
    /// # Errors
    /// Where the vault fails or sealed data is damaged.
    pub fn apply(
        &mut self,
        vault: &Vault,
        stored: &Stored,
    ) -> Result<Option<RecipientId>, VaultError> {
        let Event::PersonChanged(change) = &stored.record.event else { return Ok(None) };
        let Some(id) = RecipientId::parse(&change.person) else { return Ok(None) };
        if self.people.get(&id).is_some_and(|known| is_older(change, known)) {
            return Ok(None);
        }
        let attributes = match unseal(vault, id, change) {
            Ok(attributes) => attributes,
            Err(VaultError::NoKey) => None,
            Err(error) => return Err(error),
        };
        let person = Person {
            sequence: change.person_sequence,
            event_time: stored.record.event_time,
            attributes: attributes.map(Masked::new),
        };
        self.leave_family(id);
        if let Some(family) = person.family_id() {
            self.families.entry(family.to_owned()).or_default().insert(id);
        }
        self.people.insert(id, person);
        Ok(Some(id))
    }

    /// A person.
    #[must_use]
    pub fn get(&self, id: RecipientId) -> Option<&Person> {
        self.people.get(&id)
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RecipientId, &Person)> {
        self.people.iter().map(|(id, person)| (*id, person))
    }

    /// The members of a family, living or not.
    pub fn family(&self, family_id: &str) -> impl Iterator<Item = RecipientId> + '_ {
        self.families.get(family_id).into_iter().flatten().copied()
    }

    /// How many people the register has told of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether the register has told of nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn leave_family(&mut self, id: RecipientId) {
        let Some(family) = self.people.get(&id).and_then(Person::family_id) else { return };
        let family = family.to_owned();
        if let Some(members) = self.families.get_mut(&family) {
            members.remove(&id);
            if members.is_empty() {
                self.families.remove(&family);
            }
        }
    }
}

/// Whether a change is not newer than what is known. Who was missing from a snapshot was removed
/// under the next number, which the register itself gives when the person comes back.
fn is_older(change: &PersonChanged, known: &Person) -> bool {
    let comes_back = known.attributes.is_none() && !change.removed;
    known.sequence > change.person_sequence
        || (known.sequence == change.person_sequence && !comes_back)
}

fn unseal(
    vault: &Vault,
    id: RecipientId,
    change: &PersonChanged,
) -> Result<Option<Map<String, Value>>, VaultError> {
    if change.removed {
        return Ok(None);
    }
    let plain = vault.unseal(id, &change.sealed)?;
    let value: Value = serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)?;
    match value {
        Value::Object(mut object) => match object.remove("attributes") {
            Some(Value::Object(attributes)) => Ok(Some(attributes)),
            _ => Err(VaultError::Damaged),
        },
        _ => Err(VaultError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Position, Record, outside_id};

    fn change(vault: &Vault, code: &str, sequence: u64, attributes: Option<Value>) -> Stored {
        let code = PersonCode::parse(code).expect("a code");
        let id = vault.enrol(std::slice::from_ref(&code)).expect("an id")[0];
        let sealed = match &attributes {
            Some(Value::Object(attributes)) => seal(vault, id, &code, attributes).expect("sealed"),
            _ => Vec::new(),
        };
        let event = Event::PersonChanged(PersonChanged {
            person: id.to_string(),
            person_sequence: sequence,
            sealed,
            removed: attributes.is_none(),
            snapshot: false,
        });
        let record = Record {
            id: outside_id("/dagr/persons", &sequence.to_string()),
            key: id.to_string(),
            source: "/dagr/persons".into(),
            sequence,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event,
        };
        Stored { position: Position { partition: 0, offset: sequence }, record }
    }

    #[test]
    fn changes_are_taken_in_order_and_families_follow() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let mut people = People::default();
        let attributes =
            |family: &str| Some(serde_json::json!({"family_id": family, "status": "alive"}));
        let first = change(&vault, "326180-33995", 1, attributes("F-1"));
        let id = people.apply(&vault, &first).expect("taken").expect("changed");
        assert_eq!(people.family("F-1").collect::<Vec<_>>(), [id]);
        let moved = change(&vault, "326180-33995", 3, attributes("F-2"));
        people.apply(&vault, &moved).expect("taken");
        let older = change(&vault, "326180-33995", 2, attributes("F-1"));
        assert_eq!(people.apply(&vault, &older).expect("passed over"), None);
        assert_eq!(people.family("F-1").count(), 0);
        assert_eq!(people.family("F-2").collect::<Vec<_>>(), [id]);
        let gone = change(&vault, "326180-33995", 4, None);
        people.apply(&vault, &gone).expect("taken");
        assert!(!people.get(id).expect("known").alive());
        assert_eq!(people.family("F-2").count(), 0);
        let back = change(&vault, "326180-33995", 4, attributes("F-1"));
        people.apply(&vault, &back).expect("taken");
        assert!(people.get(id).expect("known").alive());
    }

    #[test]
    fn an_erased_person_has_no_attributes() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let stored = change(&vault, "326180-33995", 1, Some(serde_json::json!({"a": 1})));
        let Event::PersonChanged(event) = &stored.record.event else { panic!("a person") };
        let id = RecipientId::parse(&event.person).expect("an id");
        vault.destroy(&[id]).expect("destroyed");
        let mut people = People::default();
        people.apply(&vault, &stored).expect("passed over");
        assert!(people.get(id).is_some_and(|person| person.attributes.is_none()));
    }
}
