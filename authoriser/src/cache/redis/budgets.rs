//! Budgets by leases: a slice is spent here, without asking; near the end there is one place.
//!
//! In Redis `used` holds all that is spent or leased. An author calls with what it gives back and
//! what it wants; a call whose answer did not come is asked again with its number until it does, so
//! nothing is lost between the two.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::Utc;
use domain::limit::CounterKey;

use super::{
    Asking, Trouble, integers, names,
    nodes::Call,
    scripts::{LEASE, OPEN_BUDGET, SPEND},
};
use crate::{cache::CacheError, fence::Stamp};

/// How many slices the rest of a budget makes, per author.
const SLICES: usize = 4;

/// What an author holds of one budget.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease {
    /// What may still be spent.
    pub(super) left: i64,
    /// Spent by what is staged and not yet committed.
    pub(super) staged: i64,
    /// The least to ask for: what was once not covered.
    pub(super) least: i64,
    slice: i64,
    max: i64,
    /// Nobody else holds anything, and this holds all that is left.
    whole: bool,
    /// Slices are recalled, and with nobody holding any the one place is this.
    central: Option<Central>,
    /// What Redis was told to be under way here.
    told: i64,
    calls: u64,
    spends: u64,
    /// A call whose answer did not come: what it gave back, told and wanted.
    pending: Option<(i64, i64, i64)>,
    /// The whole use, as last heard.
    used: i64,
}

/// A budget in its one place, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Central {
    pub(super) used: i64,
    pub(super) version: u64,
}

/// How a decision reads a budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) used: i64,
    pub(super) whole: bool,
    /// What a lease leaves; none where it is spent in the one place.
    pub(super) left: Option<i64>,
    /// The version in the one place.
    pub(super) version: u64,
}

/// An author's leases, shared by its decision loop and its tick.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<Held>,
    /// Calls about leases follow one another.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) stamp: Stamp,
    pub(super) leases: HashMap<CounterKey, Lease>,
}

impl Leases {
    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        // Every change is made whole under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a generation, in which nothing is leased.
    pub(super) fn begin(&self, stamp: Stamp) {
        *self.held() = Held { stamp, leases: HashMap::new() };
    }

    /// Spends of a lease, where it covers all.
    pub(super) fn take(&self, key: &CounterKey, amount: i64) -> bool {
        let mut held = self.held();
        let Some(lease) = held.leases.get_mut(key) else { return false };
        if lease.left < amount {
            lease.least = lease.least.max(amount);
            return false;
        }
        lease.left -= amount;
        lease.staged += amount;
        true
    }

    /// What was spent of a lease became final, or came back.
    pub(super) fn settle(&self, stamp: Stamp, key: &CounterKey, amount: i64, done: bool) {
        let mut held = self.held();
        if held.stamp != stamp {
            return;
        }
        let Some(lease) = held.leases.get_mut(key) else { return };
        lease.staged -= amount;
        if !done {
            lease.left += amount;
        }
    }

    /// Budgets that something is held of, or told to be.
    pub(super) fn kept(&self) -> Vec<CounterKey> {
        let held = self.held();
        let keeps = |lease: &Lease| lease.left > 0 || lease.told > 0 || lease.pending.is_some();
        held.leases.iter().filter(|(_, lease)| keeps(lease)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a budget stands in its one place, with nothing of it held.
    pub(super) fn is_central(&self, key: &CounterKey) -> bool {
        self.held().leases.get(key).is_some_and(|lease| lease.central.is_some())
    }

    /// Whether Redis was told of something under way that no longer is.
    pub(super) fn over_told(&self, key: &CounterKey) -> bool {
        let held = self.held();
        held.leases.get(key).is_some_and(|lease| lease.told > 0 && lease.staged < lease.told)
    }
}

impl Lease {
    /// Whether Redis must be asked before a decision reads it.
    fn is_low(&self, max: i64) -> bool {
        let low = self.left * 2 < self.slice || self.left < self.least.max(1);
        low || self.whole || self.central.is_some() || self.max != max || self.pending.is_some()
    }

    pub(super) fn room(&self, max: i64) -> Room {
        if let Some(central) = self.central {
            let (used, version) = (central.used, central.version);
            return Room { used, whole: true, left: None, version };
        }
        let used = if self.whole { self.used - self.left } else { max - self.left };
        Room { used, whole: self.whole, left: Some(self.left), version: 0 }
    }
}

/// What is asked of a budget.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) key: CounterKey,
    /// The most the limit allows; none keeps what is known.
    pub(super) max: Option<i64>,
    /// Whether a slice is wanted, or all is given back.
    pub(super) wants: bool,
    /// Whether others are to give back theirs.
    pub(super) recalls: bool,
}

impl Asking<'_> {
    /// Makes budgets readable: each with a slice, or in its one place.
    pub(super) async fn read_budgets(
        &mut self,
        leases: &Leases,
        wanted: &HashMap<CounterKey, i64>,
    ) -> Result<HashMap<CounterKey, Room>, Trouble> {
        let low = |(key, max): (&CounterKey, &i64)| {
            let held = leases.held();
            let low = held.leases.get(key).is_none_or(|lease| lease.is_low(*max));
            let ask = Ask { key: key.clone(), max: Some(*max), wants: true, recalls: false };
            low.then_some(ask)
        };
        let asks: Vec<Ask> = wanted.iter().filter_map(low).collect();
        if !asks.is_empty() {
            let _turn = leases.turn.lock().await;
            self.lease(leases, &asks).await?;
        }
        let held = leases.held();
        let room =
            |(key, max): (&CounterKey, &i64)| Some((key.clone(), held.leases.get(key)?.room(*max)));
        Ok(wanted.iter().filter_map(room).collect())
    }

    /// Gives back and takes slices; the caller has the turn.
    pub(super) async fn lease(&mut self, leases: &Leases, asks: &[Ask]) -> Result<(), Trouble> {
        let mut asks = asks.to_vec();
        // Twice: an answer that was still to come, then a budget that must be opened.
        for _ in 0..3 {
            asks = self.lease_once(leases, &asks).await?;
            if asks.is_empty() {
                return Ok(());
            }
        }
        Err(Trouble::Lost("a budget that is not kept"))
    }

    /// Asks once; gives what must be asked again.
    async fn lease_once(&mut self, leases: &Leases, asks: &[Ask]) -> Result<Vec<Ask>, Trouble> {
        let known = &self.shared.known;
        let mut calls = Vec::with_capacity(asks.len());
        let mut late = Vec::with_capacity(asks.len());
        for ask in asks {
            let (call, was_pending) = self.lease_call(leases, ask)?;
            calls.push(call);
            late.push(was_pending);
        }
        let floor = |call: &Call| known.floor(self.generation, &call.key);
        let floors: Vec<u64> = calls.iter().map(floor).collect();
        let answers = self.nodes.ask("lease", &calls, false).await?;
        let mut again = Vec::new();
        for ((((ask, call), floor), late), answer) in
            asks.iter().zip(&calls).zip(floors).zip(late).zip(answers)
        {
            let answer: Vec<i64> = integers(answer)?.into_iter().flatten().collect();
            if answer.first() == Some(&-1) {
                // Nothing was done, and nothing can be held of what is not there.
                if let Some(lease) = leases.held().leases.get_mut(&ask.key) {
                    lease.pending = None;
                }
                self.open_budget(&ask.key, &call.key, floor).await?;
                again.push(ask.clone());
                continue;
            }
            let [code, used, version, slice, others, moved] = answer[..] else {
                return Err(Trouble::Lost("a budget"));
            };
            let version = u64::try_from(version).unwrap_or(0);
            let can_be = match moved {
                1 => known.moved(self.generation, &call.key, floor, version),
                2 => {
                    known.moved_before(self.generation, &call.key, version);
                    true
                }
                _ => version >= floor,
            };
            if !can_be {
                return Err(Trouble::Lost("a budget"));
            }
            let mut held = leases.held();
            if held.stamp.generation != self.generation {
                return Err(Trouble::Lost("a generation that has ended"));
            }
            let Some(lease) = held.leases.get_mut(&ask.key) else { continue };
            lease.answered(code, used, version, slice, others);
            if late {
                again.push(ask.clone());
            }
        }
        Ok(again)
    }

    /// The call for a budget, and whether it is an earlier one whose answer did not come.
    fn lease_call(&self, leases: &Leases, ask: &Ask) -> Result<(Call, bool), Trouble> {
        let settings = &self.shared.settings;
        let number = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        let slices = number((self.shared.fence.authors().max(1) * SLICES) as u128);
        let now = Utc::now().timestamp_millis();
        let until = now.saturating_add(number(settings.recall.as_millis()));
        let until = if ask.recalls { until } else { 0 };
        let mut held = leases.held();
        if held.stamp.generation != self.generation {
            return Err(Trouble::Lost("a generation that has ended"));
        }
        let author = held.stamp.author.number();
        let lease = held.leases.entry(ask.key.clone()).or_default();
        let late = lease.pending.is_some();
        lease.max = ask.max.unwrap_or(lease.max);
        let (given, told, least) = *lease.pending.get_or_insert_with(|| {
            let least = if ask.wants { lease.least.max(1) } else { 0 };
            (std::mem::take(&mut lease.left), lease.staged, least)
        });
        let mut arguments =
            [self.generation, author, lease.calls + 1].map(|number| number.to_string()).to_vec();
        let numbers = [given, told, least, lease.max, slices, now, until];
        arguments.extend(numbers.map(|number| number.to_string()));
        Ok((Call { key: names::budget(&ask.key), script: Some(&LEASE), arguments }, late))
    }

    /// Opens a budget with what the stream says is used of it.
    async fn open_budget(
        &mut self,
        budget: &CounterKey,
        key: &str,
        floor: u64,
    ) -> Result<(), Trouble> {
        if floor > 0 {
            return Err(Trouble::Lost("a budget"));
        }
        let used = self.shared.truth.budget(budget).await.map_err(CacheError::from)?;
        let arguments = vec![self.generation.to_string(), used.to_string()];
        let call = Call { key: key.to_owned(), script: Some(&OPEN_BUDGET), arguments };
        let answer = self.nodes.ask("build", &[call], false).await?.pop();
        let answer: Vec<i64> =
            integers(answer.unwrap_or_default())?.into_iter().flatten().collect();
        let [0, version, created] = answer[..] else {
            return Err(Trouble::Lost("a generation that has ended"));
        };
        let version = u64::try_from(version).unwrap_or(0);
        if created == 1 && !self.shared.known.created(self.generation, key, version) {
            return Err(Trouble::Lost("a budget"));
        }
        Ok(())
    }

    /// Moves budgets in their one place. Of each, whether it moved: not where something else has
    /// since the expected version.
    pub(super) async fn spend(
        &mut self,
        leases: &Leases,
        changes: &[(CounterKey, Option<u64>, i64)],
    ) -> Result<Vec<bool>, Trouble> {
        let known = &self.shared.known;
        let mut calls = Vec::with_capacity(changes.len());
        for (key, expected, change) in changes {
            let mut held = leases.held();
            if held.stamp.generation != self.generation {
                return Err(Trouble::Lost("a generation that has ended"));
            }
            let author = held.stamp.author.number();
            let lease = held.leases.entry(key.clone()).or_default();
            lease.spends += 1;
            let expected = expected.map_or("-1".to_owned(), |version| version.to_string());
            let mut arguments =
                [self.generation, author, lease.spends].map(|number| number.to_string()).to_vec();
            arguments.extend([expected, change.to_string()]);
            calls.push(Call { key: names::budget(key), script: Some(&SPEND), arguments });
        }
        let floor = |call: &Call| known.floor(self.generation, &call.key);
        let floors: Vec<u64> = calls.iter().map(floor).collect();
        let answers = self.nodes.ask("spend", &calls, true).await?;
        let mut moved = Vec::with_capacity(calls.len());
        for (((change, call), floor), mut answer) in
            changes.iter().zip(&calls).zip(floors).zip(answers)
        {
            if integers(answer.clone())?.first() == Some(&Some(3)) {
                self.open_budget(&change.0, &call.key, floor).await?;
                let again = self.nodes.ask("spend", std::slice::from_ref(call), true).await?.pop();
                answer = again.unwrap_or_default();
            }
            let answer: Vec<i64> = integers(answer)?.into_iter().flatten().collect();
            let [code, version] = answer[..] else { return Err(Trouble::Lost("a budget")) };
            let version = u64::try_from(version).unwrap_or(0);
            let can_be = match code {
                0 => known.moved(self.generation, &call.key, floor, version),
                4 => {
                    known.moved_before(self.generation, &call.key, version);
                    true
                }
                2 => version >= floor,
                _ => false,
            };
            if !can_be {
                return Err(Trouble::Lost("a budget"));
            }
            moved.push(code != 2);
        }
        Ok(moved)
    }
}

impl Lease {
    fn answered(&mut self, code: i64, used: i64, version: u64, slice: i64, others: i64) {
        let told = self.pending.take().map_or(0, |(_, told, _)| told);
        self.calls += 1;
        // What was staged and came back since the call went out stays with it.
        self.left += slice;
        self.slice = slice;
        self.told = told;
        self.used = used;
        self.least = 0;
        let alone = others == 0;
        self.central = (code == 1 && alone).then_some(Central { used, version });
        self.whole = code == 0 && alone && self.max <= used;
    }
}
