//! The person register: who is known, with which attributes, in which family.
//!
//! The only view that holds attributes in the clear, in memory; the stream holds them sealed.

use domain::{
    id::{HouseholdId, RecipientId},
    person_code::PersonCode,
};
use serde::Serialize;

use self::attributes::{Names, Packed, Spelled};
use crate::{
    dense::Dense,
    document::Json,
    record::Stored,
    vault::{Vault, VaultError},
    wire::v1::{Event, PersonChanged},
};

mod attributes;

pub use attributes::{Attribute, AttributeName};

/// One person, as the register's newest change has it.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    held: &'a Held,
    names: &'a Names,
}

/// What is kept of a person.
struct Held {
    /// The register's count of this person's changes.
    sequence: u64,
    attributes: Packed,
    /// Whether the person is in the register.
    present: bool,
}

impl std::fmt::Debug for Person<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("sequence", &self.held.sequence).finish_non_exhaustive()
    }
}

impl<'a> Person<'a> {
    /// The register's count of this person's changes.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.held.sequence
    }

    /// Whether the person is in the register: known, and neither removed nor erased.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.held.present
    }

    /// The attributes, in the order in which the register told them.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, Attribute<'a>)> + use<'a> {
        self.held.attributes.iter(self.names)
    }

    /// One attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attribute_named(self.attribute_name(name)?)
    }

    /// The name of an attribute, for looking it up in many people of the same register.
    #[must_use]
    pub fn attribute_name(&self, name: &str) -> Option<AttributeName> {
        self.names.find(name)
    }

    /// The attribute of a name of this register.
    #[must_use]
    pub fn attribute_named(&self, name: AttributeName) -> Option<Attribute<'a>> {
        self.held.attributes.get(name)
    }

    /// The text of an attribute, where it is one that is no date.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.attribute(name)? {
            Attribute::Text(text) => Some(text),
            _ => None,
        }
    }

    /// When the person was born.
    #[must_use]
    pub fn birth_date(&self) -> Option<chrono::NaiveDate> {
        self.attribute("birth_date")?.date()
    }

    /// The register's id of the family.
    #[must_use]
    pub fn family_id(&self) -> Option<String> {
        match self.attribute("family_id")? {
            Attribute::Text(text) => Some(text.to_owned()),
            Attribute::Date(date) => Some(date.to_string()),
            _ => None,
        }
    }

    /// Whether the person lives: in the register and not said to be dead.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.held.present
            && match self.attribute("status") {
                Some(Attribute::Text(status)) => status == "alive",
                Some(Attribute::Date(_)) => false,
                _ => true,
            }
    }
}

/// What one record changes of a person. Nothing shows the attributes.
pub struct Change {
    id: RecipientId,
    sequence: u64,
    removed: bool,
    family: Option<HouseholdId>,
    attributes: Option<Spelled>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Change {
    /// What a record of `person-changes` says, whatever is known; `None` where it is about nobody.
    ///
    /// # Errors
    /// Where the vault fails or sealed data is damaged.
    pub fn of(vault: &Vault, stored: &Stored) -> Result<Option<Self>, VaultError> {
        let Event::PersonChanged(change) = &stored.record.event else { return Ok(None) };
        let Some(id) = RecipientId::parse(&change.person) else { return Ok(None) };
        let (sequence, removed) = (change.person_sequence, change.removed);
        let nothing = Self { id, sequence, removed, family: None, attributes: None };
        if removed {
            return Ok(Some(nothing));
        }
        let plain = match vault.unseal(id, &change.sealed) {
            Ok(plain) => plain,
            Err(VaultError::NoKey) => return Ok(Some(nothing)),
            Err(error) => return Err(error),
        };
        let attributes = opened(&plain)?;
        let family = attributes.get("family_id").and_then(Json::as_str);
        let family = family.map(|family| vault.household(family));
        let spelled = Spelled::of(&attributes).ok_or(VaultError::Damaged)?;
        Ok(Some(Self { family, attributes: Some(spelled), ..nothing }))
    }

    /// Whose it is.
    #[must_use]
    pub const fn id(&self) -> RecipientId {
        self.id
    }

    /// The family that the person is in then.
    #[must_use]
    pub const fn family(&self) -> Option<HouseholdId> {
        self.family
    }
}

/// Everybody whom the register has told of.
#[derive(Default)]
pub struct People {
    people: Dense<Held>,
    families: Dense<Vec<RecipientId>>,
    names: Names,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").field("people", &self.people.len()).finish_non_exhaustive()
    }
}

/// What is known of a person mostly takes less.
const USUAL_BYTES: usize = 512;

/// What lies sealed in a change.
#[derive(Serialize)]
struct Plain<'a> {
    person: String,
    attributes: &'a Json<'a>,
    event_id: &'a str,
}

/// Seals what an event of the register says of a person, with the event's own id: by it the register
/// knows whom it was about, and it may tell others, too.
///
/// # Errors
/// Where the person has no key.
pub fn seal(
    vault: &Vault,
    id: RecipientId,
    code: &PersonCode,
    attributes: &Json<'_>,
    event_id: &str,
) -> Result<Vec<u8>, VaultError> {
    let mut plain = Vec::with_capacity(USUAL_BYTES);
    let of = Plain { person: code.expose(), attributes, event_id };
    serde_json::to_writer(&mut plain, &of).map_err(|_| VaultError::Damaged)?;
    vault.seal(id, &plain)
}

/// The register's own id of the event that a change came by; none where it was not kept, or the
/// person was erased.
#[must_use]
pub fn event_id(vault: &Vault, change: &PersonChanged) -> Option<String> {
    let plain = vault.unseal(RecipientId::parse(&change.person)?, &change.sealed).ok()?;
    Json::parse(&plain).ok()?.get("event_id")?.as_str().map(str::to_owned)
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
        let Some(change) = self.change(vault, stored)? else { return Ok(None) };
        let id = change.id;
        self.take(change, vault);
        Ok(Some(id))
    }

    /// What a record of `person-changes` would change; `None` where that is nothing.
    ///
    /// # Errors
    /// Where the vault fails or sealed data is damaged.
    pub fn change(&self, vault: &Vault, stored: &Stored) -> Result<Option<Change>, VaultError> {
        let Event::PersonChanged(change) = &stored.record.event else { return Ok(None) };
        let Some(id) = RecipientId::parse(&change.person) else { return Ok(None) };
        match self.knows(id, change.person_sequence, change.removed) {
            true => Ok(None),
            false => Change::of(vault, stored),
        }
    }

    /// Whether a change that was read is news.
    #[must_use]
    pub fn is_news(&self, change: &Change) -> bool {
        !self.knows(change.id, change.sequence, change.removed)
    }

    fn knows(&self, id: RecipientId, sequence: u64, removed: bool) -> bool {
        let known = self.people.get(id.as_u128());
        known.is_some_and(|known| is_older((sequence, removed), known.sequence, known.present))
    }

    /// Takes what a record changes.
    pub fn take(&mut self, change: Change, vault: &Vault) {
        let Change { id, sequence, family, attributes, .. } = change;
        self.leave_family(id, vault);
        let present = attributes.is_some();
        let attributes = match attributes {
            Some(told) => Packed::of(&told, &mut self.names),
            None => Packed::none(),
        };
        self.people.update(id.as_u128(), |_| Held { sequence, attributes, present });
        if let Some(family) = family {
            self.families.update(family.as_u128(), |members| {
                let mut members = members.unwrap_or_default();
                members.reserve_exact(1);
                members.push(id);
                members
            });
        }
    }

    /// A person.
    #[must_use]
    pub fn get(&self, id: RecipientId) -> Option<Person<'_>> {
        Some(Person { held: self.people.get(id.as_u128())?, names: &self.names })
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RecipientId, Person<'_>)> {
        self.people
            .iter()
            .map(|(id, held)| (RecipientId::from_u128(id), Person { held, names: &self.names }))
    }

    /// The members of a family, living or not, oneself included; nobody where there is none.
    #[must_use]
    pub fn family(&self, family: HouseholdId) -> &[RecipientId] {
        self.families.get(family.as_u128()).map_or(&[], Vec::as_slice)
    }

    /// The family that a person is in.
    #[must_use]
    pub fn family_of(&self, id: RecipientId, vault: &Vault) -> Option<HouseholdId> {
        Some(vault.household(&self.get(id)?.family_id()?))
    }

    /// How many people the register has told of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether the register has told of nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn leave_family(&mut self, id: RecipientId, vault: &Vault) {
        let Some(family) = self.family_of(id, vault) else { return };
        self.families.update(family.as_u128(), |members| {
            let mut members = members.unwrap_or_default();
            members.retain(|member| *member != id);
            members
        });
    }
}

/// Whether a change is not newer than what is known. Who was missing from a snapshot was removed
/// under the next number, which the register itself gives when the person comes back.
pub(super) const fn is_older(change: (u64, bool), sequence: u64, present: bool) -> bool {
    let (number, removed) = change;
    let comes_back = !present && !removed;
    sequence > number || (sequence == number && !comes_back)
}

/// What the register says, of what lay sealed in a change.
fn opened(plain: &[u8]) -> Result<Json<'_>, VaultError> {
    let plain = Json::parse(plain).map_err(|_| VaultError::Damaged)?;
    plain.into_field("attributes").ok_or(VaultError::Damaged)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::Value;

    use super::*;
    use crate::record::{Position, Record, outside_id};

    fn change(vault: &Vault, code: &str, sequence: u64, attributes: Option<Value>) -> Stored {
        let code = PersonCode::parse(code).expect("a code");
        let id = vault.enrol(std::slice::from_ref(&code)).expect("an id")[0];
        let sealed = match &attributes {
            Some(attributes) => {
                seal(vault, id, &code, &Json::from(attributes), "E-1").expect("sealed")
            }
            None => Vec::new(),
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
        let family = |name| vault.household(name);
        assert_eq!(people.family(family("F-1")), [id]);
        let moved = change(&vault, "326180-33995", 3, attributes("F-2"));
        people.apply(&vault, &moved).expect("taken");
        let older = change(&vault, "326180-33995", 2, attributes("F-1"));
        assert_eq!(people.apply(&vault, &older).expect("passed over"), None);
        assert_eq!(people.family(family("F-1")), []);
        assert_eq!(people.family(family("F-2")), [id]);
        let gone = change(&vault, "326180-33995", 4, None);
        people.apply(&vault, &gone).expect("taken");
        assert!(!people.get(id).expect("known").alive());
        assert_eq!(people.family(family("F-2")), []);
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
        assert!(people.get(id).is_some_and(|person| !person.is_present()));
    }
}
