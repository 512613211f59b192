//! A batch moves: budgets in their one place first, then households, then what is given back.
//!
//! A part that moved for an operation which then did not is given back at once. Between the two
//! another author may read a little less than is left, never more. What moves in a household beside,
//! where the recipient lives by now, is treated like a budget in its one place.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use domain::{
    id::HouseholdId,
    limit::{CounterKey, CounterMovement, Holder},
};
use redis::Value;

use super::{
    RedisCache, Trouble,
    households::{Households, Plan},
    integers, names,
    nodes::Call,
    scripts::RESERVE,
};
use crate::cache::{Operation, Reserved};

/// An operation that waits for the commit.
#[derive(Debug)]
pub(super) struct Staged {
    operation: Operation,
    /// The version of its household that it was decided on; none where it was not read.
    expected: Option<u64>,
    /// Whether it was decided on an operation of the same batch, which then must have moved.
    chained: bool,
    /// What it spent of leases.
    leased: Vec<(CounterKey, i64)>,
    /// What it moves of budgets in their one place.
    central: Vec<(CounterKey, i64)>,
    /// A lease did not cover it.
    short: bool,
}

impl RedisCache {
    /// Moves what was read, so that what follows in the batch sees it. What is given back to a
    /// budget is seen only after the commit: it might not be given back after all.
    pub(super) fn stage_operation(&mut self, operation: Operation) {
        let loaded = operation.household.and_then(|id| self.households.loaded.get_mut(&id));
        let mut chained = false;
        let expected = loaded.map(|loaded| {
            chained = std::mem::replace(&mut loaded.staged, true);
            loaded.version += 1;
            loaded.version - 1
        });
        let mut staged = Staged {
            operation,
            expected,
            chained,
            leased: Vec::new(),
            central: Vec::new(),
            short: false,
        };
        for movement in &staged.operation.movements.counters {
            let (key, change) = (&movement.key, movement.change);
            if key.holder == Holder::Instruction {
                let moved = self.rooms.get_mut(key).filter(|_| change > 0);
                let Some(room) = moved else {
                    staged.central.push((key.clone(), change));
                    continue;
                };
                room.used += change;
                match &mut room.left {
                    None => staged.central.push((key.clone(), change)),
                    Some(left) if !staged.short && self.leases.take(key, change) => {
                        *left -= change;
                        staged.leased.push((key.clone(), change));
                    }
                    Some(_) => staged.short = true,
                }
            } else {
                *self.households.counters.entry(key.clone()).or_default() += change;
            }
        }
        for (recipient, benefit, change) in &staged.operation.movements.points {
            let key = (*recipient, benefit.clone());
            *self.households.points.entry(key).or_default() += change;
        }
        self.staged.push(staged);
    }

    /// Gives back what operations that will not be committed have spent of leases.
    pub(super) fn drop_staged(&mut self) {
        for staged in std::mem::take(&mut self.staged) {
            self.settle(&staged, false);
        }
    }

    fn settle(&self, staged: &Staged, done: bool) {
        for (key, amount) in &staged.leased {
            self.leases.settle(self.stamp, key, *amount, done);
        }
    }

    pub(super) async fn commit_staged(
        &mut self,
        mut staged: Vec<Staged>,
    ) -> Result<Vec<Reserved>, Trouble> {
        self.build_unread(&mut staged).await?;
        // What is staged from here on without a load was decided on what has moved; no hash has a
        // version 0, so it conflicts.
        for loaded in self.households.loaded.values_mut() {
            (loaded.version, loaded.staged) = (0, false);
        }
        let mut applied = HashMap::new();
        let open = self.spend_central(&staged, &mut applied).await?;
        let taken = staged.iter().zip(&open).filter(|(_, open)| **open);
        let taken = taken.flat_map(|(one, _)| visits(&one.operation, |change| change.max(0)));
        self.visit(taken.collect(), "t").await?;
        let reserved = self.reserve(&staged, &open).await?;
        let given = staged.iter().zip(&open).zip(&reserved).filter(|((_, open), _)| **open);
        let given = given.flat_map(|((one, _), reserved)| {
            // What did not move after all comes back; what is given back goes with what moved.
            let done = *reserved == Reserved::Done;
            visits(&one.operation, move |change| if done { change.min(0) } else { -change.max(0) })
        });
        self.visit(given.collect(), "g").await?;
        for (staged, reserved) in staged.iter().zip(&reserved) {
            self.settle(staged, *reserved == Reserved::Done);
        }
        self.even_out(&staged, &reserved, applied).await?;
        Ok(reserved)
    }

    /// Builds the holders that operations move without having been read.
    async fn build_unread(&mut self, staged: &mut [Staged]) -> Result<(), Trouble> {
        let mut plans: BTreeMap<_, Plan> = BTreeMap::new();
        for one in staged.iter() {
            let Some(household) = one.operation.household else { continue };
            let loaded = self.households.loaded.get(&household);
            let movements = &one.operation.movements;
            let beside = beside(&one.operation).map(|(home, moved)| (home, moved.key.holder));
            for (home, holder) in beside {
                let loaded = self.households.loaded.get(&home);
                if loaded.is_none_or(|loaded| !loaded.holders.contains(&holder)) {
                    plans.entry(home).or_default().holders.insert(holder);
                }
            }
            let counted = movements.counters.iter().filter(|moved| is_here(&one.operation, moved));
            let counted = counted.map(|movement| movement.key.holder);
            let pointed = movements.points.iter().map(|(who, ..)| Holder::Recipient(*who));
            let holders = counted.chain(pointed).filter(|holder| *holder != Holder::Instruction);
            let unread = holders
                .filter(|holder| loaded.is_none_or(|loaded| !loaded.holders.contains(holder)));
            let unread: Vec<Holder> = unread.collect();
            if loaded.is_none() || !unread.is_empty() {
                plans.entry(household).or_default().holders.extend(unread);
            }
        }
        if plans.is_empty() {
            return Ok(());
        }
        let mut built = Households::default();
        // What is read here is under way in this batch.
        self.asking().read_households(plans, false, &mut built).await?;
        // Our own builds are no reason to decide again; what else came in between is.
        for one in staged.iter_mut() {
            let household = one.operation.household;
            let own = household.and_then(|household| built.loaded.get(&household));
            if let (Some(own), Some(expected)) = (own, &mut one.expected) {
                *expected += own.built;
            }
        }
        Ok(())
    }

    /// Spends in the one place, each budget once for the batch. Gives which operations go on.
    async fn spend_central(
        &mut self,
        staged: &[Staged],
        applied: &mut HashMap<CounterKey, i64>,
    ) -> Result<Vec<bool>, Trouble> {
        let mut spends: HashMap<CounterKey, i64> = HashMap::new();
        for one in staged.iter().filter(|one| !one.short) {
            for (key, change) in one.central.iter().filter(|(_, change)| *change > 0) {
                *spends.entry(key.clone()).or_default() += change;
            }
        }
        let mut open: Vec<bool> = staged.iter().map(|one| !one.short).collect();
        if spends.is_empty() {
            return Ok(open);
        }
        let expected = |key: &CounterKey| self.rooms.get(key).map(|room| room.version);
        let changes: Vec<_> =
            spends.into_iter().map(|(key, change)| (expected(&key), key, change)).collect();
        let changes: Vec<_> =
            changes.into_iter().map(|(expected, key, change)| (key, expected, change)).collect();
        let leases = std::sync::Arc::clone(&self.leases);
        let moved = self.asking().spend(&leases, &changes).await?;
        for ((key, _, change), moved) in changes.into_iter().zip(moved) {
            if moved {
                applied.insert(key, change);
                continue;
            }
            for (one, open) in staged.iter().zip(&mut open) {
                *open &= one.central.iter().all(|(of, change)| *of != key || *change < 0);
            }
        }
        Ok(open)
    }

    /// Moves counters of households beside those that were decided under, whatever they are.
    async fn visit(&mut self, visits: Vec<Visit>, turn: &str) -> Result<(), Trouble> {
        if visits.is_empty() {
            return Ok(());
        }
        let (generation, author) = (self.stamp.generation, self.stamp.author.number());
        // The next commit has a number of its own, so what conflicts now may come again.
        let nonce = format!("{author}.{}{turn}", self.commits);
        let now = Utc::now().timestamp();
        let remember = self.shared.settings.remember.as_secs();
        let call = |visit: &Visit| {
            let once = format!("{}.{nonce}", visit.operation);
            let head = [generation.to_string(), "-1".into(), "0".into(), once.clone()];
            let tail = [nonce.clone(), once, "0".into(), now.to_string(), remember.to_string()];
            let mut arguments: Vec<String> = head.into_iter().chain(tail).collect();
            arguments.push("0".into());
            for (key, change) in &visit.changes {
                arguments.extend([names::counter(key), change.to_string()]);
            }
            let key = names::household(visit.household);
            Call { key, script: Some(&RESERVE), arguments }
        };
        let calls: Vec<Call> = visits.iter().map(call).collect();
        let answers = self.ask_to_move(&calls).await?;
        for (call, answer) in calls.iter().zip(answers) {
            if self.became(call, answer)? != Reserved::Done {
                return Err(Trouble::Lost("a household"));
            }
        }
        Ok(())
    }

    /// Moves the households, all in one pipeline per node.
    async fn reserve(
        &mut self,
        staged: &[Staged],
        open: &[bool],
    ) -> Result<Vec<Reserved>, Trouble> {
        self.commits += 1;
        let author = self.stamp.author.number();
        let nonce = format!("{author}.{}", self.commits);
        let now = Utc::now().timestamp();
        let remember = self.shared.settings.remember.as_secs();
        let generation = self.stamp.generation;
        let sent: Vec<usize> = (0..staged.len()).filter(|at| open[*at]).collect();
        let calls: Vec<Call> = sent
            .iter()
            .map(|at| reserve_call(&staged[*at], generation, &nonce, now, remember))
            .collect();
        let answers = self.ask_to_move(&calls).await?;
        let mut reserved = vec![Reserved::Conflict; staged.len()];
        for ((at, call), answer) in sent.into_iter().zip(&calls).zip(answers) {
            reserved[at] = self.became(call, answer)?;
        }
        Ok(reserved)
    }

    /// Asks households to move; each answer comes with the version that was known before.
    async fn ask_to_move(&mut self, calls: &[Call]) -> Result<Vec<(u64, Value)>, Trouble> {
        let (known, generation) = (&self.shared.known, self.stamp.generation);
        let floors: Vec<u64> =
            calls.iter().map(|call| known.floor(generation, &call.key)).collect();
        let answers = self.nodes.ask("reserve", calls, true).await?;
        Ok(floors.into_iter().zip(answers).collect())
    }

    /// What became of a household that was asked to move.
    ///
    /// # Errors
    /// Where its version cannot be: the node has forgotten what it acknowledged.
    fn became(&self, call: &Call, (floor, answer): (u64, Value)) -> Result<Reserved, Trouble> {
        let answer: Vec<i64> = integers(answer)?.into_iter().flatten().collect();
        let [code, version] = answer[..] else { return Err(Trouble::Lost("a household")) };
        let version = u64::try_from(version).unwrap_or(0);
        let (known, generation) = (&self.shared.known, self.stamp.generation);
        let (can_be, became) = match code {
            0 => (known.moved(generation, &call.key, floor, version), Reserved::Done),
            1 => (version >= floor, Reserved::Exists),
            2 => (version >= floor, Reserved::Conflict),
            4 => {
                known.moved_before(generation, &call.key, version);
                (true, Reserved::Done)
            }
            _ => (false, Reserved::Conflict),
        };
        if can_be { Ok(became) } else { Err(Trouble::Lost("a household")) }
    }

    /// Gives back to budgets what refunds return, and what was spent for operations that did not
    /// move after all.
    async fn even_out(
        &mut self,
        staged: &[Staged],
        reserved: &[Reserved],
        applied: HashMap<CounterKey, i64>,
    ) -> Result<(), Trouble> {
        let mut due: HashMap<CounterKey, i64> =
            applied.into_iter().map(|(key, change)| (key, -change)).collect();
        for (one, _) in staged.iter().zip(reserved).filter(|(_, is)| **is == Reserved::Done) {
            for (key, change) in &one.central {
                *due.entry(key.clone()).or_default() += change;
            }
        }
        let changes: Vec<_> = due
            .into_iter()
            .filter(|(_, change)| *change != 0)
            .map(|(key, change)| (key, None, change))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let leases = std::sync::Arc::clone(&self.leases);
        self.asking().spend(&leases, &changes).await?;
        Ok(())
    }
}

/// What moves in a household beside the one that was decided under.
struct Visit {
    operation: String,
    household: HouseholdId,
    changes: Vec<(CounterKey, i64)>,
}

/// Whether a counter stands in the household that was decided under, or in none.
fn is_here(operation: &Operation, moved: &CounterMovement) -> bool {
    moved.key.household().is_none() || moved.key.household() == operation.household
}

/// What moves in households beside.
fn beside(operation: &Operation) -> impl Iterator<Item = (HouseholdId, &CounterMovement)> {
    let beside = operation.movements.counters.iter().filter(|moved| !is_here(operation, moved));
    beside.filter_map(|moved| Some((moved.key.household()?, moved)))
}

/// Of what moves beside, that of each change which is to move now.
fn visits(operation: &Operation, part: impl Fn(i64) -> i64) -> Vec<Visit> {
    let mut visits: BTreeMap<HouseholdId, Vec<(CounterKey, i64)>> = BTreeMap::new();
    for (household, moved) in beside(operation) {
        let change = part(moved.change);
        if change != 0 {
            visits.entry(household).or_default().push((moved.key.clone(), change));
        }
    }
    let visit = |(household, changes)| {
        let operation = operation.id.to_string();
        Visit { operation, household, changes }
    };
    visits.into_iter().map(visit).collect()
}

fn reserve_call(staged: &Staged, generation: u64, nonce: &str, now: i64, remember: u64) -> Call {
    let operation = &staged.operation;
    let key = match operation.household {
        Some(household) => names::household(household),
        None => names::anonymous(operation.authorisation),
    };
    let mut arguments = vec![
        generation.to_string(),
        staged.expected.map_or("-1".to_owned(), |version| version.to_string()),
        u8::from(operation.household.is_none()).to_string(),
        operation.id.to_string(),
        nonce.to_owned(),
        operation.authorisation.to_string(),
        operation.step.to_string(),
        now.to_string(),
        remember.to_string(),
        u8::from(staged.chained).to_string(),
    ];
    let movements = &operation.movements;
    for movement in &movements.counters {
        if movement.key.holder != Holder::Instruction && is_here(operation, movement) {
            arguments.extend([names::counter(&movement.key), movement.change.to_string()]);
        }
    }
    for (recipient, benefit, change) in &movements.points {
        arguments.extend([names::points(*recipient, benefit), change.to_string()]);
    }
    Call { key, script: Some(&RESERVE), arguments }
}
