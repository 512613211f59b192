//! Items of clients' workspaces: what merchants' applications have for whom, and until when.
//!
//! What an item says stays on the stream, sealed; here is where it stands. Of one e-service a person has
//! so many items at most: the oldest gives way to the newest, so that nothing has to be refused, which
//! would tell a merchant who is known here.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use domain::id::{EServiceId, PanelId, RecipientId};

use super::numbered::Numbered;
use crate::{
    record::Stored,
    wire::v1::{Event, PanelChanged},
};

/// Items of one e-service for one person.
pub const MOST_OF_A_SERVICE: usize = 20;

/// Every item that is not gone.
#[derive(Debug, Default)]
pub struct Panels {
    panels: HashMap<PanelId, Held>,
    people: BTreeSet<(RecipientId, PanelId)>,
    days: BTreeSet<(NaiveDate, PanelId)>,
    e_services: Numbered<EServiceId>,
}

#[derive(Clone, Debug)]
struct Held {
    person: Option<RecipientId>,
    offset: u64,
    partition: u32,
    e_service: u32,
    until: NaiveDate,
    dismissed: bool,
    request_hash: Vec<u8>,
}

/// An item, and where what it says stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel<'a> {
    /// Its identifier.
    pub id: PanelId,
    /// Whose it is; none where the merchant named somebody who is not known.
    pub person: Option<RecipientId>,
    /// The e-service.
    pub e_service: &'a EServiceId,
    /// The partition and the offset in it of the record that says what it is.
    pub place: (u32, u64),
    /// The last day on which it is shown.
    pub until: NaiveDate,
    /// Whether its person has put it away.
    pub dismissed: bool,
    /// The keyed hash of the request.
    pub request_hash: &'a [u8],
}

impl Panels {
    /// Takes one record of `portal-events`, in the order of the stream; what is no item is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::PanelChanged(change) = &stored.record.event else { return };
        let Some(id) = PanelId::parse(&change.panel) else { return };
        if change.dismissed {
            if let Some(held) = self.panels.get_mut(&id) {
                held.dismissed = true;
            }
            return;
        }
        self.remove(id);
        let Some(mut held) = self.read(change) else { return };
        (held.partition, held.offset) = (stored.position.partition, stored.position.offset);
        self.days.insert((held.until, id));
        if let Some(person) = held.person {
            self.people.insert((person, id));
            let e_service = held.e_service;
            self.panels.insert(id, held);
            self.give_way(person, e_service);
        } else {
            self.panels.insert(id, held);
        }
    }

    /// Lets go of what is not shown any more on a day.
    pub fn expire(&mut self, today: NaiveDate) {
        while let Some((_, id)) = self.days.first().copied().filter(|(until, _)| *until < today) {
            self.remove(id);
        }
    }

    /// An item.
    #[must_use]
    pub fn get(&self, id: PanelId) -> Option<Panel<'_>> {
        self.panels.get(&id).map(|held| self.told(id, held))
    }

    /// A person's items, in no order.
    pub fn of(&self, person: RecipientId) -> impl Iterator<Item = Panel<'_>> {
        let (first, last) = (PanelId::from_u128(0), PanelId::from_u128(u128::MAX));
        let own = self.people.range((person, first)..=(person, last));
        own.filter_map(|(_, id)| self.get(*id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.panels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.panels.is_empty()
    }

    fn read(&mut self, change: &PanelChanged) -> Option<Held> {
        Some(Held {
            person: match change.person.as_str() {
                "" => None,
                person => Some(RecipientId::parse(person)?),
            },
            offset: 0,
            partition: 0,
            until: change.until.parse().ok()?,
            e_service: self.e_services.add(EServiceId::new(&change.e_service_id).ok()?),
            dismissed: false,
            request_hash: change.request_hash.clone(),
        })
    }

    fn told<'a>(&'a self, id: PanelId, held: &'a Held) -> Panel<'a> {
        Panel {
            id,
            person: held.person,
            e_service: self.e_services.value(held.e_service),
            place: (held.partition, held.offset),
            until: held.until,
            dismissed: held.dismissed,
            request_hash: &held.request_hash,
        }
    }

    fn remove(&mut self, id: PanelId) {
        let Some(held) = self.panels.remove(&id) else { return };
        self.days.remove(&(held.until, id));
        if let Some(person) = held.person {
            self.people.remove(&(person, id));
        }
    }

    fn give_way(&mut self, person: RecipientId, e_service: u32) {
        let (first, last) = (PanelId::from_u128(0), PanelId::from_u128(u128::MAX));
        let own = self.people.range((person, first)..=(person, last)).map(|(_, id)| *id);
        let placed = own.filter_map(|id| Some((self.panels.get(&id)?, id)));
        let mut same: Vec<_> = placed
            .filter(|(held, _)| held.e_service == e_service)
            .map(|(held, id)| (held.offset, id))
            .collect();
        if same.len() > MOST_OF_A_SERVICE {
            same.sort_unstable();
            let too_many = same.len() - MOST_OF_A_SERVICE;
            same.into_iter().take(too_many).for_each(|(_, id)| self.remove(id));
        }
    }
}
