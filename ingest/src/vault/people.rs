//! People as they are looked up, all of them in memory.

use std::collections::{BTreeSet, HashSet};

use domain::id::{PersonToken, RecipientId};

use super::{
    SECRET,
    slots::{Enrolled, UNLINKED},
};
use crate::dense::{Dense, Packed};

/// The id under each token, and the key under each id.
#[derive(Default)]
pub(super) struct People {
    ids: Dense<Packed>,
    keys: Dense<Key>,
}

/// What stands under a token that leads to nobody any more.
const NOBODY: Packed = Packed::new(0);

/// A person's key, or that it is destroyed.
pub(super) struct Key {
    bytes: [u8; SECRET],
    destroyed: bool,
}

impl Key {
    fn new(bytes: Option<[u8; SECRET]>) -> Self {
        Self { bytes: bytes.unwrap_or_default(), destroyed: bytes.is_none() }
    }

    /// None once it is destroyed.
    pub(super) fn bytes(&self) -> Option<&[u8; SECRET]> {
        (!self.destroyed).then_some(&self.bytes)
    }
}

impl People {
    pub(super) fn id(&self, token: PersonToken) -> Option<RecipientId> {
        let id = self.ids.get(token.as_u128()).filter(|id| **id != NOBODY);
        id.map(|id| RecipientId::from_u128(id.number()))
    }

    /// A person's key, destroyed or not; none where there never was one.
    pub(super) fn key(&self, id: RecipientId) -> Option<&Key> {
        self.keys.get(id.as_u128())
    }

    pub(super) fn put(&mut self, person: &Enrolled) {
        let Enrolled { token, id, key } = person;
        // Whoever follows may hear that a key is destroyed before reading its slot.
        let is_gone = self.key(*id).is_some_and(|known| known.destroyed);
        if *token != UNLINKED && !is_gone {
            // Where there is an id already, it is of somebody who was erased, and has come back.
            self.ids.update(token.as_u128(), |_| Packed::new(id.as_u128()));
        }
        let stays = |known: &Key| known.destroyed;
        self.keys.update(id.as_u128(), |known| known.filter(stays).unwrap_or(Key::new(*key)));
    }

    pub(super) fn destroy(&mut self, id: RecipientId) {
        self.keys.update(id.as_u128(), |_| Key::new(None));
    }

    /// Those of some ids that a token leads to.
    pub(super) fn linked(&self, people: &BTreeSet<RecipientId>) -> Vec<RecipientId> {
        let ids = self.ids.iter().map(|(_, id)| RecipientId::from_u128(id.number()));
        ids.filter(|id| people.contains(id)).collect()
    }

    /// Lets no token lead to these ids any more.
    pub(super) fn unlink(&mut self, people: &HashSet<RecipientId>) {
        let leads = |id: &Packed| people.contains(&RecipientId::from_u128(id.number()));
        let found = self.ids.iter().filter(|(_, id)| leads(id)).map(|(token, _)| token);
        let found: Vec<_> = found.collect();
        found.into_iter().for_each(|token| self.ids.update(token, |_| NOBODY));
    }

    /// A part of everybody whom a token leads to, by the number of its table, in no order.
    pub(super) fn part(&self, part: usize) -> impl Iterator<Item = Enrolled> {
        self.ids.table_of(part).filter(|(_, id)| **id != NOBODY).map(|(token, id)| {
            let (token, id) = (PersonToken::from_u128(token), RecipientId::from_u128(id.number()));
            Enrolled { token, id, key: self.key(id).and_then(Key::bytes).copied() }
        })
    }
}
