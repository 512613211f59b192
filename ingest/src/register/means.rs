//! The register of identification means, by their keyed hashes.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    id::{IssuerId, MeansToken, RecipientId},
    identification_means::{Means, MeansKind, MeansStatus},
    period::Validity,
};

use crate::{
    record::Stored,
    wire::v1::{Event, MeansChanged},
};

/// Every means that was issued.
#[derive(Debug, Default)]
pub struct MeansRegister {
    means: HashMap<MeansToken, Means>,
}

impl MeansRegister {
    /// Takes one record of `means-changes`; what is no means is passed over.
    pub fn apply(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        if let Some(means) = means(change) {
            self.means.insert(means.token, means);
        }
    }

    /// A means by its token.
    #[must_use]
    pub fn get(&self, token: MeansToken) -> Option<&Means> {
        self.means.get(&token)
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.means.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.means.is_empty()
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
