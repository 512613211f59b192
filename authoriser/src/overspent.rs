//! Limits that are exceeded: none, ever. A decision is held to its limits when it is made; what
//! shows in the sum alone, such as two primaries of a cache that both gave the last of a budget, is
//! looked for here.
//!
//! Only what is certain is told, so that whoever is woken is woken for something. Left out is:
//! - what lies between a maximum that was lowered and what it was. A counter is held against the
//!   most that any state of any version ever allowed in its period: what it gave is lawful;
//! - what households use: who moves in brings along what was used elsewhere, beyond any limit;
//! - what offline terminals gave beyond the rules: it counts toward no limit, and has an owner;
//! - limits per basket, which have no counter: the decision alone is held to them;
//! - everything, once the registry's stream has let go of what was replaced, or has instructions
//!   that this version does not read: what was allowed then is not known.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{
    id::InstructionId,
    instruction::Instruction,
    limit::{CounterKey, Holder, Limit, Per},
    period::Validity,
    registry::Kind,
};
use ingest::{
    log::{Log, READ_BATCH},
    record::Stored,
    register::registry,
    topic::Topic,
    wire::v1::Event,
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{error::AuthoriserError, index::Index};

/// How long what seems exceeded has to seem so. Of several authors' records the index may have the
/// one that used some room, and not yet the one that gave it back.
pub const AGAIN: Duration = Duration::from_secs(60);
/// Exceeded limits that are named in the log, at most.
const NAMED: usize = 20;

/// Adds up what is used against limits.
#[derive(Debug)]
pub struct Overspending {
    index: Arc<Index>,
    log: Arc<dyn Log>,
    allowed: Allowed,
}

/// What limits have ever allowed.
#[derive(Debug, Default)]
struct Allowed {
    /// The states that the versions of each instruction ever had.
    states: HashMap<InstructionId, Vec<(Validity, Vec<Limit>)>>,
    /// Where reading the registry's stream goes on.
    next: u64,
    /// Some state is not known.
    has_holes: bool,
}

impl Overspending {
    /// Over the index and the streams that it follows.
    #[must_use]
    pub fn over(index: Arc<Index>, log: Arc<dyn Log>) -> Self {
        Self { index, log, allowed: Allowed::default() }
    }

    /// How many limits are exceeded, of whomever, now and `again` later. It reads every counter.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read.
    pub async fn look(&mut self, again: Duration) -> Result<usize, AuthoriserError> {
        self.allowed.catch_up(&self.log).await?;
        if self.allowed.has_holes {
            tracing::warn!("what limits once allowed is not known, so nothing is added up");
            return Ok(0);
        }
        let (index, allowed) = (Arc::clone(&self.index), std::mem::take(&mut self.allowed));
        let reading = spawn_blocking(move || {
            let found = index.counters_above(|key| allowed.most(key));
            (allowed, found)
        });
        let (allowed, seeming) = reading.await.map_err(|_| AuthoriserError::Stopped)?;
        self.allowed = allowed;
        let seeming = seeming?;
        if seeming.is_empty() {
            return Ok(0);
        }
        tokio::time::sleep(again).await;
        self.index.reach(&self.log).await?;
        let mut exceeded = Vec::new();
        for key in seeming {
            exceeded.push((self.index.counter(&key)?, key));
        }
        // After the counters: whatever was used by then, its rules are known.
        self.allowed.catch_up(&self.log).await?;
        exceeded.retain(|(used, key)| self.allowed.most(key).is_some_and(|most| *used > most));
        exceeded.iter().take(NAMED).for_each(|(used, key)| self.name(*used, key));
        Ok(exceeded.len())
    }

    /// Names a limit in the log, and not whose it is.
    fn name(&self, used: i64, key: &CounterKey) {
        tracing::error!(
            instruction = key.instruction.as_str(),
            per = per(key.holder).code(),
            period = key.period.code(),
            from = %key.period_start,
            measure = key.measure.code(),
            used,
            most = self.allowed.most(key),
            "a limit is exceeded"
        );
    }
}

impl Allowed {
    /// Reads what is new in the registry's stream.
    async fn catch_up(&mut self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        let topic = Topic::RegistryChanges;
        let from = self.next.max(log.start(topic, 0)?);
        self.reads(from);
        loop {
            let batch = log.read(topic, 0, self.next, READ_BATCH).await?;
            if batch.is_empty() {
                return Ok(());
            }
            batch.iter().for_each(|stored| self.take(stored));
        }
    }

    /// Goes on at an offset; what it passes over was let go of.
    fn reads(&mut self, offset: u64) {
        self.has_holes |= offset > self.next;
        self.next = offset;
    }

    fn take(&mut self, stored: &Stored) {
        self.reads(stored.position.offset);
        self.next += 1;
        let Event::RegistryChanged(change) = &stored.record.event else { return };
        if change.kind != Kind::Instruction.list() {
            return;
        }
        // One that is removed takes back nothing of what it has allowed.
        let Ok(document) = serde_json::from_str::<Value>(&change.document) else { return };
        let document = json!({ (change.kind.as_str()): [document] });
        let instructions = registry::decode_all(&document).registry.instructions;
        self.has_holes |= instructions.is_empty();
        for Instruction { id, valid, limits, .. } in instructions {
            let (states, state) = (self.states.entry(id).or_default(), (valid, limits));
            if !states.contains(&state) {
                states.push(state);
            }
        }
    }

    /// The most that a counter may stand at; none where nothing certain can be said of it.
    fn most(&self, key: &CounterKey) -> Option<i64> {
        if self.has_holes || key.household().is_some() {
            return None;
        }
        let counted = (per(key.holder), key.period, key.measure);
        let states = self.states.get(&key.instruction)?.iter();
        let most = states.filter(|(valid, _)| reaches(*valid, key)).filter_map(|(_, limits)| {
            let counts = |limit: &&Limit| (limit.per, limit.period, limit.measure) == counted;
            limits.iter().filter(counts).map(|limit| limit.max).min()
        });
        most.max()
    }
}

const fn per(holder: Holder) -> Per {
    match holder {
        Holder::Recipient(_) => Per::Recipient,
        Holder::Household(_) => Per::Household,
        Holder::Instruction => Per::Instruction,
    }
}

/// Whether what is used on some day of a validity counts in this counter.
fn reaches(valid: Validity, key: &CounterKey) -> bool {
    let first = valid.from.max(key.period_start);
    valid.contains(first) && key.period.start(first, valid.from) == key.period_start
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use domain::{
        id::{HouseholdId, RecipientId},
        limit::{Measure, Period},
    };
    use ingest::{
        log::model::ModelLog,
        record::{Position, Record, outside_id},
        wire::v1::{AuthorisationDecided, CounterMovement, RegistryChanged},
    };

    use super::*;
    use crate::index::store::model::Memory;

    fn record(id: &str, event: Event) -> Record {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let (id, key, source) = (outside_id("T", id), id.into(), "T".into());
        Record { id, key, source, sequence: 1, event_time: at, recorded_at: at, event }
    }

    /// An instruction that allows so many uses a month: to a recipient, in all, to a household.
    fn allows(version: u32, days: [&str; 2], max: [i64; 3]) -> Record {
        let limits = ["recipient", "instruction", "household"].into_iter().zip(max);
        let limits: Vec<_> = limits
            .map(|(per, max)| json!({"per": per, "period": "month", "measure": "uses", "max": max}))
            .collect();
        let document = json!({"id": "milk", "benefit": "food", "label": "Milk", "version": version,
            "valid": {"from": days[0], "to": days[1]}, "priority": 1,
            "recipients": {"everyone": true}, "effect": {"percent_off_bp": 5000},
            "funding": {"grantor_bp": 10000}, "limits": limits});
        let event = Event::RegistryChanged(RegistryChanged {
            kind: "instructions".into(),
            id: format!("milk/{version}"),
            document: document.to_string(),
            changed_by: String::new(),
        });
        record("rules", event)
    }

    fn uses(id: &str, per: &str, month: &str, change: i64) -> Record {
        let moved = CounterMovement {
            instruction_id: "milk".into(),
            per: per.into(),
            period: "month".into(),
            period_start: month.into(),
            measure: "uses".into(),
            change,
        };
        let event = AuthorisationDecided {
            authorisation_id: outside_id("T", id).to_string(),
            recipient_id: Some(RecipientId::from_u128(1).to_string()),
            household_id: Some(HouseholdId::from_u128(9).to_string()),
            counters: vec![moved],
            ..AuthorisationDecided::default()
        };
        record(id, Event::AuthorisationDecided(event.into()))
    }

    const YEAR: [&str; 2] = ["2025-01-01", "2025-12-31"];
    const MAY: &str = "2025-05-01";
    const JUNE: &str = "2025-06-01";

    /// How many limits of these rules are exceeded by these uses.
    async fn exceeded(rules: &[Record], used: &[Record]) -> usize {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        log.append(Topic::RegistryChanges, rules).await.expect("appended");
        log.append(Topic::Authorisations, used).await.expect("appended");
        let index = Index::over(Arc::new(Memory::default()), &log).await.expect("readable");
        let mut limits = Overspending::over(index.expect("not ahead"), log);
        let first = limits.look(Duration::ZERO).await.expect("read");
        assert_eq!(limits.look(Duration::ZERO).await.expect("read"), first, "whenever it is asked");
        first
    }

    #[tokio::test]
    async fn what_is_used_beyond_a_limit_is_told() {
        let rules = [allows(1, YEAR, [4, 10, 4])];
        let all = [uses("1", "recipient", MAY, 4), uses("2", "instruction", MAY, 10)];
        assert_eq!(exceeded(&rules, &all).await, 0, "all that may be");
        let [own, budget] = all;
        let more = [own, uses("3", "recipient", MAY, 1), uses("4", "recipient", JUNE, 1)];
        assert_eq!(exceeded(&rules, &more).await, 1, "in May alone");
        let [own, ..] = more;
        let more = [budget, uses("5", "instruction", MAY, 1), own];
        assert_eq!(exceeded(&rules, &more).await, 1, "a budget");
        let given_back = [uses("6", "instruction", MAY, 11), uses("7", "instruction", MAY, -1)];
        assert_eq!(exceeded(&rules, &given_back).await, 0);
    }

    #[tokio::test]
    async fn what_may_be_lawful_is_not_told() {
        let used = [uses("1", "recipient", MAY, 5), uses("2", "instruction", JUNE, 11)];
        let lowered = [allows(1, YEAR, [5, 11, 1]), allows(1, YEAR, [1, 1, 1])];
        assert_eq!(exceeded(&lowered, &used).await, 0, "it was allowed when it was given");
        let halves = [[MAY, "2025-05-15"], ["2025-05-16", "2025-12-31"]];
        let versions = [allows(1, halves[0], [5, 1, 1]), allows(2, halves[1], [1, 11, 1])];
        assert_eq!(exceeded(&versions, &used).await, 0, "a version of that month allowed it");
        let others =
            [allows(1, [MAY, "2025-05-31"], [1, 11, 1]), allows(2, [JUNE, YEAR[1]], [5, 1, 1])];
        assert_eq!(exceeded(&others, &used).await, 2, "those that did were of other months");
        let moved = [uses("3", "household", MAY, 9)];
        assert_eq!(exceeded(&lowered, &moved).await, 0, "who moves in brings uses along");
        assert_eq!(exceeded(&[], &used).await, 0, "nothing is known of what was allowed");
    }

    #[test]
    fn nothing_is_certain_once_a_state_was_let_go_of() {
        let key = CounterKey {
            instruction: InstructionId::new("milk").expect("an id"),
            holder: Holder::Instruction,
            period: Period::Month,
            period_start: MAY.parse().expect("a day"),
            measure: Measure::Uses,
        };
        let at = |offset| Position { partition: 0, offset };
        let mut allowed = Allowed::default();
        allowed.take(&Stored { position: at(0), record: allows(1, YEAR, [5, 11, 1]) });
        assert_eq!(allowed.most(&key), Some(11));
        allowed.take(&Stored { position: at(2), record: allows(1, YEAR, [5, 11, 1]) });
        assert_eq!(allowed.most(&key), None);
    }
}
