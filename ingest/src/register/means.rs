//! The register of identification means, by their keyed hashes.
//!
//! A nation has millions of them, so a means is 52 bytes: token and holder whole, its days, its
//! offline hash, and the
//! number of what it has in common with many others. Numbering the holders too would spare twelve
//! bytes of each means and cost as much again for the numbers' own table.

use chrono::NaiveDate;
use domain::{
    id::{IssuerId, MeansToken, RecipientId},
    identification_means::{Means, MeansKind, MeansStatus},
    period::Validity,
};

use super::numbered::Numbered;
use crate::{
    dense::{Dense, Packed, TABLES},
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
    /// In halves, which need no alignment to eight.
    offline: [u32; 2],
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
        let offline = [(change.offline_hash >> 32) as u32, change.offline_hash as u32];
        self.means.update(token.as_u128(), |_| Compact { person, valid, offline, sort });
    }

    /// A means by its token.
    #[must_use]
    pub fn get(&self, token: MeansToken) -> Option<Means> {
        self.means.get(token.as_u128()).map(|compact| self.whole(token, compact))
    }

    /// The means of one of [`PARTS`](Self::PARTS) parts, each with its offline hash; so that nobody
    /// has to wait while all are looked at.
    pub fn part(&self, part: usize) -> impl Iterator<Item = (u64, Means)> {
        self.means.table_of(part).map(|(token, compact)| {
            let hash = u64::from(compact.offline[0]) << 32 | u64::from(compact.offline[1]);
            (hash, self.whole(MeansToken::from_u128(token), compact))
        })
    }

    /// How many parts there are.
    pub const PARTS: usize = TABLES;

    fn whole(&self, token: MeansToken, compact: &Compact) -> Means {
        let sort = self.sorts.value(compact.sort);
        Means {
            token,
            issuer: sort.issuer.clone(),
            kind: sort.kind,
            person: sort.held.then(|| RecipientId::from_u128(compact.person.number())),
            valid: compact.valid,
            blocked: sort.blocked,
        }
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
