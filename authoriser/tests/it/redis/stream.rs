//! A stream in memory, with the sums that a rebuild asks for, and a till that decides on it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use authoriser::{
    cache::{Cache, CacheError, Movements, Operation, Reserved, Wanted, truth::Truth},
    fence::{Fence, FenceError, Stamp},
    publish,
};
use chrono::{DateTime, Utc};
use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, InstructionId, RecipientId, RecordId},
    limit::{CounterKey, CounterMovement, Holder, Measure, Period},
};
use ingest::{
    log::{Log, Pending, model::ModelLog},
    record::{Position, Record, Stored},
    topic::Topic,
    wire::v1::{self, Event},
};
use tokio::sync::watch;

/// A log that sums what it holds.
#[derive(Debug, Default)]
pub struct Stream {
    log: ModelLog,
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
pub struct Sums {
    pub counters: BTreeMap<CounterKey, i64>,
    pub points: BTreeMap<(RecipientId, BenefitId), i64>,
    /// How often each record stands in it.
    pub records: HashMap<RecordId, usize>,
}

impl Sums {
    fn add(&mut self, records: &[Record]) {
        for record in records {
            let Event::AuthorisationDecided(event) = &record.event else { continue };
            let movements = publish::movements_of(event).expect("movements");
            for moved in movements.counters {
                *self.counters.entry(moved.key).or_default() += moved.change;
            }
            for (who, benefit, change) in movements.points {
                *self.points.entry((who, benefit)).or_default() += change;
            }
            *self.records.entry(record.id).or_default() += 1;
        }
    }
}

impl Stream {
    pub fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().expect("a lock")
    }

    pub fn used(&self, key: &CounterKey) -> i64 {
        self.sums().counters.get(key).copied().unwrap_or(0)
    }
}

impl Log for Stream {
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
        Box::pin(async move {
            // Appending takes its time, so that what happens meanwhile happens.
            tokio::time::sleep(Duration::from_micros(200)).await;
            self.sums().add(records);
            self.log.append(topic, records).await
        })
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        self.log.read(topic, partition, from, most)
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, ingest::error::LogError> {
        self.log.end(topic, partition)
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, ingest::error::LogError> {
        self.log.start(topic, partition)
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        self.log.at(topic, partition, instant)
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.log.subscribe(topic)
    }
}

impl Truth for Stream {
    fn counters_of(&self, holder: Holder) -> Pending<'_, Vec<(CounterKey, i64)>> {
        let sums = self.sums();
        let of = sums.counters.iter().filter(|(key, _)| key.holder == holder);
        let of: Vec<_> = of.map(|(key, used)| (key.clone(), *used)).collect();
        Box::pin(async move { Ok(of) })
    }

    fn points_of(&self, recipient: RecipientId) -> Pending<'_, Vec<(BenefitId, i64)>> {
        let sums = self.sums();
        let of = sums.points.iter().filter(|((who, _), _)| *who == recipient);
        let of: Vec<_> = of.map(|((_, benefit), used)| (benefit.clone(), *used)).collect();
        Box::pin(async move { Ok(of) })
    }

    fn budget(&self, key: &CounterKey) -> Pending<'_, i64> {
        let used = self.used(key);
        Box::pin(async move { Ok(used) })
    }
}

/// The limits of the tests' one benefit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub recipient: i64,
    pub household: i64,
    pub budget: i64,
}

/// What a till is asked: something for a recipient, or with none, from the budget alone.
#[derive(Clone, Debug)]
pub struct Basket {
    pub id: u128,
    pub step: u32,
    pub household: Option<u128>,
    pub recipient: u128,
    /// Negative gives back.
    pub wanted: i64,
}

pub fn counter(instruction: &str, holder: Holder, period: Period) -> CounterKey {
    CounterKey {
        instruction: InstructionId::new(instruction).expect("an id"),
        holder,
        period,
        period_start: "2025-01-01".parse().expect("a day"),
        measure: Measure::AmountCents,
    }
}

pub fn of_recipient(recipient: u128) -> CounterKey {
    counter("milk", Holder::Recipient(RecipientId::from_u128(recipient)), Period::Day)
}

pub fn of_household(household: u128) -> CounterKey {
    counter("milk", Holder::Household(HouseholdId::from_u128(household)), Period::Month)
}

pub fn of_all() -> CounterKey {
    counter("milk", Holder::Instruction, Period::Year)
}

pub fn club() -> BenefitId {
    BenefitId::new("club").expect("an id")
}

impl Basket {
    pub fn wants(&self, limits: &Limits) -> Wanted {
        let mut wanted = Wanted {
            household: self.household.map(HouseholdId::from_u128),
            budgets: vec![(of_all(), limits.budget)],
            ..Wanted::default()
        };
        if let Some(household) = self.household {
            wanted.counters = vec![of_recipient(self.recipient), of_household(household)];
            wanted.points = vec![(RecipientId::from_u128(self.recipient), club())];
        }
        wanted
    }

    /// Gives what the limits leave: the amount, and whether the budget cut it.
    pub fn decide(&self, limits: &Limits, cache: &impl Cache) -> (i64, bool) {
        if self.wanted < 0 {
            return (self.wanted, false);
        }
        let own = self.household.map_or(i64::MAX, |household| {
            let recipient = limits.recipient - cache.used(&of_recipient(self.recipient));
            recipient.min(limits.household - cache.used(&of_household(household)))
        });
        let left = limits.budget - cache.used(&of_all());
        let wanted = self.wanted.min(own).max(0);
        (wanted.min(left).max(0), left < wanted)
    }

    pub fn operation(&self, given: i64) -> Operation {
        let mut counters = vec![CounterMovement { key: of_all(), change: given }];
        let mut points = Vec::new();
        if let Some(household) = self.household {
            let own = [of_recipient(self.recipient), of_household(household)];
            counters.extend(own.map(|key| CounterMovement { key, change: given }));
            points.push((RecipientId::from_u128(self.recipient), club(), given));
        }
        if given == 0 {
            counters.clear();
            points.clear();
        }
        Operation {
            id: RecordId::from_u128(self.id * 16 + u128::from(self.step)),
            authorisation: AuthorisationId::from_u128(self.id),
            step: self.step,
            household: self.household.map(HouseholdId::from_u128),
            movements: Movements { counters, points },
        }
    }

    pub fn record(&self, operation: &Operation) -> Record {
        let moved = |movement: &CounterMovement| v1::CounterMovement {
            instruction_id: movement.key.instruction.to_string(),
            per: match movement.key.holder {
                Holder::Recipient(_) => "recipient".into(),
                Holder::Household(_) => "household".into(),
                Holder::Instruction => "instruction".into(),
            },
            period: movement.key.period.code().into(),
            period_start: movement.key.period_start.to_string(),
            measure: movement.key.measure.code().into(),
            change: movement.change,
        };
        let points = operation.movements.points.iter().map(|(_, benefit, change)| {
            v1::PointsMovement { benefit_id: benefit.to_string(), change: *change }
        });
        let event = v1::AuthorisationDecided {
            recipient_id: Some(RecipientId::from_u128(self.recipient).to_string()),
            household_id: operation.household.map(|household| household.to_string()),
            counters: operation.movements.counters.iter().map(moved).collect(),
            points: points.collect(),
            ..v1::AuthorisationDecided::default()
        };
        Record {
            id: operation.id,
            key: self.household.unwrap_or_default().to_string(),
            source: "till".into(),
            sequence: 0,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event: Event::AuthorisationDecided(event.into()),
        }
    }
}

/// A decision loop in a page: what the real one does with a cache, a fence and a log.
#[derive(Debug)]
pub struct Till<C> {
    pub cache: C,
    pub fence: Arc<Fence>,
    pub stream: Arc<Stream>,
    pub limits: Limits,
    /// How often it had to decide again, by reason; for whoever reads a failure.
    pub again: BTreeMap<&'static str, usize>,
}

impl<C: Cache> Till<C> {
    /// Serves baskets as one batch, until each is on the stream; gives what each got.
    pub async fn serve(&mut self, baskets: &[Basket]) -> Vec<i64> {
        let begun = Instant::now();
        let mut given = vec![None; baskets.len()];
        while given.iter().any(Option::is_none) {
            let late = begun.elapsed() > Duration::from_secs(60);
            assert!(!late, "never served; decided again for {:?}", self.again);
            let waiting: Vec<usize> =
                (0..baskets.len()).filter(|at| given[*at].is_none()).collect();
            match self.serve_once(baskets, &waiting).await {
                Ok(served) => {
                    for (at, amount) in served {
                        given[at] = Some(amount);
                    }
                }
                Err(why) => {
                    *self.again.entry(why).or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        given.into_iter().flatten().collect()
    }

    async fn serve_once(
        &mut self,
        baskets: &[Basket],
        waiting: &[usize],
    ) -> Result<Vec<(usize, i64)>, &'static str> {
        let wanted: Vec<Wanted> =
            waiting.iter().map(|at| baskets[*at].wants(&self.limits)).collect();
        self.cache.load(&wanted).await.map_err(|error| reason(&error))?;
        let mut staged = Vec::new();
        for at in waiting {
            let basket = &baskets[*at];
            let (mut amount, cut) = basket.decide(&self.limits, &self.cache);
            if cut && !self.cache.is_whole(&of_all()) {
                let budget = [(of_all(), self.limits.budget)];
                if self.cache.gather(&budget).await.is_err() {
                    *self.again.entry("gather").or_default() += 1;
                    continue;
                }
                amount = basket.decide(&self.limits, &self.cache).0;
            }
            let operation = basket.operation(amount);
            let record = basket.record(&operation);
            self.cache.stage(operation);
            staged.push((*at, amount, record));
        }
        let reserved = self.cache.commit().await.map_err(|error| reason(&error))?;
        assert_eq!(reserved.len(), staged.len(), "one answer for each");
        let done = staged.into_iter().zip(reserved).filter(|(_, is)| *is != Reserved::Conflict);
        let done: Vec<_> = done.map(|(staged, _)| staged).collect();
        let (served, records): (Vec<_>, Vec<_>) =
            done.into_iter().map(|(at, amount, record)| ((at, amount), record)).unzip();
        let stamp = self.cache.stamp();
        self.append(stamp, records).await?;
        Ok(served)
    }

    pub async fn append(&mut self, stamp: Stamp, records: Vec<Record>) -> Result<(), &'static str> {
        if records.is_empty() {
            return Ok(());
        }
        let log: Arc<dyn Log> = Arc::clone(&self.stream) as Arc<dyn Log>;
        match self.fence.append(stamp, &log, Topic::Authorisations, records).await {
            Ok(_) => Ok(()),
            Err(FenceError::Stale) => Err("stale"),
            Err(error) => panic!("{error}"),
        }
    }
}

fn reason(error: &CacheError) -> &'static str {
    match error {
        CacheError::Unknown { .. } => "unknown",
        CacheError::Away { .. } => "away",
        CacheError::Replicas { .. } => "replicas",
        CacheError::Held => "held",
        CacheError::Setting { .. } => "setting",
        CacheError::Truth(_) => "truth",
    }
}
