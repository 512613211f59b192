//! People as they are looked up, all of them in memory.

use domain::id::{PersonToken, RecipientId};

use super::{SECRET, slots::Enrolled};
use crate::dense::{Dense, Packed};

/// The id under each token, and the key under each id.
#[derive(Default)]
pub(super) struct People {
    ids: Dense<Packed>,
    keys: Dense<Key>,
}

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
        self.ids.get(token.as_u128()).map(|id| RecipientId::from_u128(id.number()))
    }

    /// A person's key, destroyed or not; none where there never was one.
    pub(super) fn key(&self, id: RecipientId) -> Option<&Key> {
        self.keys.get(id.as_u128())
    }

    pub(super) fn put(&mut self, person: &Enrolled) {
        let Enrolled { token, id, key } = person;
        // Nobody ever gets a second id.
        self.ids.update(token.as_u128(), |known| known.unwrap_or(Packed::new(id.as_u128())));
        // Whoever follows may hear that a key is destroyed before reading its slot.
        let stays = |known: &Key| known.destroyed;
        self.keys.update(id.as_u128(), |known| known.filter(stays).unwrap_or(Key::new(*key)));
    }

    pub(super) fn destroy(&mut self, id: RecipientId) {
        self.keys.update(id.as_u128(), |_| Key::new(None));
    }

    /// A part of everybody, by the number of its table, in no order.
    pub(super) fn part(&self, part: usize) -> impl Iterator<Item = Enrolled> {
        self.ids.table_of(part).map(|(token, id)| {
            let (token, id) = (PersonToken::from_u128(token), RecipientId::from_u128(id.number()));
            Enrolled { token, id, key: self.key(id).and_then(Key::bytes).copied() }
        })
    }
}
