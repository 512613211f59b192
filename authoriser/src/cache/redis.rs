//! The cache in Redis, single or Cluster: several authorisers of one process share it.
//!
//! Redis may forget, fall back, or be replaced at any time. Each hash in it carries the generation
//! in which it was built and counts its changes; this process remembers the counts. Where one does
//! not fit, the generation ends ([`Fence::advance`](crate::fence::Fence::advance)): whatever was
//! decided on it and is not yet appended is decided again, and every hash is built anew from the
//! stream when next wanted. So nothing that Redis says is trusted beyond one generation.
//!
//! **Invariant:** a missing household, holder or budget is unknown, never zero.

use std::{collections::HashMap, sync::Arc};

use domain::{
    id::{BenefitId, RecipientId},
    limit::CounterKey,
};
use redis::Value;
use tokio::task::JoinHandle;

use self::{
    budgets::{Ask, Leases, Room},
    commit::Staged,
    households::{Households, integer, plans},
    nodes::{Nodes, away},
};
use super::{Cache, CacheError, Operation, Reserved, Wanted};
use crate::{fence::Stamp, rules::Counters};

mod budgets;
mod commit;
mod hashes;
mod households;
mod known;
mod names;
mod nodes;
mod scripts;
mod settings;
mod shared;
mod tick;

pub use self::{
    hashes::{Budget, Hashes, Household, Kept, Numbers},
    settings::RedisSettings,
    shared::RedisShared,
};

/// How often a load begins again because a generation ended under it.
const LOADS: usize = 4;

/// Counters in Redis, as one decision loop uses them.
#[derive(Debug)]
pub struct RedisCache {
    shared: Arc<RedisShared>,
    /// Connections of its own: waiting for replicas stops all that goes over them.
    nodes: Nodes,
    stamp: Stamp,
    households: Households,
    rooms: HashMap<CounterKey, Room>,
    staged: Vec<Staged>,
    leases: Arc<Leases>,
    /// Tells one commit from another when it must be asked again.
    commits: u64,
    ticking: JoinHandle<()>,
}

impl Drop for RedisCache {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

/// Why something asked of Redis gave nothing.
#[derive(Debug)]
enum Trouble {
    /// Redis is not as this generation left it: the generation ends.
    Lost(&'static str),
    /// It cannot answer now.
    Cache(CacheError),
}

impl From<CacheError> for Trouble {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

/// One author asking within one generation.
struct Asking<'a> {
    shared: &'a RedisShared,
    nodes: &'a mut Nodes,
    generation: u64,
    author: u64,
}

impl RedisCache {
    /// A new author over what the process shares.
    ///
    /// # Errors
    /// Where Redis cannot be reached.
    pub async fn open(shared: Arc<RedisShared>) -> Result<Self, CacheError> {
        let nodes = Nodes::connect(shared.settings.clone(), shared.metrics.clone()).await?;
        let author = shared.fence.enlist();
        let stamp = Stamp { author, generation: shared.fence.generation() };
        let leases = Arc::new(Leases::default());
        leases.begin(stamp);
        let ticks = Nodes::connect(shared.settings.clone(), shared.metrics.clone()).await?;
        let ticking = tokio::spawn(tick::run(Arc::clone(&shared), ticks, Arc::clone(&leases)));
        Ok(Self {
            shared,
            nodes,
            stamp,
            households: Households::default(),
            rooms: HashMap::new(),
            staged: Vec::new(),
            leases,
            commits: 0,
            ticking,
        })
    }

    fn asking(&mut self) -> Asking<'_> {
        let Stamp { generation, author } = self.stamp;
        let author = author.number();
        Asking { shared: &self.shared, nodes: &mut self.nodes, generation, author }
    }

    /// Takes up the generation in force; an author that was given up for dead begins as another.
    fn begin(&mut self) {
        let fence = &self.shared.fence;
        fence.renew(self.stamp.author);
        let valid = fence.is_valid(self.stamp.author);
        let generation = fence.generation();
        if valid && generation == self.stamp.generation {
            return;
        }
        let author = if valid { self.stamp.author } else { fence.enlist() };
        self.stamp = Stamp { author, generation };
        self.leases.begin(self.stamp);
    }

    /// Whether what this author read and moved still holds.
    fn is_current(&self) -> bool {
        let fence = &self.shared.fence;
        fence.generation() == self.stamp.generation && fence.is_valid(self.stamp.author)
    }

    /// Ends the generation, because something was lost or may have been.
    async fn end_generation(&self, what: &str) {
        let next = self.shared.fence.advance(self.stamp.generation).await;
        tracing::warn!(what, generation = next, "counters in redis are rebuilt");
    }

    async fn load_once(&mut self, wanted: &[Wanted]) -> Result<(), Trouble> {
        let mut households = std::mem::take(&mut self.households);
        households.clear();
        let read = self.asking().read_households(plans(wanted), true, &mut households).await;
        self.households = households;
        read?;
        let mut budgets: HashMap<CounterKey, i64> = HashMap::new();
        let mut several = Vec::new();
        for (key, max) in wanted.iter().flat_map(|one| &one.budgets) {
            let least = budgets.entry(key.clone()).or_insert(*max);
            if *least != *max {
                *least = (*least).min(*max);
                several.push((key.clone(), *least));
            }
        }
        let leases = Arc::clone(&self.leases);
        self.rooms = self.asking().read_budgets(&leases, &budgets).await?;
        if several.is_empty() {
            return Ok(());
        }
        // Two versions of an instruction allow different totals in one period: what a slice leaves
        // fits but one of them, the use as a whole fits both.
        self.gather_all(&several).await
    }

    async fn gather_all(&mut self, budgets: &[(CounterKey, i64)]) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + self.shared.settings.gather_timeout;
        let leases = Arc::clone(&self.leases);
        let ask = |(key, max): &(CounterKey, i64)| Ask {
            key: key.clone(),
            max: Some(*max),
            wants: false,
            recalls: true,
        };
        // A call counts its budget's answers, so a budget is asked for once.
        let once: HashMap<&CounterKey, &(CounterKey, i64)> =
            budgets.iter().map(|budget| (&budget.0, budget)).collect();
        let mut asks: Vec<Ask> = once.into_values().map(ask).collect();
        loop {
            {
                let _turn = leases.turn.lock().await;
                self.asking().lease(&leases, &asks).await?;
            }
            asks.retain(|ask| !leases.is_central(&ask.key));
            if asks.is_empty() {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Trouble::Cache(CacheError::Held));
            }
            tokio::time::sleep(self.shared.settings.tick / 4).await;
        }
        let held = leases.held();
        for (key, max) in budgets {
            if let Some(lease) = held.leases.get(key) {
                self.rooms.insert(key.clone(), lease.room(*max));
            }
        }
        Ok(())
    }
}

impl Counters for RedisCache {
    fn used(&self, key: &CounterKey) -> i64 {
        if let Some(room) = self.rooms.get(key) {
            return room.used;
        }
        self.households.counters.get(key).copied().unwrap_or(0)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.households.points.get(&(recipient, benefit.clone())).copied().unwrap_or(0)
    }
}

impl Cache for RedisCache {
    async fn load(&mut self, wanted: &[Wanted]) -> Result<(), CacheError> {
        self.drop_staged();
        for _ in 0..LOADS {
            self.begin();
            match self.load_once(wanted).await {
                Ok(()) if self.is_current() => return Ok(()),
                Ok(()) => {}
                Err(Trouble::Lost(what)) => self.end_generation(what).await,
                Err(Trouble::Cache(error)) => return Err(error),
            }
        }
        Err(CacheError::Unknown { what: "what it lost" })
    }

    fn moves_somebody(&self, wanted: &[Wanted]) -> bool {
        let known = &self.shared.known;
        let elsewhere = |who, home| known.is_elsewhere(self.stamp.generation, who, home);
        wanted.iter().any(|one| {
            let Some(home) = one.household else { return false };
            one.recipients().any(|who| elsewhere(who, home))
        })
    }

    fn stage(&mut self, operation: Operation) {
        self.stage_operation(operation);
    }

    async fn commit(&mut self) -> Result<Vec<Reserved>, CacheError> {
        let staged = std::mem::take(&mut self.staged);
        let again = vec![Reserved::Conflict; staged.len()];
        if staged.is_empty() {
            return Ok(again);
        }
        if !self.is_current() {
            return Ok(again);
        }
        match self.commit_staged(staged).await {
            Ok(reserved) => Ok(reserved),
            // Nothing of this batch is on the stream, and the generation it moved in has ended.
            Err(Trouble::Lost(what)) => {
                self.end_generation(what).await;
                Ok(again)
            }
            Err(Trouble::Cache(error)) => {
                self.end_generation("the outcome of a batch").await;
                Err(error)
            }
        }
    }

    fn is_whole(&self, budget: &CounterKey) -> bool {
        self.rooms.get(budget).is_none_or(|room| room.whole)
    }

    async fn gather(&mut self, budgets: &[(CounterKey, i64)]) -> Result<(), CacheError> {
        if !self.is_current() {
            return Err(CacheError::Unknown { what: "what it lost" });
        }
        match self.gather_all(budgets).await {
            Ok(()) => Ok(()),
            Err(Trouble::Cache(error)) => Err(error),
            Err(Trouble::Lost(what)) => {
                self.end_generation(what).await;
                Err(CacheError::Unknown { what })
            }
        }
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    async fn close(&mut self) -> Result<(), CacheError> {
        self.drop_staged();
        self.ticking.abort();
        if !self.is_current() {
            self.shared.fence.retire(self.stamp.author);
            return Ok(());
        }
        let leases = Arc::clone(&self.leases);
        let give = |key| Ask { key, max: None, wants: false, recalls: false };
        let asks: Vec<Ask> = leases.kept().into_iter().map(give).collect();
        let _turn = leases.turn.lock().await;
        let given = self.asking().lease(&leases, &asks).await;
        // What could not be given back is known again from the stream, in a new generation.
        if given.is_err() {
            self.shared.fence.revoke(self.stamp.author).await;
        } else {
            self.shared.fence.retire(self.stamp.author);
        }
        match given {
            Err(Trouble::Cache(error)) => Err(error),
            Ok(()) | Err(Trouble::Lost(_)) => Ok(()),
        }
    }
}

/// The numbers of an answer; what is not there stays so.
fn integers(answer: Value) -> Result<Vec<Option<i64>>, CacheError> {
    match answer {
        Value::Array(values) => Ok(values.iter().map(integer).collect()),
        _ => Err(away("an answer that is not a list")),
    }
}
