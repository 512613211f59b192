//! The index as it lies, row by row, for whoever compares it with the stream.

use std::{path::Path, sync::Arc};

use domain::{
    id::{AuthorisationId, BenefitId, RecipientId, RecordId},
    limit::CounterKey,
};
use ingest::record::Position;

use super::{AuthoriserError, Index, Part, Place, Used, row};

/// A row of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// What a key did.
    Key(RecordId, Used),
    /// Where the record stands that is an authorisation's n-th.
    Change(AuthorisationId, u32, Position),
    /// A reservation that nothing has ended, and when it ends.
    Held(AuthorisationId, i64),
    /// What is used of a limit.
    Counter(CounterKey, i64),
    /// A recipient's points of a benefit.
    Points(RecipientId, BenefitId, i64),
    /// An authorisation of a recipient's.
    Place(RecipientId, Place),
    /// A row of a part of the index that is none of ours.
    Unreadable(&'static str),
}

impl Index {
    /// The index in a folder as it lies there: not brought up to the stream, and not made again.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn as_it_lies(folder: &Path, partitions: u32) -> Result<Arc<Self>, AuthoriserError> {
        Ok(Arc::new(Self::at(folder, partitions)?))
    }

    /// Tells every row.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn each(&self, mut each: impl FnMut(Entry)) -> Result<(), AuthoriserError> {
        let parts =
            [Part::Keys, Part::Changes, Part::Held, Part::Counters, Part::Points, Part::Recipients];
        for part in parts {
            for row in self.store.prefix(part, &[]) {
                let (key, value) = row?;
                each(entry(part, &key, &value).unwrap_or(Entry::Unreadable(part.name())));
            }
        }
        Ok(())
    }
}

fn entry(part: Part, key: &[u8], value: &[u8]) -> Option<Entry> {
    Some(match part {
        Part::Keys => Entry::Key(RecordId::from_u128(row::wide(key)?), row::used(value)?),
        Part::Changes => {
            let (id, step) = key.split_at_checked(16)?;
            let step = u32::from_be_bytes(step.try_into().ok()?);
            let id = AuthorisationId::from_u128(row::wide(id)?);
            Entry::Change(id, step, row::position(value)?)
        }
        Part::Held => Entry::Held(AuthorisationId::from_u128(row::wide(key)?), row::signed(value)?),
        Part::Counters => Entry::Counter(row::counter_key(key)?, row::signed(value)?),
        Part::Points => {
            let (recipient, benefit) = row::points_key(key)?;
            Entry::Points(recipient, benefit, row::signed(value)?)
        }
        _ => {
            let recipient = RecipientId::from_u128(row::wide(key.get(..16)?)?);
            Entry::Place(recipient, row::of_place(key)?)
        }
    })
}
