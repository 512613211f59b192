//! The embedded cache: in memory, owned by the one decision loop, rebuilt from the stream.

use std::collections::{HashMap, HashSet};

use domain::{
    id::{AuthorisationId, BenefitId, RecipientId},
    limit::CounterKey,
};

use super::{Cache, CacheError, Movements, Reserved, Snapshot, Wanted};

/// Counters and points in memory.
#[derive(Debug, Default)]
pub struct EmbeddedCache {
    counters: HashMap<CounterKey, i64>,
    points: HashMap<(RecipientId, BenefitId), i64>,
    moved: HashSet<AuthorisationId>,
}

impl EmbeddedCache {
    fn has_changed(&self, snapshot: &Snapshot) -> bool {
        let counter = |key| self.counters.get(key).copied().unwrap_or(0);
        let points = |key| self.points.get(key).copied().unwrap_or(0);
        snapshot.counters.iter().any(|(key, used)| counter(key) != *used)
            || snapshot.points.iter().any(|(key, balance)| points(key) != *balance)
    }
}

impl Cache for EmbeddedCache {
    async fn load(&mut self, wanted: &Wanted) -> Result<Snapshot, CacheError> {
        let counter =
            |key: &CounterKey| (key.clone(), self.counters.get(key).copied().unwrap_or(0));
        let points = |key: &(RecipientId, BenefitId)| {
            (key.clone(), self.points.get(key).copied().unwrap_or(0))
        };
        Ok(Snapshot {
            counters: wanted.counters.iter().map(counter).collect(),
            points: wanted.points.iter().map(points).collect(),
        })
    }

    async fn reserve(
        &mut self,
        id: AuthorisationId,
        movements: &Movements,
        based_on: Option<&Snapshot>,
    ) -> Result<Reserved, CacheError> {
        if self.moved.contains(&id) {
            return Ok(Reserved::Exists);
        }
        if based_on.is_some_and(|snapshot| self.has_changed(snapshot)) {
            return Ok(Reserved::Conflict);
        }
        for movement in &movements.counters {
            let used = self.counters.entry(movement.key.clone()).or_default();
            *used = used.saturating_add(movement.change);
        }
        for (recipient, benefit, change) in &movements.points {
            let balance = self.points.entry((*recipient, benefit.clone())).or_default();
            *balance = balance.saturating_add(*change);
        }
        self.moved.insert(id);
        Ok(Reserved::Done)
    }
}
