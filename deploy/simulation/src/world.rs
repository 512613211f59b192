//! What outlives every process, and the process that is at work now.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use authoriser::{
    authorise::{Authoriser, Parts, Settings},
    cache::{
        embedded::EmbeddedCache,
        model::{ModelCache, ModelServer, ModelShared},
        truth::Indexed,
    },
    claims::Claims,
    error::AuthoriserError,
    fence::Fence,
    index::{Index, store::model::Memory},
    metrics::Metrics,
    rules::RuleSet,
    service::{Bounds, Handle, Running, start_in_turns},
};
use chrono::{DateTime, Utc};
use futures::FutureExt;
use ingest::{
    clock::Clock, log::Log, register::registry::RegistryView, topic::Topic, vault::Vault,
};
use pipelines::states::States;

use crate::{
    cache::Between,
    country::{self, Ask},
    disk::{Disk, NodeLog},
    faults::{Life, Machine, Planted},
    index::NodeStore,
    landing,
    table::Tables,
    time::SimulatedClock,
    witness::Watching,
};

/// What outlives every process.
#[derive(Debug)]
pub struct World {
    /// The machine around the code.
    pub machine: Machine,
    /// What the node takes for now.
    pub clock: Arc<SimulatedClock>,
    /// The streams.
    pub disk: Arc<Disk>,
    /// The tables.
    pub tables: Arc<Tables>,
    /// What pipelines gather.
    pub states: Arc<States>,
    /// Whoever watches.
    pub watching: Watching,
    /// The bug that is in, if one is.
    pub planted: Option<Planted>,
    /// Where counters are kept, if not in the process itself.
    server: Option<Arc<ModelServer>>,
    rows: Mutex<Arc<Memory>>,
    vault: Vault,
    node: Mutex<Option<Arc<Node>>>,
    /// What was asked so far.
    pub asked: Mutex<Vec<Ask>>,
    numbers: AtomicU64,
}

/// A process at work.
#[derive(Debug)]
pub struct Node {
    /// Until it dies.
    pub life: Life,
    /// Its authoriser.
    pub handle: Handle,
    /// Its streams.
    pub log: Arc<dyn Log>,
    index: Arc<Index>,
    running: Mutex<Option<Running>>,
}

impl World {
    /// A world in which nothing has been asked.
    ///
    /// # Panics
    /// Where the country's registry is not one that the platform takes.
    #[must_use]
    pub fn found(
        machine: Machine,
        begins: DateTime<Utc>,
        is_shared: bool,
        vault: Vault,
        planted: Option<Planted>,
    ) -> Arc<Self> {
        let watching = Watching::begin(machine.time.clone());
        let disk = Disk::new(watching.clone());
        for (topic, record) in country::founding(begins) {
            disk.keep(topic, &[record]);
        }
        let mut view = RegistryView::default();
        view.apply(&disk.all(Topic::RegistryChanges));
        watching.rules(RuleSet::compile(&view.registry()).expect("a registry without faults"));
        Arc::new(Self {
            clock: Arc::new(SimulatedClock::at(machine.time.clone(), begins)),
            tables: Tables::new(watching.clone()),
            server: is_shared.then(Arc::default),
            states: Arc::default(),
            rows: Mutex::default(),
            node: Mutex::default(),
            asked: Mutex::default(),
            numbers: AtomicU64::new(0),
            machine,
            disk,
            watching,
            planted,
            vault,
        })
    }

    /// The vault of a folder, which many worlds may share.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn vault(folder: &Path) -> Vault {
        Vault::open(folder).expect("a vault in a folder of its own")
    }

    /// A number that no request has had.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    /// The process at work, if one is.
    #[must_use]
    pub fn node(&self) -> Option<Arc<Node>> {
        locked(&self.node).clone()
    }

    /// A replica of the cache takes over, if there is one.
    pub fn fail_over(&self) {
        let Some(server) = &self.server else { return };
        let lost = self.machine.dice.place(6);
        self.watching.tell(format!("a replica takes over without {lost} changes"));
        server.fail_over(lost);
    }

    /// The process dies, and with it what is not on the disk.
    pub fn kill(&self, how: &str) {
        let Some(node) = locked(&self.node).take() else { return };
        node.life.end();
        self.watching.died(how);
        self.disk.power_cut(&self.machine);
        self.tables.power_cut(&self.machine);
        let mut rows = locked(&self.rows);
        if self.machine.dice.once_in(6) {
            self.watching.tell("the index is lost");
            *rows = Arc::default();
        } else {
            rows.fall_back(self.machine.dice.place(8));
        }
    }

    /// The process is told to stop, and does.
    pub async fn stop(&self) {
        let Some(node) = locked(&self.node).take() else { return };
        let running = locked(&node.running).take();
        if let Some(running) = running
            && let Err(error) = running.stop().await
        {
            self.watching.tell(format!("a stop fails: {error}"));
        }
        node.life.end();
        self.disk.power_cut(&self.machine);
        self.tables.power_cut(&self.machine);
        self.watching.tell("stopped");
    }

    /// Whether the process has ended by itself; it is taken for dead then.
    pub fn has_ended(&self) -> bool {
        let Some(node) = self.node() else { return false };
        let mut running = locked(&node.running);
        let ended = running.as_mut().and_then(|running| running.ended().now_or_never());
        drop(running);
        let Some(ended) = ended else { return false };
        // A log that has stopped is why; anything else is our own fault.
        if node.log.end(Topic::Authorisations, 0).is_ok()
            && let Err(error) = ended
        {
            self.watching.fault(format!("the authoriser ended by itself: {}", causes(&error)));
        }
        self.kill("the process ends, because a sync failed");
        true
    }

    /// Starts a process, again and again until one comes up; one that `lands` fills the tables.
    pub async fn start(self: &Arc<Self>, lands: bool) {
        loop {
            let life = Life::default();
            match self.begin(life.clone()).await {
                Ok(node) => {
                    let node = Arc::new(node);
                    *locked(&self.node) = Some(Arc::clone(&node));
                    if lands {
                        tokio::spawn(landing::run(Arc::clone(self), node));
                    }
                    return self.watching.tell("started");
                }
                Err(error) => {
                    self.watching.tell(format!("a start fails: {}", causes(&error)));
                    life.end();
                    self.disk.power_cut(&self.machine);
                    self.machine.time.sleep(self.machine.dice.millis(10, 300)).await;
                }
            }
        }
    }

    async fn begin(&self, life: Life) -> Result<Node, AuthoriserError> {
        let (machine, planted) = (self.machine.clone(), self.planted);
        let log = NodeLog::new(Arc::clone(&self.disk), machine, life.clone(), planted);
        let log: Arc<dyn Log> = Arc::new(log);
        let rows = Arc::clone(&*locked(&self.rows));
        let store = NodeStore { rows, life: life.clone() };
        let index = match Index::over(Arc::new(store), &log).await? {
            Some(index) => index,
            None => {
                let rows = Arc::<Memory>::default();
                *locked(&self.rows) = Arc::clone(&rows);
                let store = NodeStore { rows, life: life.clone() };
                Index::over(Arc::new(store), &log).await?.ok_or(AuthoriserError::Stopped)?
            }
        };
        let metrics = Metrics::register(&prometheus::Registry::new());
        let metrics = metrics.map_err(|_| AuthoriserError::Stopped)?;
        let parts = Parts {
            vault: self.vault.clone(),
            clock: Arc::<SimulatedClock>::clone(&self.clock),
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            log: Arc::clone(&log),
            index: Arc::clone(&index),
            metrics,
        };
        let begun = match &self.server {
            None => self.embedded(parts).await?,
            Some(server) => self.shared(parts, server).await?,
        };
        let (handle, running) = begun;
        Ok(Node { life, handle, log, index, running: Mutex::new(Some(running)) })
    }

    fn between<C>(&self, cache: C) -> Between<C> {
        let clock: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&self.clock);
        Between::new(cache, self.machine.clone(), clock, self.planted)
    }

    async fn embedded(&self, parts: Parts) -> Result<(Handle, Running), AuthoriserError> {
        let cache = self.between(EmbeddedCache::of(&parts.index)?);
        let authoriser = Authoriser::open(parts, Settings::default(), cache).await?;
        Ok(start_in_turns(authoriser, Bounds::default()))
    }

    /// As over Redis: that the process begins is on the stream before it counts anything there.
    async fn shared(
        &self,
        mut parts: Parts,
        server: &Arc<ModelServer>,
    ) -> Result<(Handle, Running), AuthoriserError> {
        parts.begin().await?;
        let truth = Indexed::over(Arc::clone(&parts.index), Arc::clone(&parts.log));
        let shared = ModelShared::open(Arc::clone(server), Arc::clone(&parts.fence), truth);
        let cache = self.between(ModelCache::open(shared));
        let authoriser = Authoriser::open(parts, Settings::default(), cache).await?;
        Ok(start_in_turns(authoriser, Bounds::default()))
    }
}

impl Node {
    /// What is used of every limit, as the index has it when it has read all.
    ///
    /// # Errors
    /// Where the stream or the index cannot be read.
    pub async fn counted(&self) -> Result<Vec<(domain::limit::CounterKey, i64)>, AuthoriserError> {
        self.index.catch_up(&self.log).await?;
        self.index.all_counters()
    }
}

/// An error with what caused it.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What a mutex holds; nobody leaves it half changed.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
