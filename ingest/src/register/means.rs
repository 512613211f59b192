//! The register of identification means, by their keyed hashes.
//!
//! A nation has millions of them, so a means is 44 bytes: token and holder whole, its days, and the
//! number of what it has in common with many others. Numbering the holders too would spare twelve
//! bytes of each means and cost as much again for the numbers' own table.

use chrono::NaiveDate;
use domain::{
    id::{IssuerId, MeansToken, RecipientId},
    identification_means::{Means, MeansKind, MeansStatus},
    period::Validity,
};

use super::{
    dense::{Dense, Packed},
    numbered::Numbered,
};
use crate::{
    record::Stored,
    wire::v1::{Event, MeansChanged},
};

/// Every means that was issued.
#[derive(Debug, Default)]
pub struct MeansRegister {
    means: Dense<Compact>,
    sorts: Numbered<Sort>,
}

/// What is a means' own.
#[derive(Clone, Copy, Debug)]
struct Compact {
    /// Whose it is, where its sort says that it is somebody's.
    person: Packed,
    valid: Validity,
    sort: u32,
}

/// What a means has in common with many others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    issuer: IssuerId,
    kind: MeansKind,
    held: bool,
    blocked: bool,
}

impl MeansRegister {
    /// Takes one record of `means-changes`; what is no means is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        let Some(means) = means(change) else { return };
        let Means { token, issuer, kind, person, valid, blocked } = means;
        let sort = self.sorts.add(Sort { issuer, kind, held: person.is_some(), blocked });
        let person = Packed::new(person.map_or(0, RecipientId::as_u128));
        self.means.update(token.as_u128(), |_| Compact { person, valid, sort });
    }

    /// A means by its token.
    #[must_use]
    pub fn get(&self, token: MeansToken) -> Option<Means> {
        let compact = self.means.get(token.as_u128())?;
        let sort = self.sorts.value(compact.sort);
        Some(Means {
            token,
            issuer: sort.issuer.clone(),
            kind: sort.kind,
            person: sort.held.then(|| RecipientId::from_u128(compact.person.number())),
            valid: compact.valid,
            blocked: sort.blocked,
        })
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.means.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, without what the allocator adds and the few issuers.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.means.memory()
    }
}

/// What a means is worth on a local day.
#[must_use]
pub fn status(means: Option<&Means>, day: NaiveDate) -> MeansStatus {
    match means {
        None => MeansStatus::Unknown,
        Some(means) if means.blocked => MeansStatus::Blocked,
        Some(means) if !means.valid.contains(day) => MeansStatus::Expired,
        Some(_) => MeansStatus::Valid,
    }
}

fn means(change: &MeansChanged) -> Option<Means> {
    Some(Means {
        token: MeansToken::parse(&change.token)?,
        issuer: IssuerId::new(&change.issuer_id).ok()?,
        kind: MeansKind::parse(&change.kind)?,
        person: match &change.person {
            Some(person) => Some(RecipientId::parse(person)?),
            None => None,
        },
        valid: Validity {
            from: change.valid_from.parse().ok()?,
            to: match &change.valid_to {
                Some(to) => Some(to.parse().ok()?),
                None => None,
            },
        },
        blocked: change.blocked,
    })
}
