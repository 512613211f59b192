//! An authoriser over each place where counters are kept.

use std::sync::Arc;

use ingest::{
    record::{Record, number_at, outside_id},
    topic::Topic,
    wire::v1::{AuthoriserStarted, Event},
};

use super::{Authoriser, AuthoriserError, Fence, Parts, Settings, last_number};
use crate::cache::{
    embedded::EmbeddedCache,
    redis::{RedisCache, RedisSettings, RedisShared},
    truth::Indexed,
};

impl Parts {
    /// Begins a process whose counters are shared: that it begins is on the stream before it counts
    /// anything.
    ///
    /// # Errors
    /// Where the stream or the index cannot be read.
    pub async fn begin(&mut self) -> Result<(), AuthoriserError> {
        let start = self.index.starts() + 1;
        let now = self.clock.now();
        // As every record it has its number among all, from which those after it are counted.
        let number = number_at(now).max(last_number(self).await? + 1);
        let started = Record {
            id: outside_id("authoriser-started", &start.to_string()),
            key: "authoriser".into(),
            source: "authoriser".into(),
            sequence: number,
            event_time: now,
            recorded_at: now,
            event: Event::AuthoriserStarted(AuthoriserStarted { start }),
        };
        self.log.append(Topic::Authorisations, &[started]).await?;
        self.index.catch_up(&self.log).await?;
        self.fence = Fence::new(start);
        Ok(())
    }
}

impl Authoriser<EmbeddedCache> {
    /// An authoriser over a cache in memory, filled from the index.
    ///
    /// # Errors
    /// Where the index or a stream cannot be read.
    pub async fn embedded(parts: Parts, settings: Settings) -> Result<Self, AuthoriserError> {
        let cache = EmbeddedCache::of(&parts.index)?;
        Self::open(parts, settings, cache).await
    }
}

impl Authoriser<RedisCache> {
    /// An authoriser over a Redis, the first of its process. That the process begins is on the
    /// stream first, so that nothing an earlier one left in Redis is taken for the stream's.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read, or Redis is away or set so that it would lose
    /// counters.
    pub async fn over_redis(
        mut parts: Parts,
        settings: Settings,
        redis: RedisSettings,
    ) -> Result<(Self, Arc<RedisShared>), AuthoriserError> {
        parts.begin().await?;
        let truth = Indexed::over(Arc::clone(&parts.index), Arc::clone(&parts.log));
        let (fence, metrics) = (Arc::clone(&parts.fence), parts.metrics.clone());
        let shared = RedisShared::open(redis, fence, truth, metrics).await?;
        Ok((Self::beside(parts, settings, &shared).await?, shared))
    }

    /// A further authoriser of the same process over the same Redis.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read, or Redis is away.
    pub async fn beside(
        mut parts: Parts,
        settings: Settings,
        shared: &Arc<RedisShared>,
    ) -> Result<Self, AuthoriserError> {
        parts.fence = Arc::clone(shared.fence());
        let cache = RedisCache::open(Arc::clone(shared)).await?;
        Self::open(parts, settings, cache).await
    }
}
