//! A cache with what can happen on the way to it, and with the bugs that can be planted in it.

use std::sync::Arc;

use authoriser::{
    cache::{
        Cache, CacheError, Operation, Reserved, Wanted, embedded::EmbeddedCache, model::ModelCache,
    },
    fence::Stamp,
    rules::Counters,
};
use domain::{
    id::{BenefitId, RecipientId},
    limit::{CounterKey, Period},
    period::LocalTime,
};
use ingest::clock::Clock;

use crate::faults::{Machine, Planted};

/// What stands between a decision loop and where its counters are kept.
#[derive(Debug)]
pub struct Between<C> {
    inner: C,
    machine: Machine,
    clock: Arc<dyn Clock>,
    planted: Option<Planted>,
    /// What others do not see before it is committed, where that is planted.
    unseen: Vec<Operation>,
}

impl<C> Between<C> {
    /// Puts itself before a cache.
    pub const fn new(
        inner: C,
        machine: Machine,
        clock: Arc<dyn Clock>,
        planted: Option<Planted>,
    ) -> Self {
        Self { inner, machine, clock, planted, unseen: Vec::new() }
    }

    /// The counter that is looked at where days are those of UTC.
    fn of_day(&self, key: &CounterKey) -> CounterKey {
        let now = self.clock.now();
        let today = LocalTime::of(now).date;
        let mut key = key.clone();
        if key.period == Period::Day && key.period_start == today {
            key.period_start = now.date_naive();
        }
        key
    }

    /// What moves, with what is planted.
    fn altered(&self, mut operation: Operation) -> Operation {
        match self.planted {
            Some(Planted::RefundGivenBackTwice) if operation.step > 0 => {
                for moved in &mut operation.movements.counters {
                    moved.change *= 2;
                }
            }
            Some(Planted::PeriodByUtc) => {
                for moved in &mut operation.movements.counters {
                    moved.key = self.of_day(&moved.key);
                }
            }
            _ => {}
        }
        operation
    }
}

impl<C: Counters> Counters for Between<C> {
    fn used(&self, key: &CounterKey) -> i64 {
        match self.planted {
            Some(Planted::PeriodByUtc) => self.inner.used(&self.of_day(key)),
            _ => self.inner.used(key),
        }
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.inner.points(recipient, benefit)
    }
}

/// A cache that may be far away, and what it does where an answer does not come.
pub trait Distant: Cache {
    /// Ends the generation, since nobody knows what a lost message did.
    fn forget(&self) -> impl Future<Output = ()> + Send;
}

impl Distant for EmbeddedCache {
    async fn forget(&self) {}
}

impl Distant for ModelCache {
    async fn forget(&self) {
        self.end_generation().await;
    }
}

impl<C: Distant + Sync> Cache for Between<C> {
    const IS_LOADED: bool = C::IS_LOADED;

    async fn load(&mut self, wanted: &[Wanted]) -> Result<(), CacheError> {
        self.unseen.clear();
        if C::IS_LOADED {
            self.machine.time.sleep(self.machine.dice.millis(0, 2)).await;
            if self.machine.is_cut_off() || self.machine.fails_once_in(150) {
                return Err(CacheError::Away { what: "no answer".into() });
            }
        }
        self.inner.load(wanted).await
    }

    fn moves_somebody(&self, wanted: &[Wanted]) -> bool {
        self.inner.moves_somebody(wanted)
    }

    fn stage(&mut self, operation: Operation) {
        let operation = self.altered(operation);
        match self.planted {
            Some(Planted::ClipIgnoresReservation) => self.unseen.push(operation),
            _ => self.inner.stage(operation),
        }
    }

    async fn commit(&mut self) -> Result<Vec<Reserved>, CacheError> {
        for operation in std::mem::take(&mut self.unseen) {
            self.inner.stage(operation);
        }
        if !C::IS_LOADED {
            return self.inner.commit().await;
        }
        let lost = self.machine.is_cut_off() || self.machine.fails_once_in(150);
        if lost && self.machine.dice.once_in(2) {
            // The message never came there.
            self.inner.forget().await;
            return Err(CacheError::Away { what: "no answer".into() });
        }
        self.machine.time.sleep(self.machine.dice.millis(0, 2)).await;
        let committed = self.inner.commit().await;
        self.machine.time.sleep(self.machine.dice.millis(0, 2)).await;
        if lost {
            // It did what it was told, and nobody hears of it.
            self.inner.forget().await;
            return Err(CacheError::Away { what: "no answer".into() });
        }
        committed
    }

    fn is_whole(&self, budget: &CounterKey) -> bool {
        self.inner.is_whole(budget)
    }

    async fn gather(&mut self, budgets: &[(CounterKey, i64)]) -> Result<(), CacheError> {
        self.inner.gather(budgets).await
    }

    fn stamp(&self) -> Stamp {
        self.inner.stamp()
    }

    async fn close(&mut self) -> Result<(), CacheError> {
        self.inner.close().await
    }
}
