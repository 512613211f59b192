//! What lies in Redis, hash by hash, for whoever compares it with the stream. Nothing is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    id::{BenefitId, RecipientId, RecordId},
    limit::{CounterKey, Holder},
};
use redis::{Cmd, Value};

use super::{
    RedisSettings,
    households::integer,
    names,
    nodes::{Nodes, away},
};
use crate::{cache::CacheError, metrics::Metrics};

/// Hashes that are asked for together, which bounds the memory.
const TOGETHER: u32 = 64;
/// How long a node may take over them: nobody waits at a till.
const PATIENCE: Duration = Duration::from_secs(10);

/// All hashes of one Redis.
#[derive(Debug)]
pub struct Hashes {
    nodes: Nodes,
    generation: u64,
}

/// A hash as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The generation in which it was built, in which alone it is read.
    pub generation: u64,
    /// The newest steps that moved it: of each authorisation the last one; where what moved is of
    /// another household, the record of the step, as its step 0. The newest of all is always there.
    pub moved: Vec<(RecordId, u32)>,
    /// What it holds.
    pub numbers: Numbers,
}

/// What a hash holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// What a household has used.
    Household(Household),
    /// What is used of a limit across all recipients.
    Budget(Budget),
    /// No numbers: it only remembers which anonymous baskets moved budgets.
    Nothing,
}

/// A household's counters and points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Household {
    /// The holders that were built in; of others nothing is known, and nothing is read.
    pub holders: BTreeSet<Holder>,
    /// Counters of these holders. One that is not there is read as 0.
    pub counters: BTreeMap<CounterKey, i64>,
    /// Points of the recipients among them, likewise.
    pub points: BTreeMap<(RecipientId, BenefitId), i64>,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The limit.
    pub key: CounterKey,
    /// What is spent or leased; none where it says no number.
    pub used: Option<i64>,
    /// How much of it is leased and not spent at most; 0 after everybody has ended in order.
    pub leased: i64,
}

impl Hashes {
    /// Connects, and finds the generation in force: the newest of which anything lies there, as a
    /// process writes down a new one a moment after it has begun.
    ///
    /// # Errors
    /// Where Redis cannot be reached.
    pub async fn open(settings: RedisSettings, metrics: Metrics) -> Result<Self, CacheError> {
        let settings = RedisSettings { request_timeout: PATIENCE, ..settings };
        let mut nodes = Nodes::connect(settings, metrics).await?;
        let home = nodes.home(names::GENERATION)?;
        let stands = nodes.command(&home, redis::cmd("GET").arg(names::GENERATION)).await?;
        let mut newest = number(&stands);
        let mut hashes = Self { nodes, generation: newest };
        let generation = |key: &str| redis::cmd("HGET").arg(key).arg("g").to_owned();
        let told = hashes.ask_each(generation, |_, answer| {
            newest = newest.max(number(&answer));
            Ok::<(), CacheError>(())
        });
        told.await?;
        hashes.generation = newest;
        Ok(hashes)
    }

    /// The generation in force; 0 where nothing lies there.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells every hash, in memory that does not grow with how many there are.
    ///
    /// # Errors
    /// Where Redis does not answer, or the first error of `each`.
    pub async fn each<E: From<CacheError>>(
        &mut self,
        mut each: impl FnMut(Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = |key: &str| redis::cmd("HGETALL").arg(key).to_owned();
        self.ask_each(all, |key, answer| each(kept(key, texts(answer)?))).await
    }

    /// Asks something of every hash.
    async fn ask_each<E: From<CacheError>>(
        &mut self,
        ask: impl Fn(&str) -> Cmd,
        mut take: impl FnMut(&str, Value) -> Result<(), E>,
    ) -> Result<(), E> {
        for node in self.nodes.primaries() {
            let mut cursor = "0".to_owned();
            loop {
                let (next, keys) = self.keys(&node, &cursor).await?;
                let commands: Vec<Cmd> = keys.iter().map(|key| ask(key)).collect();
                let answers = self.nodes.commands(&node, &commands).await?;
                for (key, answer) in keys.iter().zip(answers) {
                    take(key, answer)?;
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Some keys of a node, and the cursor at which the next ones begin.
    async fn keys(
        &mut self,
        node: &str,
        cursor: &str,
    ) -> Result<(String, Vec<String>), CacheError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(names::HASHES).arg("COUNT").arg(TOGETHER);
        let unclear = || away("an answer that is no list of keys");
        let Value::Array(answer) = self.nodes.command(node, &scan).await? else {
            return Err(unclear());
        };
        let [next, keys] = <[Value; 2]>::try_from(answer).map_err(|_| unclear())?;
        Ok((text(next)?, texts(keys)?))
    }
}

/// A number of an answer; 0 where there is none.
fn number(answer: &Value) -> u64 {
    integer(answer).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn text(value: Value) -> Result<String, CacheError> {
    match value {
        Value::BulkString(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        _ => Err(away("an answer that is no text")),
    }
}

fn texts(answer: Value) -> Result<Vec<String>, CacheError> {
    match answer {
        Value::Array(values) => values.into_iter().map(text).collect(),
        Value::ServerError(error) => Err(away(&error.to_string())),
        _ => Err(away("an answer that is not a list")),
    }
}

/// A hash, from its key and its fields and values in turn.
fn kept(key: &str, texts: Vec<String>) -> Kept {
    let mut fields = BTreeMap::new();
    let mut texts = texts.into_iter();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        fields.insert(name, value);
    }
    let generation = fields.get("g").and_then(|generation| generation.parse().ok()).unwrap_or(0);
    let moved = fields.iter().filter_map(|(name, value)| moved(name, value)).collect();
    let numbers = household(key, &fields).map(Numbers::Household);
    let numbers = numbers.or_else(|| budget(key, &fields).map(Numbers::Budget));
    Kept { generation, moved, numbers: numbers.unwrap_or(Numbers::Nothing) }
}

/// The step that a field of `reserve.lua` remembers.
fn moved(name: &str, value: &str) -> Option<(RecordId, u32)> {
    // Of another household's step the record stands before the number of its commit.
    let id = name.strip_prefix('s')?.split('.').next()?;
    Some((RecordId::parse(id)?, value.split(' ').next()?.parse().ok()?))
}

fn household(key: &str, fields: &BTreeMap<String, String>) -> Option<Household> {
    let id = names::read_household(key)?;
    let mut household = Household::default();
    household.holders.extend(fields.keys().filter_map(|name| names::read_marker(name, id)));
    for (name, value) in fields {
        let Ok(value) = value.parse::<i64>() else { continue };
        if let Some(counter) = names::read_counter(name, id) {
            household.counters.insert(counter, value);
        } else if let Some(points) = names::read_points(name) {
            household.points.insert(points, value);
        }
    }
    let Household { holders, counters, points } = &mut household;
    counters.retain(|counter, _| holders.contains(&counter.holder));
    points.retain(|(who, _), _| holders.contains(&Holder::Recipient(*who)));
    Some(household)
}

fn budget(key: &str, fields: &BTreeMap<String, String>) -> Option<Budget> {
    let key = names::read_budget(key)?;
    let used = fields.get("used").and_then(|used| used.parse().ok());
    // Each author's last call of `lease.lua`: its number, the slice, and what was under way.
    let leases = fields.iter().filter(|(name, _)| name.starts_with('l'));
    let parts = leases.flat_map(|(_, lease)| lease.split(' ').skip(1));
    let parts = parts.filter_map(|part| part.parse::<i64>().ok());
    Some(Budget { key, used, leased: parts.fold(0, i64::saturating_add) })
}

#[cfg(test)]
mod tests {
    use domain::id::HouseholdId;

    use super::*;

    const HOME: HouseholdId = HouseholdId::from_u128(9);
    const WHO: RecipientId = RecipientId::from_u128(7);

    fn counter(holder: Holder) -> CounterKey {
        let read = names::read_budget("avis:{bmilk|month|2025-02-01|units}").expect("a budget");
        CounterKey { holder, ..read }
    }

    fn lies(key: &str, fields: &[(&str, &str)]) -> Kept {
        let texts = fields.iter().flat_map(|(name, value)| [*name, *value].map(str::to_owned));
        kept(key, texts.collect())
    }

    #[test]
    fn a_household_tells_what_was_built_in() {
        let (of_all, of_one) = (counter(Holder::Household(HOME)), counter(Holder::Recipient(WHO)));
        let stranger = counter(Holder::Recipient(RecipientId::from_u128(8)));
        let step = RecordId::from_u128(5);
        let benefit = BenefitId::new("club").expect("an id");
        let fields = [
            ("g".to_owned(), "4294967297"),
            ("v".to_owned(), "3"),
            ("w".to_owned(), "1.2"),
            ("bh".to_owned(), "1"),
            (names::marker(Holder::Recipient(WHO)), "1"),
            (names::counter(&of_all), "3"),
            (names::counter(&of_one), "2"),
            (names::counter(&stranger), "9"),
            (names::points(WHO, &benefit), "-4"),
            (format!("o{step}"), "1.2 1700000000"),
            (format!("s{step}"), "2 1700000000"),
            (format!("s{step}.1.2t"), "0 1700000000"),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let Kept { generation, moved, numbers } = lies(&names::household(HOME), &fields);
        assert_eq!((generation, moved), (1 << 32 | 1, vec![(step, 2), (step, 0)]));
        let Numbers::Household(found) = numbers else { panic!("no household") };
        let holders = [Holder::Household(HOME), Holder::Recipient(WHO)];
        assert_eq!(found.holders, BTreeSet::from(holders));
        assert_eq!(found.counters, BTreeMap::from([(of_all, 3), (of_one, 2)]));
        assert_eq!(found.points, BTreeMap::from([((WHO, benefit), -4)]));
    }

    #[test]
    fn a_budget_tells_what_is_leased_of_it() {
        let key = counter(Holder::Instruction);
        let fields = [("g", "7"), ("used", "100"), ("l1", "3 20 5"), ("l2", "9 0 0"), ("d1", "4")];
        let found = lies(&names::budget(&key), &fields).numbers;
        assert_eq!(found, Numbers::Budget(Budget { key, used: Some(100), leased: 25 }));
        let anonymous = lies("avis:{a17}", &[("g", "7"), ("v", "1")]);
        assert_eq!(anonymous.numbers, Numbers::Nothing);
    }
}
