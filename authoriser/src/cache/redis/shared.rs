//! What all authors of a process share over one Redis, and the watch over its nodes.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use redis::Value;
use tokio::task::JoinHandle;

use super::{
    known::Known,
    names,
    nodes::Nodes,
    settings::{self, RedisSettings},
};
use crate::{cache::CacheError, cache::truth::Truth, fence::Fence, metrics::Metrics};

/// One Redis, as one process uses it.
#[derive(Debug)]
pub struct RedisShared {
    pub(super) settings: RedisSettings,
    pub(super) fence: Arc<Fence>,
    pub(super) truth: Arc<dyn Truth>,
    pub(super) metrics: Metrics,
    pub(super) known: Known,
    watch: std::sync::OnceLock<JoinHandle<()>>,
}

impl Drop for RedisShared {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get() {
            watch.abort();
        }
    }
}

impl RedisShared {
    /// Connects, refuses a Redis whose settings would lose counters, and begins to watch it.
    ///
    /// # Errors
    /// [`CacheError::Setting`] says what to set; else Redis cannot be reached.
    pub async fn open(
        settings: RedisSettings,
        fence: Arc<Fence>,
        truth: Arc<dyn Truth>,
        metrics: Metrics,
    ) -> Result<Arc<Self>, CacheError> {
        let mut nodes = Nodes::connect(settings.clone(), metrics.clone()).await?;
        settings::check(&mut nodes, &settings).await?;
        let mut watch = Watch { nodes, seen: HashMap::new(), written: None };
        watch.look(&fence).await?;
        let every = settings.watch;
        let known = Known::default();
        let watch_task = std::sync::OnceLock::new();
        let shared = Arc::new(Self { settings, fence, truth, metrics, known, watch: watch_task });
        let task = tokio::spawn(watch.run(Arc::downgrade(&shared), every));
        // It was made empty above.
        let _ = shared.watch.set(task);
        Ok(shared)
    }

    /// The fence before the log.
    #[must_use]
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }
}

/// What makes a node the one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    run: String,
    replication: String,
}

/// Looks whether the nodes are still those they were. A household that was lost is noticed when it
/// is read; this notices it for all of them, and sooner.
struct Watch {
    nodes: Nodes,
    seen: HashMap<String, Identity>,
    /// The generation that was written to Redis.
    written: Option<u64>,
}

impl Watch {
    async fn run(mut self, shared: Weak<RedisShared>, every: Duration) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Some(shared) = shared.upgrade() else { return };
            let fence = Arc::clone(&shared.fence);
            drop(shared);
            // What does not answer now is looked at again; nothing is decided on it meanwhile.
            if let Err(error) = self.look(&fence).await {
                tracing::debug!(%error, "redis does not answer its watch");
            }
        }
    }

    async fn look(&mut self, fence: &Fence) -> Result<(), CacheError> {
        if self.nodes.follows_cluster() {
            self.nodes.find().await?;
        }
        let generation = fence.generation();
        let mut another = false;
        let primaries = self.nodes.primaries();
        for node in &primaries {
            // A node that is away keeps its identity until it is back or replaced.
            let Ok(server) = self.nodes.info(node, "server").await else { continue };
            let Ok(replication) = self.nodes.info(node, "replication").await else { continue };
            let field = |of: &HashMap<String, String>, name| of.get(name).cloned();
            let identity = Identity {
                run: field(&server, "run_id").unwrap_or_default(),
                replication: field(&replication, "master_replid").unwrap_or_default(),
            };
            let before = self.seen.insert(node.clone(), identity.clone());
            // A primary that was none before took over; at start all are new.
            another |= before.map_or(self.written.is_some(), |before| before != identity);
        }
        self.seen.retain(|node, _| primaries.contains(node));
        let node = self.nodes.home(names::GENERATION)?;
        let stands = self.nodes.command(&node, redis::cmd("GET").arg(names::GENERATION)).await?;
        let stands = match stands {
            Value::BulkString(text) => String::from_utf8_lossy(&text).parse::<u64>().ok(),
            _ => None,
        };
        let beyond = stands.filter(|stands| self.written.is_none() && *stands > generation);
        if let Some(stands) = beyond {
            return Err(CacheError::Setting {
                node,
                setting: names::GENERATION,
                is: stands.to_string(),
                wanted: format!("to {generation} or less: a later start or another stream used it"),
            });
        }
        another |=
            self.written.is_some() && self.written == Some(generation) && stands != self.written;
        let mut current = generation;
        if another {
            current = fence.advance(generation).await;
            tracing::warn!(generation = current, "redis is another one: counters are rebuilt");
        }
        if stands != Some(current) {
            let write = redis::cmd("SET").arg(names::GENERATION).arg(current).to_owned();
            self.nodes.command(&node, &write).await?;
        }
        self.written = Some(current);
        Ok(())
    }
}
