//! Households: reading their counters, and building in what is not there from the stream.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::{
    id::{BenefitId, HouseholdId, RecipientId},
    limit::{CounterKey, Holder},
};
use redis::Value;

use super::{
    Asking, Trouble, integers, names,
    nodes::Call,
    scripts::{BUILD, LEAVE},
};
use crate::cache::Wanted;

/// Passes in which a household is read, built and read again; more means that others undo it.
const PASSES: usize = 4;

/// What is to be read of one household.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) holders: BTreeSet<Holder>,
    counters: BTreeSet<CounterKey>,
    points: BTreeSet<(RecipientId, BenefitId)>,
}

/// One household as it was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: u64,
    /// Whether something was staged upon it.
    pub(super) staged: bool,
    pub(super) holders: HashSet<Holder>,
    /// How many builds of ours the version holds, beyond what was first read.
    pub(super) built: u64,
}

/// What was read of households, and what was staged upon it.
#[derive(Debug, Default)]
pub(super) struct Households {
    pub(super) loaded: HashMap<HouseholdId, Loaded>,
    pub(super) counters: HashMap<CounterKey, i64>,
    pub(super) points: HashMap<(RecipientId, BenefitId), i64>,
}

impl Households {
    /// Forgets what was read, and keeps the room for what is read next.
    pub(super) fn clear(&mut self) {
        self.loaded.clear();
        self.counters.clear();
        self.points.clear();
    }
}

/// What all decisions of a batch want, by household.
pub(super) fn plans(wanted: &[Wanted]) -> BTreeMap<HouseholdId, Plan> {
    let mut plans: BTreeMap<HouseholdId, Plan> = BTreeMap::new();
    for one in wanted {
        let Some(household) = one.household else { continue };
        let plan = plans.entry(household).or_default();
        for key in one.counters.iter().filter(|key| key.holder != Holder::Instruction) {
            plan.holders.insert(key.holder);
            plan.counters.insert(key.clone());
        }
        for (recipient, benefit) in &one.points {
            plan.holders.insert(Holder::Recipient(*recipient));
            plan.points.insert((*recipient, benefit.clone()));
        }
    }
    plans
}

impl Asking<'_> {
    /// Reads the households, after building in what is missing. A recipient who was in another
    /// household moves to where it is wanted now; only where all that this author committed before is
    /// on the stream, which building it in reads.
    pub(super) async fn read_households(
        &mut self,
        mut plans: BTreeMap<HouseholdId, Plan>,
        all_on_stream: bool,
        into: &mut Households,
    ) -> Result<(), Trouble> {
        let (generation, author) = (self.generation, self.author);
        let mut leaving = Vec::new();
        for (household, plan) in &plans {
            for holder in &plan.holders {
                let Holder::Recipient(who) = holder else { continue };
                let known = &self.shared.known;
                if known.lives(generation, *who, *household, author) {
                    continue;
                }
                let left = known.moves(generation, *who, *household, author);
                let left = left.filter(|_| all_on_stream);
                leaving.push((*who, left.ok_or(Trouble::Lost("a recipient who moved"))?));
            }
        }
        self.leave(&leaving).await?;
        let mut built = HashMap::new();
        for _ in 0..PASSES {
            let missing = self.read_once(&mut plans, into, &built).await?;
            if missing.is_empty() {
                return Ok(());
            }
            self.build(&missing, &mut built).await?;
        }
        Err(Trouble::Lost("a household that is not kept"))
    }

    /// Takes recipients out of the households that they left. What was decided there on their counters
    /// and comes now conflicts.
    async fn leave(&mut self, leaving: &[(RecipientId, HouseholdId)]) -> Result<(), Trouble> {
        if leaving.is_empty() {
            return Ok(());
        }
        let call = |(who, left): &(RecipientId, HouseholdId)| Call {
            key: names::household(*left),
            script: Some(&LEAVE),
            arguments: vec![self.generation.to_string(), who.to_string()],
        };
        let calls: Vec<Call> = leaving.iter().map(call).collect();
        let known = &self.shared.known;
        let floor = |call: &Call| known.floor(self.generation, &call.key);
        let floors: Vec<u64> = calls.iter().map(floor).collect();
        // Half done it is known in no household, so where this fails the generation ends.
        let answers = self.nodes.ask("leave", &calls, false).await;
        let answers = answers.map_err(|_| Trouble::Lost("a recipient who moved"))?;
        for ((call, floor), answer) in calls.iter().zip(floors).zip(answers) {
            let answer: Vec<i64> = integers(answer)?.into_iter().flatten().collect();
            let known = &self.shared.known;
            let can_be = match answer[..] {
                [0, version] => {
                    let version = u64::try_from(version).unwrap_or(0);
                    known.moved(self.generation, &call.key, floor, version)
                }
                // It was asked for there, and nothing was kept.
                _ => floor == 0,
            };
            if !can_be {
                return Err(Trouble::Lost("a household"));
            }
        }
        Ok(())
    }

    /// Reads each household once; those that are whole are taken from the plans, of the others the
    /// holders that are missing are given.
    async fn read_once(
        &mut self,
        plans: &mut BTreeMap<HouseholdId, Plan>,
        into: &mut Households,
        built: &HashMap<HouseholdId, u64>,
    ) -> Result<BTreeMap<HouseholdId, Vec<Holder>>, Trouble> {
        let known = &self.shared.known;
        let floor = |id: &HouseholdId| known.floor(self.generation, &names::household(*id));
        let floors: Vec<u64> = plans.keys().map(floor).collect();
        let calls: Vec<Call> = plans.iter().map(|(id, plan)| read(*id, plan)).collect();
        let answers = self.nodes.ask("load", &calls, false).await?;
        let mut missing = BTreeMap::new();
        let asked = std::mem::take(plans);
        for (((id, plan), floor), answer) in asked.into_iter().zip(floors).zip(answers) {
            let fields = integers(answer)?;
            let mut fields = fields.into_iter();
            let generation = fields.next().flatten();
            let version = fields.next().flatten().unwrap_or(0);
            let version = u64::try_from(version).unwrap_or(0);
            let ours = generation.and_then(|there| u64::try_from(there).ok());
            if ours.is_some_and(|there| there > self.generation) {
                return Err(Trouble::Lost("a generation that has ended"));
            }
            let here = ours == Some(self.generation);
            if version < floor && here || floor > 0 && !here {
                return Err(Trouble::Lost("a household"));
            }
            let lacking = |holder: &Holder| (!here).then_some(*holder);
            let there = plan.holders.iter().map(|holder| (holder, fields.next().flatten()));
            let there: Vec<_> = there.collect();
            let lacks: Vec<Holder> = there
                .iter()
                .filter_map(|(holder, there)| {
                    there.is_none().then_some(**holder).or_else(|| lacking(holder))
                })
                .collect();
            if !here || !lacks.is_empty() {
                missing.insert(id, lacks);
                plans.insert(id, plan);
                continue;
            }
            let counters = plan.counters.into_iter().map(|key| (key, fields.next().flatten()));
            into.counters
                .extend(counters.map(|(key, used)| (key, used.unwrap_or(0))).collect::<Vec<_>>());
            let points = plan.points.into_iter().map(|key| (key, fields.next().flatten()));
            into.points.extend(points.map(|(key, balance)| (key, balance.unwrap_or(0))));
            let built = built.get(&id).copied().unwrap_or(0);
            let holders = plan.holders.into_iter().collect();
            into.loaded.insert(id, Loaded { version, staged: false, holders, built });
        }
        Ok(missing)
    }

    /// Builds holders from the stream. Nothing of this generation can have moved a holder that was
    /// not built in it, so the stream has all that counts.
    async fn build(
        &mut self,
        missing: &BTreeMap<HouseholdId, Vec<Holder>>,
        built: &mut HashMap<HouseholdId, u64>,
    ) -> Result<(), Trouble> {
        let mut calls = Vec::with_capacity(missing.len());
        for (household, holders) in missing {
            let mut arguments = vec![self.generation.to_string(), holders.len().to_string()];
            for holder in holders {
                let fields = self.truth_of(*holder).await?;
                arguments.push(names::marker(*holder));
                arguments.push(fields.len().to_string());
                arguments.extend(fields.into_iter().flat_map(|(name, value)| [name, value]));
            }
            calls.push(Call { key: names::household(*household), script: Some(&BUILD), arguments });
        }
        let known = &self.shared.known;
        let floor = |call: &Call| known.floor(self.generation, &call.key);
        let floors: Vec<u64> = calls.iter().map(floor).collect();
        let answers = self.nodes.ask("build", &calls, false).await?;
        for (((household, call), floor), answer) in
            missing.keys().zip(&calls).zip(floors).zip(answers)
        {
            let answer: Vec<i64> = integers(answer)?.into_iter().flatten().collect();
            let [0, version, created, added] = answer[..] else {
                return Err(Trouble::Lost("a generation that has ended"));
            };
            let version = u64::try_from(version).unwrap_or(0);
            let can_be = match (created, added) {
                (1, _) => known.created(self.generation, &call.key, version),
                (_, 0) => version >= floor,
                _ => known.moved(self.generation, &call.key, floor, version),
            };
            if !can_be {
                return Err(Trouble::Lost("a household"));
            }
            *built.entry(*household).or_default() += u64::from(created == 0 && added > 0);
        }
        Ok(())
    }

    async fn truth_of(&self, holder: Holder) -> Result<Vec<(String, String)>, Trouble> {
        let truth = &self.shared.truth;
        let counters = truth.counters_of(holder).await.map_err(crate::cache::CacheError::from)?;
        let mut fields: Vec<_> =
            counters.iter().map(|(key, used)| (names::counter(key), used.to_string())).collect();
        if let Holder::Recipient(who) = holder {
            let points = truth.points_of(who).await.map_err(crate::cache::CacheError::from)?;
            let named = |(benefit, balance): &(BenefitId, i64)| {
                (names::points(who, benefit), balance.to_string())
            };
            fields.extend(points.iter().map(named));
        }
        Ok(fields)
    }
}

fn read(household: HouseholdId, plan: &Plan) -> Call {
    let mut arguments = vec!["g".to_owned(), "v".to_owned()];
    arguments.extend(plan.holders.iter().map(|holder| names::marker(*holder)));
    arguments.extend(plan.counters.iter().map(names::counter));
    arguments.extend(plan.points.iter().map(|(who, benefit)| names::points(*who, benefit)));
    Call { key: names::household(household), script: None, arguments }
}

/// A value as the number that it is.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
