//! The model of a cache that several authorisers share and that may lose what it was told, as Redis
//! does in a fail-over: the contract in memory, for simulation and for the suite.
//!
//! Each counter carries the generation in which it was built and a number that rises with each
//! change. The server counts its changes; a process remembers how far it has seen it. Where the
//! server is another one, or has fewer changes, the generation ends.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    id::{AuthorisationId, BenefitId, RecipientId, RecordId},
    limit::{CounterKey, Holder},
};

use super::{Cache, CacheError, Operation, Reserved, Wanted, truth::Truth};
use crate::{
    fence::{Fence, Stamp},
    rules::Counters,
};

/// How often a load begins again because a generation ended under it.
const LOADS: usize = 4;
/// Changes that a fail-over can lose.
const UNREPLICATED: usize = 16;

/// What is counted: a limit, or somebody's points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Counter(CounterKey),
    Points(RecipientId, BenefitId),
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    generation: u64,
    change: u64,
    value: i64,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// How often anything was changed.
    changes: u64,
    cells: HashMap<Key, Cell>,
    /// What has moved, and in which generation.
    done: HashMap<RecordId, u64>,
    steps: HashMap<(AuthorisationId, u32), u64>,
}

/// Where counters are kept; it outlives every process.
#[derive(Debug, Default)]
pub struct ModelServer {
    /// Which server it is, the state that it has, and those that a replica may still have.
    state: Mutex<(u64, State, VecDeque<State>)>,
}

impl ModelServer {
    /// A replica takes over that has not heard of the newest changes.
    pub fn fail_over(&self, lost: usize) {
        let mut server = self.state();
        server.0 += 1;
        for _ in 0..lost {
            let Some(before) = server.2.pop_back() else { break };
            server.1 = before;
        }
        server.2.clear();
    }

    fn state(&self) -> MutexGuard<'_, (u64, State, VecDeque<State>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the authorisers of one process share.
#[derive(Debug)]
pub struct ModelShared {
    server: Arc<ModelServer>,
    fence: Arc<Fence>,
    truth: Arc<dyn Truth>,
    /// Which server was seen, and up to which change.
    seen: Mutex<(u64, u64)>,
}

/// Why nothing was read or moved.
enum Trouble {
    /// The server is not as this generation left it.
    Lost,
    Cache(CacheError),
}

impl ModelShared {
    /// What a process begins with.
    #[must_use]
    pub fn open(server: Arc<ModelServer>, fence: Arc<Fence>, truth: Arc<dyn Truth>) -> Arc<Self> {
        let seen = {
            let state = server.state();
            (state.0, state.1.changes)
        };
        Arc::new(Self { server, fence, truth, seen: Mutex::new(seen) })
    }

    /// Looks at the server, unless it has lost something since it was last seen.
    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, Trouble> {
        let server = self.server.state();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (*seen, (server.0, server.1.changes));
        *seen = now;
        if now.0 != before.0 || now.1 < before.1 {
            return Err(Trouble::Lost);
        }
        Ok(look(&server.1))
    }

    /// Changes something there, unless it has lost something since.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Trouble> {
        self.look(|_| ())?;
        let mut server = self.server.state();
        let before = server.1.clone();
        let done = change(&mut server.1);
        server.2.push_back(before);
        if server.2.len() > UNREPLICATED {
            server.2.pop_front();
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1 = seen.1.max(server.1.changes);
        Ok(done)
    }

    /// Builds from the stream what this generation has not counted yet.
    async fn build(&self, keys: &[Key], generation: u64) -> Result<(), Trouble> {
        let missing = self.look(|state| {
            let counted =
                |key: &&Key| state.cells.get(*key).is_some_and(|at| at.generation == generation);
            keys.iter().filter(|key| !counted(key)).cloned().collect::<Vec<_>>()
        })?;
        for key in missing {
            let value =
                self.true_value(&key).await.map_err(|error| Trouble::Cache(error.into()))?;
            self.change(|state| {
                // Whoever was faster may have moved it already.
                if state.cells.get(&key).is_none_or(|at| at.generation < generation) {
                    state.changes += 1;
                    let change = state.changes;
                    state.cells.insert(key, Cell { generation, change, value });
                }
            })?;
        }
        Ok(())
    }

    async fn true_value(&self, key: &Key) -> Result<i64, ingest::error::LogError> {
        match key {
            Key::Counter(key) if key.holder == Holder::Instruction => self.truth.budget(key).await,
            Key::Counter(key) => {
                let all = self.truth.counters_of(key.holder).await?;
                Ok(all.iter().find(|(of, _)| of == key).map_or(0, |(_, used)| *used))
            }
            Key::Points(who, benefit) => {
                let all = self.truth.points_of(*who).await?;
                Ok(all.iter().find(|(of, _)| of == benefit).map_or(0, |(_, points)| *points))
            }
        }
    }
}

/// The shared cache as one decision loop uses it.
#[derive(Debug)]
pub struct ModelCache {
    shared: Arc<ModelShared>,
    stamp: Stamp,
    /// What was loaded, with what was staged since, and at which change it stood.
    read: HashMap<Key, (i64, u64)>,
    staged: Vec<Operation>,
}

impl ModelCache {
    /// A new author over what the process shares.
    #[must_use]
    pub fn open(shared: Arc<ModelShared>) -> Self {
        let author = shared.fence.enlist();
        let stamp = Stamp { author, generation: shared.fence.generation() };
        Self { shared, stamp, read: HashMap::new(), staged: Vec::new() }
    }

    /// Ends the generation: what was moved in it and is not appended never was.
    pub async fn end_generation(&self) {
        self.shared.fence.advance(self.stamp.generation).await;
    }

    fn is_current(&self) -> bool {
        let fence = &self.shared.fence;
        fence.generation() == self.stamp.generation && fence.is_valid(self.stamp.author)
    }

    fn begin(&mut self) {
        let fence = &self.shared.fence;
        let valid = fence.is_valid(self.stamp.author);
        let author = if valid { self.stamp.author } else { fence.enlist() };
        self.stamp = Stamp { author, generation: fence.generation() };
    }

    async fn load_once(&mut self, wanted: &[Wanted]) -> Result<(), Trouble> {
        self.read.clear();
        let keys: Vec<Key> = wanted.iter().flat_map(keys_of).collect();
        self.shared.build(&keys, self.stamp.generation).await?;
        self.read = self.shared.look(|state| {
            let read = keys.into_iter().filter_map(|key| {
                let cell = state.cells.get(&key)?;
                Some((key, (cell.value, cell.change)))
            });
            read.collect()
        })?;
        Ok(())
    }

    async fn commit_staged(&mut self, staged: Vec<Operation>) -> Result<Vec<Reserved>, Trouble> {
        let generation = self.stamp.generation;
        let keys: Vec<Key> = staged.iter().flat_map(|of| moved(of).map(|(key, _)| key)).collect();
        self.shared.build(&keys, generation).await?;
        let read = &mut self.read;
        self.shared.change(|state| {
            let each = staged.iter().map(|operation| state.apply(operation, generation, read));
            each.collect()
        })
    }
}

impl State {
    /// All of an operation, or nothing.
    fn apply(
        &mut self,
        operation: &Operation,
        generation: u64,
        read: &mut HashMap<Key, (i64, u64)>,
    ) -> Reserved {
        let step = (operation.authorisation, operation.step);
        if self.done.get(&operation.id) == Some(&generation) {
            return Reserved::Exists;
        }
        let stale = |key: &Key| {
            let change = self.cells.get(key).map(|cell| cell.change);
            read.get(key).is_some_and(|(_, read)| Some(*read) != change)
        };
        let taken = self.steps.get(&step) == Some(&generation);
        if taken || moved(operation).any(|(key, _)| stale(&key)) {
            return Reserved::Conflict;
        }
        self.changes += 1;
        self.done.insert(operation.id, generation);
        self.steps.insert(step, generation);
        for (key, change) in moved(operation) {
            let Some(cell) = self.cells.get_mut(&key) else { continue };
            cell.value += change;
            cell.change = self.changes;
            if let Some(read) = read.get_mut(&key) {
                read.1 = self.changes;
            }
        }
        Reserved::Done
    }
}

fn keys_of(wanted: &Wanted) -> impl Iterator<Item = Key> {
    let counters = wanted.counters.iter().chain(wanted.budgets.iter().map(|(key, _)| key));
    let points = wanted.points.iter().map(|(who, benefit)| Key::Points(*who, benefit.clone()));
    counters.cloned().map(Key::Counter).chain(points)
}

fn moved(operation: &Operation) -> impl Iterator<Item = (Key, i64)> {
    let counters = operation.movements.counters.iter();
    let counters = counters.map(|moved| (Key::Counter(moved.key.clone()), moved.change));
    let points = operation.movements.points.iter();
    counters.chain(points.map(|(who, of, change)| (Key::Points(*who, of.clone()), *change)))
}

impl Counters for ModelCache {
    fn used(&self, key: &CounterKey) -> i64 {
        self.read.get(&Key::Counter(key.clone())).map_or(0, |(used, _)| *used)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.read.get(&Key::Points(recipient, benefit.clone())).map_or(0, |(points, _)| *points)
    }
}

impl Cache for ModelCache {
    async fn load(&mut self, wanted: &[Wanted]) -> Result<(), CacheError> {
        self.staged.clear();
        for _ in 0..LOADS {
            self.begin();
            match self.load_once(wanted).await {
                Ok(()) if self.is_current() => return Ok(()),
                Ok(()) => {}
                Err(Trouble::Lost) => self.end_generation().await,
                Err(Trouble::Cache(error)) => return Err(error),
            }
        }
        Err(CacheError::Unknown { what: "what it lost" })
    }

    fn stage(&mut self, operation: Operation) {
        for (key, change) in moved(&operation) {
            if let Some((value, _)) = self.read.get_mut(&key) {
                *value += change;
            }
        }
        self.staged.push(operation);
    }

    async fn commit(&mut self) -> Result<Vec<Reserved>, CacheError> {
        let staged = std::mem::take(&mut self.staged);
        let again = vec![Reserved::Conflict; staged.len()];
        if staged.is_empty() || !self.is_current() {
            return Ok(again);
        }
        match self.commit_staged(staged).await {
            Ok(reserved) => Ok(reserved),
            Err(Trouble::Lost) => {
                self.end_generation().await;
                Ok(again)
            }
            Err(Trouble::Cache(error)) => {
                self.end_generation().await;
                Err(error)
            }
        }
    }

    fn is_whole(&self, _: &CounterKey) -> bool {
        true
    }

    async fn gather(&mut self, _: &[(CounterKey, i64)]) -> Result<(), CacheError> {
        Ok(())
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    async fn close(&mut self) -> Result<(), CacheError> {
        self.shared.fence.retire(self.stamp.author);
        Ok(())
    }
}
