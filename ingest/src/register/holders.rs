//! Whose means are which: the other direction of the register of means.
//!
//! A nation has millions of means, and each recipient asks for a few of them. So an entry is four
//! bytes of the holder's hash and the token, and whoever asks looks each token up in the register:
//! another holder may have the same hash, and a means may have gone to somebody else since.

use std::collections::BTreeSet;

use domain::id::{MeansToken, RecipientId};

use crate::{record::Stored, wire::v1::Event};

const HASH: usize = 4;
const ENTRY: usize = HASH + 16;

/// The tokens of every holder's means, by the holder's hash.
#[derive(Debug, Default)]
pub struct Holders(BTreeSet<[u8; ENTRY]>);

impl Holders {
    /// Takes one record of `means-changes`; a means that is nobody's is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        let person = change.person.as_deref().and_then(RecipientId::parse);
        if let Some((person, token)) = person.zip(MeansToken::parse(&change.token)) {
            self.0.insert(entry(person, token.as_u128()));
        }
    }

    /// Tokens of means that are, or once were, a person's; a few of them are others'.
    pub fn tokens(&self, person: RecipientId) -> impl Iterator<Item = MeansToken> + '_ {
        let entries = self.0.range(entry(person, 0)..=entry(person, u128::MAX));
        entries.filter_map(|entry| {
            let token = entry.last_chunk()?;
            Some(MeansToken::from_u128(u128::from_be_bytes(*token)))
        })
    }

    /// Bytes held by the entries, without the tree's own.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.0.len() * ENTRY
    }
}

fn entry(person: RecipientId, token: u128) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..HASH].copy_from_slice(&hash(person).to_be_bytes());
    entry[HASH..].copy_from_slice(&token.to_be_bytes());
    entry
}

/// Ids are random, so any part of one spreads; folding them spreads the small numbers of tests, too.
const fn hash(person: RecipientId) -> u32 {
    let id = person.as_u128();
    (id ^ id >> 32 ^ id >> 64 ^ id >> 96) as u32
}
