//! Counters and points in Redis against the index, which is itself compared with the stream.
//!
//! What lies in Redis holds within one generation of one start, and every start begins another. So a hash
//! of another generation is not trusted, nor is one that was moved by a step which the index does not have:
//! the node was cut off between the two, or goes on. Both are built anew before anybody reads them, and are
//! no drift.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use authoriser::{
    cache::redis::{Budget, Hashes, Household, Numbers, RedisSettings},
    fence::start_of,
    index::Index,
    metrics::Metrics,
};
use domain::{
    id::{AuthorisationId, RecordId},
    limit::Holder,
};
use ingest::{record::Stored, wire::v1::Event};

use super::{
    findings::{Findings, NOTHING},
    index::{balance, counter},
};
use crate::failure::Failure;

const COUNTERS: &str = "redis counters";
const POINTS: &str = "redis points";
const BUDGETS: &str = "redis budgets";

/// A Redis, and the index that says what it has to hold.
#[derive(Debug)]
pub struct Cached {
    settings: RedisSettings,
    index: Arc<Index>,
    /// Records that move another household than that of their authorisation and have no key by which
    /// the index lists them: somebody moved, or what moved expired.
    unlisted: HashSet<RecordId>,
}

/// Numbers as one side has them, by their names.
type Side = BTreeMap<String, i64>;

impl Cached {
    /// What lies in a Redis, against an index.
    pub fn over(settings: RedisSettings, index: Arc<Index>) -> Self {
        Self { settings, index, unlisted: HashSet::new() }
    }

    /// Takes a record of the stream.
    pub fn take(&mut self, stored: &Stored) {
        if stored.position.offset >= self.index.next(stored.position.partition) {
            return;
        }
        let is_unlisted = match &stored.record.event {
            Event::HouseholdJoined(_) => true,
            Event::AuthorisationChanged(event) => {
                event.idempotency_key.is_empty() && event.home_id.is_some()
            }
            _ => false,
        };
        if is_unlisted {
            self.unlisted.insert(stored.record.id);
        }
    }

    /// Names what drifts, and counts what is not trusted.
    ///
    /// # Errors
    /// Where Redis cannot be reached, or the index cannot be read.
    pub async fn compare(self, metrics: Metrics, findings: &mut Findings) -> Result<(), Failure> {
        let mut hashes = Hashes::open(self.settings.clone(), metrics).await?;
        let in_force = hashes.generation();
        let is_of_last_start = start_of(in_force) == self.index.starts();
        let (mut budgets, mut untrusted, mut is_ahead) = (Vec::new(), 0, false);
        let compared = hashes.each(|kept| {
            let holds = is_of_last_start && kept.generation == in_force;
            let has_all = !holds || self.has_all(&kept.moved)?;
            is_ahead |= !has_all;
            match kept.numbers {
                Numbers::Nothing => {}
                _ if !holds || !has_all => untrusted += 1,
                Numbers::Household(of) => self.household(&of, findings)?,
                Numbers::Budget(of) => budgets.push(of),
            }
            Ok::<(), Failure>(())
        });
        compared.await?;
        if is_ahead {
            // A budget does not say what moved it, and this may be what is ahead.
            untrusted += budgets.len();
            budgets.clear();
        }
        for of in &budgets {
            self.budget(of, findings)?;
        }
        if untrusted > 0 {
            findings.notes.push(format!(
                "redis: {untrusted} hashes are not trusted (of a generation that has ended, or ahead \
                 of the index): they are built anew before they are read"
            ));
        }
        Ok(())
    }

    /// Whether the index has all these steps.
    fn has_all(&self, moved: &[(RecordId, u32)]) -> Result<bool, Failure> {
        for (id, step) in moved {
            let has = if *step > 0 {
                // Steps enter in their order, so the last one tells of those before it.
                let id = AuthorisationId::from_u128(id.as_u128());
                self.index.changes(id)?.len() as u64 >= u64::from(*step)
            } else {
                self.unlisted.contains(id) || self.index.key(*id)?.is_some()
            };
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn household(&self, of: &Household, findings: &mut Findings) -> Result<(), Failure> {
        for holder in &of.holders {
            let expected = self.index.counters(*holder)?;
            let expected: Side = expected.iter().map(|(key, sum)| (counter(key), *sum)).collect();
            let found = of.counters.iter().filter(|(key, _)| key.holder == *holder);
            let found: Side = found.map(|(key, sum)| (counter(key), *sum)).collect();
            differ(COUNTERS, &expected, &found, findings);
            let Holder::Recipient(who) = holder else { continue };
            let expected = self.index.points(Some(*who))?;
            let expected: Side =
                expected.iter().map(|(who, benefit, sum)| (balance(*who, benefit), *sum)).collect();
            let found = of.points.iter().filter(|((of, _), _)| of == who);
            let found: Side =
                found.map(|((who, benefit), sum)| (balance(*who, benefit), *sum)).collect();
            differ(POINTS, &expected, &found, findings);
        }
        Ok(())
    }

    /// What is leased was taken from a budget and may be spent or not, until everybody gave back.
    fn budget(&self, of: &Budget, findings: &mut Findings) -> Result<(), Failure> {
        let expected = self.index.counter(&of.key)?;
        findings.compared(BUDGETS, 1, 1);
        let can_be =
            of.used.is_some_and(|used| (used.saturating_sub(of.leased)..=used).contains(&expected));
        if !can_be {
            let mut found = told(of.used.as_ref());
            if of.leased > 0 {
                found = format!("{found}, of which {} may be leased", of.leased);
            }
            findings.drift(BUDGETS, counter(&of.key), expected.to_string(), found);
        }
        Ok(())
    }
}

/// Names each number that differs; one that is 0 may be there or not.
fn differ(store: &str, expected: &Side, found: &Side, findings: &mut Findings) {
    findings.compared(store, expected.len() as u64, found.len() as u64);
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (expected, found) = (expected.get(name), found.get(name));
        if expected.unwrap_or(&0) != found.unwrap_or(&0) {
            findings.drift(store, name.clone(), told(expected), told(found));
        }
    }
}

fn told(number: Option<&i64>) -> String {
    number.map_or_else(|| NOTHING.to_owned(), i64::to_string)
}
