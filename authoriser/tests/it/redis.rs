//! The cache in real Redis: the suite, and what must hold when Redis fails.

mod authors;
mod encrypted;
mod loss;
pub mod server;
pub mod stream;

use std::{sync::Arc, time::Duration};

use authoriser::{
    cache::redis::{RedisCache, RedisSettings, RedisShared},
    fence::Fence,
    metrics::Metrics,
};

use self::{
    server::{Cluster, Server, Setup},
    stream::Stream,
};
use crate::cache::{Place, holds, holds_shared};

/// One process over one Redis.
#[derive(Debug)]
pub struct Shop {
    shared: Arc<RedisShared>,
    stream: Arc<Stream>,
}

impl Shop {
    pub async fn open(settings: RedisSettings) -> Self {
        Self::start(1, settings, Arc::default()).await
    }

    /// The `start`-th start of the process over its stream.
    pub async fn start(start: u64, settings: RedisSettings, stream: Arc<Stream>) -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("registered");
        let truth = Arc::clone(&stream) as Arc<_>;
        let shared = RedisShared::open(settings, Fence::new(start), truth, metrics).await;
        Self { shared: shared.expect("redis"), stream }
    }
}

impl Place for Shop {
    type Cache = RedisCache;

    async fn author(&self) -> RedisCache {
        RedisCache::open(Arc::clone(&self.shared)).await.expect("an author")
    }

    fn fence(&self) -> Arc<Fence> {
        Arc::clone(self.shared.fence())
    }

    fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.stream)
    }
}

/// So patient that a machine which is busy with other tests is not taken for a failure.
pub fn settings(server: &Server) -> RedisSettings {
    RedisSettings {
        urls: vec![server.url()],
        authority: server.authority(),
        request_timeout: Duration::from_secs(10),
        silence: Duration::from_secs(60),
        watch: Duration::from_millis(200),
        ..RedisSettings::default()
    }
}

pub fn kept() -> Setup {
    Setup { append_only: true, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_redis_holds() {
    let server = Server::start(kept());
    let shop = Shop::open(settings(&server)).await;
    holds(&shop).await;
    holds_shared(&shop).await;
}

pub fn of_cluster(cluster: &Cluster) -> RedisSettings {
    RedisSettings {
        urls: cluster.urls(),
        cluster: true,
        replicas: 1,
        replicas_timeout: Duration::from_secs(5),
        ..settings(&cluster.nodes[0])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_holds() {
    let cluster = Cluster::start();
    let shop = Shop::open(of_cluster(&cluster)).await;
    holds(&shop).await;
    holds_shared(&shop).await;
}
