//! Where Redis is, how long it may take, and what is refused at start.

use std::time::Duration;

use super::nodes::Nodes;
use crate::cache::CacheError;

/// The oldest Redis whose scripts and replication are as this code expects.
const OLDEST_VERSION: u32 = 7;

/// Which Redis, and what is asked of it.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://user:password@host:port` of one node, or encrypted `rediss://`; of a cluster some
    /// of its nodes, with the scheme, user and password of the first for all.
    pub urls: Vec<String>,
    /// Who has signed the certificates of `rediss://`, in PEM; else the authorities of the system.
    pub authority: Option<Vec<u8>>,
    /// Whether the nodes are a Redis Cluster.
    pub cluster: bool,
    /// How many replicas must have what moved before it is appended; 0 without replicas.
    pub replicas: u32,
    /// How long one batch may take before it is asked once more.
    pub request_timeout: Duration,
    /// How long replicas may take, within the request's time.
    pub replicas_timeout: Duration,
    /// How long a batch waits for others to give back a budget.
    pub gather_timeout: Duration,
    /// How long slices stay recalled: requests reserve in the one place meanwhile.
    pub recall: Duration,
    /// How often an author looks whether its slices are recalled.
    pub tick: Duration,
    /// For how long an author may be silent before it is given up for dead.
    pub silence: Duration,
    /// For how long applied operations are remembered: far longer than any may be asked again.
    pub remember: Duration,
    /// How often the nodes are looked at: whether each is still the one it was.
    pub watch: Duration,
    /// Accepts a Redis without append-only persistence: each of its restarts is a rebuild.
    pub allow_volatile: bool,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            urls: vec!["redis://127.0.0.1:6379".into()],
            authority: None,
            cluster: false,
            replicas: 0,
            request_timeout: Duration::from_millis(500),
            replicas_timeout: Duration::from_millis(200),
            gather_timeout: Duration::from_millis(250),
            recall: Duration::from_secs(2),
            tick: Duration::from_millis(25),
            silence: Duration::from_secs(5),
            remember: Duration::from_secs(600),
            watch: Duration::from_secs(1),
            allow_volatile: false,
        }
    }
}

impl std::fmt::Debug for RedisSettings {
    /// Without the URLs, which hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSettings")
            .field("cluster", &self.cluster)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl RedisSettings {
    /// The label of metrics.
    pub(super) const fn backend(&self) -> &'static str {
        if self.cluster { "redis_cluster" } else { "redis" }
    }
}

/// Refuses a Redis that would lose counters or decide beyond its replicas.
pub(super) async fn check(nodes: &mut Nodes, settings: &RedisSettings) -> Result<(), CacheError> {
    for node in nodes.primaries() {
        check_node(nodes, &node, settings).await?;
    }
    Ok(())
}

async fn check_node(
    nodes: &mut Nodes,
    node: &str,
    settings: &RedisSettings,
) -> Result<(), CacheError> {
    let refuse = |setting, is: String, wanted: String| {
        Err(CacheError::Setting { node: node.to_owned(), setting, is, wanted })
    };
    let version = nodes.info(node, "server").await?.get("redis_version").cloned();
    let version = version.unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_VERSION) {
        return refuse("redis_version", version, format!("to {OLDEST_VERSION} or newer"));
    }
    let policy = nodes.setting(node, "maxmemory-policy").await?;
    if policy != "noeviction" {
        return refuse("maxmemory-policy", policy, "to noeviction".into());
    }
    let appends = nodes.setting(node, "appendonly").await?;
    if appends != "yes" && !settings.allow_volatile {
        return refuse("appendonly", appends, "to yes, or allow_volatile here".into());
    }
    let least = nodes.setting(node, "min-replicas-to-write").await?;
    if least.parse::<u32>().unwrap_or(0) < settings.replicas {
        let wanted = format!("to {} or more", settings.replicas);
        return refuse("min-replicas-to-write", least, wanted);
    }
    Ok(())
}
