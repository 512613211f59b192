//! The rows that have not landed yet: served from memory under their table's name.
//!
//! A pipeline [appends](Tail::append) rows to its table's tail as it computes them, and
//! [lands](Tail::land) them now and then in one commit. Queries of the same process
//! ([`Session::open_with`](crate::session::Session::open_with)) see a table as the version that the
//! tail belongs to, and the tail; at a commit both change in one step. So a row that was appended is
//! seen from then on, once: in memory or in the table, never in both, never in neither.
//!
//! Tables over one stream are computed each at its own pace; a query sees all of them at one set of
//! offsets.
//!
//! Where queries are another process's, it has a copy of each tail, which it is told every change of
//! ([`Follower`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::array::RecordBatch;

use crate::{
    error::WarehouseError,
    schema,
    session::readers::Readers,
    table::{Pending, Positions, Table, fit},
};
use abreast::Standing;
use change::{Appended, Change, What};
use watch::Watcher;

mod abreast;
pub(crate) mod change;
mod follow;
mod provider;
pub(crate) mod watch;

pub use abreast::FAR;
pub use follow::{FOLLOWED, Follower, Source};
pub(crate) use provider::TailProvider;

/// How much a tail takes before it wants to be landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Rows.
    pub rows: usize,
    /// Bytes in memory.
    pub bytes: usize,
}

impl Default for Bound {
    fn default() -> Self {
        Self { rows: 200_000, bytes: 64 << 20 }
    }
}

/// How full a tail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Rows that have not landed.
    pub rows: usize,
    /// What they take in memory.
    pub bytes: usize,
    /// Whether that is more than it should hold: its pipeline lands before it goes on.
    pub over: bool,
}

/// The tails of a node's tables, and what its queries keep open of the tables. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Tails {
    all: Arc<Mutex<All>>,
    readers: Arc<Readers>,
    bound: Bound,
}

#[derive(Debug, Default)]
struct All {
    tails: BTreeMap<&'static str, Tail>,
    /// Who is told of every change, of tables that come later, too.
    watchers: Vec<Watcher>,
}

impl Tails {
    /// Tails that want to be landed at a bound of their own.
    #[must_use]
    pub fn bounded(bound: Bound) -> Self {
        Self { bound, ..Self::default() }
    }

    /// The tail of a table; always the same one.
    #[must_use]
    pub fn of(&self, table: &'static schema::Table) -> Tail {
        let mut all = locked(&self.all);
        if let Some(tail) = all.tails.get(table.name) {
            return tail.clone();
        }
        let tail = Tail::new(table, self.bound, all.watchers.clone());
        all.tails.insert(table.name, tail.clone());
        tail
    }

    /// How full each tail is.
    #[must_use]
    pub fn fills(&self) -> Vec<(&'static str, Fill)> {
        locked(&self.all).tails.iter().map(|(table, tail)| (*table, tail.fill())).collect()
    }

    pub(crate) const fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }
}

/// The tail of one table. A clone is the same.
#[derive(Clone, Debug)]
pub struct Tail {
    table: &'static schema::Table,
    bound: Bound,
    state: Arc<Mutex<State>>,
    /// One landing at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// The version that the rows come after; none until the table has said it.
    version: Option<u64>,
    rows: Vec<Kept>,
    count: usize,
    bytes: usize,
    /// Up to where version and rows together reach, as far as that is known.
    positions: Positions,
    /// Up to where the version alone reaches, as far as that is known.
    landed: Positions,
    /// Whether the positions, or rows, are ahead of the version.
    ahead: bool,
    /// Goes up whenever the rows are forgotten, so that no landing from before removes new ones.
    epoch: u64,
    watchers: Vec<Watcher>,
}

/// Rows that were appended together, and up to where they and all before them reach.
#[derive(Clone, Debug)]
struct Kept {
    batch: RecordBatch,
    reached: Arc<Positions>,
}

/// A table's version and the rows after it, at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) version: Option<u64>,
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) positions: Positions,
    /// By partition: from these offsets on the version may have rows that are not to be seen.
    pub(crate) before: Option<Arc<[i64]>>,
}

/// What a tail held at an instant, to be landed; one at a time.
#[derive(Debug)]
pub struct Lot {
    tail: Tail,
    rows: Vec<RecordBatch>,
    positions: Positions,
    count: usize,
    epoch: u64,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// Rows that are being landed; dropped without [`done`](Self::done) they stay in memory.
#[derive(Debug)]
pub struct Landing<'a> {
    tail: &'a Tail,
    batches: usize,
    positions: Positions,
    epoch: u64,
}

impl Tail {
    fn new(table: &'static schema::Table, bound: Bound, watchers: Vec<Watcher>) -> Self {
        let state = State { watchers, ..State::default() };
        Self { table, bound, state: Arc::new(Mutex::new(state)), turn: Arc::default() }
    }

    /// Adds rows and says up to where everything appended so far reaches; they are seen together.
    /// Rows may be none. Nothing is refused for being too much: see [`Fill::over`].
    ///
    /// # Errors
    /// Where rows do not fit the table; then nothing is added.
    pub fn append(
        &self,
        rows: &[RecordBatch],
        positions: &Positions,
    ) -> Result<Fill, WarehouseError> {
        let rows = rows.iter().filter(|batch| batch.num_rows() > 0);
        let fitted: Vec<_> = rows.map(|batch| fit(batch, self.table)).collect::<Result<_, _>>()?;
        let mut state = locked(&self.state);
        let appended = Appended { rows: fitted, positions: positions.clone() };
        state.tell(self.table, || What::Rows(appended.clone()));
        state.append(appended);
        Ok(self.fill_of(&state))
    }

    /// How full it is.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.fill_of(&locked(&self.state))
    }

    /// Lands in one commit what was appended so far, with its positions; what is appended meanwhile
    /// waits for the next. The table must have been opened
    /// [with this tail](crate::table::delta::DeltaTable::with_tail). How many rows landed; where
    /// nothing was appended since the last time, there is no commit.
    ///
    /// After an error, or when the future is dropped, the rows stay in memory, and
    /// landing again either lands them once or fails with [`WarehouseError::Moved`]: then the
    /// pipeline reads its positions from the table and begins there again.
    pub fn land<'a>(&'a self, table: &'a dyn Table) -> Pending<'a, usize> {
        Box::pin(async move {
            match self.begin().await {
                Some(lot) => lot.land(table).await,
                None => Ok(0),
            }
        })
    }

    /// Takes what was appended so far, to be landed while more is appended; none where nothing was
    /// since the last time. It waits until the landing before is over, however that ended.
    pub async fn begin(&self) -> Option<Lot> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let state = locked(&self.state);
        let rows = state.rows.iter().map(|kept| kept.batch.clone()).collect();
        let (positions, count, epoch) = (state.positions.clone(), state.count, state.epoch);
        let tail = self.clone();
        state.ahead.then(|| Lot { tail, rows, positions, count, epoch, _turn: turn })
    }

    /// Waits until no landing is on its way.
    pub async fn idle(&self) {
        drop(self.turn.lock().await);
    }

    /// Forgets rows and positions that have not landed: their pipeline begins again at the
    /// positions of the table.
    pub fn clear(&self) {
        let mut state = locked(&self.state);
        let (version, landed) = (state.version, state.landed.clone());
        self.begins(&mut state, version, &landed);
    }

    /// Forgets rows that have not landed, and says up to where the table itself reaches: of every
    /// partition that its pipeline reads, so that queries know where it stands before rows come.
    pub fn stands(&self, landed: &Positions) {
        let mut state = locked(&self.state);
        let version = state.version;
        self.begins(&mut state, version, landed);
    }

    /// Begins after a version of the table, without rows; up to where that reaches, as far as it is
    /// known.
    pub(crate) fn attach(&self, version: u64, landed: &Positions) {
        self.begins(&mut locked(&self.state), Some(version), landed);
    }

    fn begins(&self, state: &mut State, version: Option<u64>, landed: &Positions) {
        state.tell(self.table, || What::began(version, landed.clone()));
        state.begin(version, landed.clone());
    }

    /// The table has a new version, which has none of the rows here.
    pub(crate) fn moved(&self, version: u64) {
        let mut state = locked(&self.state);
        let (version, landed) = (Some(version), 0);
        state.tell(self.table, || What::Moved { version, landed, reached: Positions::new() });
        state.version = version;
    }

    /// Does what was done to the tail that this one is a copy of.
    pub(crate) fn copy(&self, what: What) {
        let mut state = locked(&self.state);
        match what {
            What::Began { version, landed, appended } => {
                state.begin(version, landed);
                state.append(appended);
            }
            What::Rows(appended) => state.append(appended),
            What::Moved { version, landed, reached } => {
                state.version = version.or(state.version);
                // On the way a batch may have become several, but never one of two.
                let ends = state.rows.iter().scan(0, |rows, kept| {
                    *rows += kept.batch.num_rows();
                    Some(*rows)
                });
                let batches = ends.take_while(|end| *end <= landed).count();
                state.drop_first(batches);
                // Upkeep moves no position; a process of an earlier version does not tell them.
                if landed > 0 || !reached.is_empty() {
                    state.landed = reached;
                }
            }
        }
    }

    fn standing(&self) -> Standing {
        let state = locked(&self.state);
        Standing {
            table: self.table,
            version: state.version,
            rows: state.rows.clone(),
            positions: state.positions.clone(),
            landed: state.landed.clone(),
        }
    }

    fn fill_of(&self, state: &State) -> Fill {
        let (rows, bytes) = (state.count, state.bytes);
        Fill { rows, bytes, over: rows > self.bound.rows || bytes > self.bound.bytes }
    }
}

impl State {
    fn tell(&mut self, table: &'static schema::Table, what: impl Fn() -> What) {
        self.watchers.retain(|watcher| watcher.tell(|| Change { table, what: what() }));
    }

    fn append(&mut self, appended: Appended) {
        for (application, next) in appended.positions {
            let before = self.positions.insert(application, next);
            self.ahead |= before != Some(next);
        }
        if appended.rows.is_empty() {
            return;
        }
        self.ahead = true;
        let reached = Arc::new(self.positions.clone());
        for batch in appended.rows {
            self.count += batch.num_rows();
            self.bytes += batch.get_array_memory_size();
            self.rows.push(Kept { batch, reached: Arc::clone(&reached) });
        }
    }

    /// Begins after a version that reaches up to some positions, without rows.
    fn begin(&mut self, version: Option<u64>, landed: Positions) {
        let (epoch, watchers) = (self.epoch + 1, std::mem::take(&mut self.watchers));
        let positions = landed.clone();
        *self = Self { version, positions, landed, epoch, watchers, ..Self::default() };
    }

    /// Lets go of the first batches; how many rows they had.
    fn drop_first(&mut self, batches: usize) -> usize {
        let gone: Vec<_> = self.rows.drain(..batches).collect();
        let rows = gone.iter().map(|kept| kept.batch.num_rows()).sum();
        self.count -= rows;
        self.bytes -= gone.iter().map(|kept| kept.batch.get_array_memory_size()).sum::<usize>();
        rows
    }
}

impl Lot {
    /// Lands it in one commit. How many rows landed.
    ///
    /// # Errors
    /// As of [`Tail::land`].
    pub fn land(self, table: &dyn Table) -> Pending<'_, usize> {
        Box::pin(async move {
            let batches = self.rows.len();
            let (positions, epoch) = (self.positions.clone(), self.epoch);
            let landing = Landing { tail: &self.tail, batches, positions, epoch };
            table.land(self.rows.clone(), &self.positions, landing).await?;
            Ok(self.count)
        })
    }
}

impl Landing<'_> {
    /// The rows are in the table, as of `version`: from now on readers find them there.
    pub fn done(self, version: Option<u64>) {
        let mut state = locked(&self.tail.state);
        state.version = version.or(state.version);
        let mut landed = 0;
        if state.epoch == self.epoch {
            landed = state.drop_first(self.batches);
            state.ahead = !state.rows.is_empty() || state.positions != self.positions;
        }
        state.landed.clone_from(&self.positions);
        let reached = &self.positions;
        state.tell(self.tail.table, || What::Moved { version, landed, reached: reached.clone() });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
