//! The way to the cluster: connects, connects again, and never waits without a deadline.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use fluvio::{
    Fluvio, Isolation, Offset, TopicProducerConfigBuilder, TopicProducerPool,
    consumer::{ConsumerConfigBuilder, ConsumerConfigExtBuilder, Record as Fetched, RetryMode},
    dataplane::{link::ErrorCode, record::Batch},
};
use futures::{Stream, StreamExt, stream::BoxStream};
use ring::rand::{SecureRandom, SystemRandom};

use super::settings::{Cluster, Settings};
use crate::{error::ClusterError, metrics::ClusterMetrics};

/// What a stream of records brings.
pub(super) type Item = Result<Fetched, ErrorCode>;
/// What a stream of batches brings: a word of Fluvio's instead of a batch, or none where the client
/// cannot read it, since it is compressed.
pub(super) type BatchItem = Result<Batch, Option<ErrorCode>>;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that a batch may have, well under the 1 MB over which followers have been seen to stick;
/// one that is larger by itself goes alone.
const BATCH_BYTES: usize = 768 << 10;
const LARGEST_RECORD_BYTES: usize = 64 << 20;
const COMPRESSED: &str = "the last records are compressed, and such are not read";

/// A connection that several tasks share.
pub(super) struct Connection {
    settings: Arc<Settings>,
    /// None where nobody asks for them.
    metrics: Option<ClusterMetrics>,
    current: tokio::sync::Mutex<Option<Arc<Fluvio>>>,
}

impl Connection {
    pub(super) fn new(settings: Arc<Settings>, metrics: Option<ClusterMetrics>) -> Self {
        Self { settings, metrics, current: tokio::sync::Mutex::new(None) }
    }

    /// The connection as it stands, or a new one.
    pub(super) async fn client(&self) -> Result<Arc<Fluvio>, ClusterError> {
        // Held while connecting: one attempt for all who want it.
        let mut current = self.current.lock().await;
        if let Some(client) = &*current {
            return Ok(Arc::clone(client));
        }
        let config = self.settings.client()?;
        // What the other side expected it does not say.
        let attempted = match &self.settings.cluster {
            Cluster::Profile(_) | Cluster::Current => "connect",
            Cluster::Endpoint(_) if self.settings.tls.is_some() => "connect with TLS",
            Cluster::Endpoint(_) => "connect without TLS",
        };
        let connecting = Box::pin(Fluvio::connect_with_config(&config));
        let connected = self.within(attempted, connecting).await?;
        if let Some(metrics) = &self.metrics {
            metrics.connected();
        }
        let client = Arc::new(connected);
        *current = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Gives the connection up, unless another one has taken its place.
    pub(super) async fn give_up(&self, client: &Arc<Fluvio>) {
        let mut current = self.current.lock().await;
        current.take_if(|now| Arc::ptr_eq(now, client));
    }

    /// The records of a topic's partition from an offset on, for as long as the connection lives.
    pub(super) async fn follow(
        &self,
        client: &Fluvio,
        topic: &str,
        partition: u32,
        from: u64,
    ) -> Result<BoxStream<'static, Item>, ClusterError> {
        let config = ConsumerConfigExtBuilder::default()
            .topic(topic.to_owned())
            .partition(partition)
            .offset_start(absolute(from))
            .isolation(Isolation::ReadCommitted)
            .max_bytes(self.settings.fetch_bytes)
            // The client's own retry goes on past what is evicted.
            .retry_mode(RetryMode::Disabled)
            .build()
            .map_err(|error| self.refused("read", &error))?;
        let opened = Box::pin(client.consumer_with_config(config));
        Ok(boxed(self.within("read", opened).await?))
    }

    /// The offset after the last record that the replicas have; none where there is nothing to
    /// read.
    pub(super) async fn end(
        &self,
        client: &Fluvio,
        topic: &str,
        partition: u32,
    ) -> Result<Option<u64>, ClusterError> {
        // The client answers for the end in no other way than by what is last. Of records it gives
        // none at all where they are compressed, as where there are none.
        let last = Offset::from_end(1);
        let mut last = self.batches(client, topic, partition, last, true).await?;
        match self.deadline("read the end", last.next()).await? {
            None => Ok(None),
            Some(Ok(batch)) => Ok(u64::try_from(batch.get_last_offset()).ok().map(|last| last + 1)),
            Some(Err(Some(error))) => Err(self.refused("read the end", &error)),
            Some(Err(None)) => Err(self.refused("read the end", &COMPRESSED)),
        }
    }

    /// The batches of a partition, from the one on that an offset is in.
    #[expect(deprecated, reason = "what the client has instead gives records alone")]
    pub(super) async fn batches(
        &self,
        client: &Fluvio,
        topic: &str,
        partition: u32,
        from: Offset,
        only_what_is_there: bool,
    ) -> Result<BoxStream<'static, BatchItem>, ClusterError> {
        let config = ConsumerConfigBuilder::default()
            .isolation(Isolation::ReadCommitted)
            .max_bytes(self.settings.fetch_bytes)
            .disable_continuous(only_what_is_there)
            .build()
            .map_err(|error| self.refused("read", &error))?;
        let consumer = Box::pin(client.partition_consumer(topic, partition));
        let consumer = self.within("read", consumer).await?;
        let opened = Box::pin(consumer.stream_batches_with_config(from, config));
        Ok(readable(self.within("read", opened).await?))
    }

    /// A producer to one partition.
    pub(super) async fn producer(
        &self,
        client: &Fluvio,
        topic: &str,
        partition: u32,
    ) -> Result<TopicProducerPool, ClusterError> {
        let config = TopicProducerConfigBuilder::default()
            .set_specific_partitioner(partition)
            .batch_size(BATCH_BYTES)
            .max_request_size(LARGEST_RECORD_BYTES)
            // Batches are sent when they are complete, and that is said.
            .linger(self.settings.request_timeout)
            // The answer is only a hint: a record counts when it is read back, which is when the
            // replicas have it. A connection's next request would wait for them each time.
            .isolation(Isolation::ReadUncommitted)
            .delivery_semantic(fluvio::DeliverySemantic::AtLeastOnce(fluvio::RetryPolicy {
                // What to send again is known only after reading what is there.
                max_retries: 0,
                timeout: self.settings.request_timeout,
                ..fluvio::RetryPolicy::default()
            }))
            .build()
            .map_err(|error| self.refused("publish", &error))?;
        let made = Box::pin(client.topic_producer_with_config(topic.to_owned(), config));
        self.within("publish", made).await
    }

    /// Waits for a request as long as one may take.
    pub(super) async fn within<T, E: std::fmt::Display>(
        &self,
        attempted: &'static str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ClusterError> {
        let answer = self.deadline(attempted, request).await?;
        answer.map_err(|error| self.refused(attempted, &error))
    }

    async fn deadline<T>(
        &self,
        attempted: &'static str,
        request: impl Future<Output = T>,
    ) -> Result<T, ClusterError> {
        let limit = self.settings.request_timeout;
        tokio::time::timeout(limit, request).await.map_err(|_| ClusterError::Late {
            attempted,
            cluster: self.settings.name(),
            seconds: limit.as_secs(),
        })
    }

    pub(super) fn missing(&self, topic: &str) -> ClusterError {
        ClusterError::NoTopic { topic: topic.to_owned(), cluster: self.settings.name() }
    }

    pub(super) fn refused(
        &self,
        attempted: &'static str,
        error: &impl std::fmt::Display,
    ) -> ClusterError {
        ClusterError::Refused {
            attempted,
            cluster: self.settings.name(),
            reason: error.to_string(),
        }
    }
}

fn boxed(stream: impl Stream<Item = Item> + Send + 'static) -> BoxStream<'static, Item> {
    stream.boxed()
}

/// Batches, up to one that the client cannot read: it takes what is compressed for records as they
/// are, and gives fewer, others, or panics, as the bytes will have it.
fn readable(
    batches: impl Stream<Item = Result<Batch, ErrorCode>> + Send + 'static,
) -> BoxStream<'static, BatchItem> {
    let batches = AssertUnwindSafe(batches).catch_unwind();
    let batches = batches.map(|batch| match batch {
        Ok(Ok(batch)) if batch.get_compression().is_err() => Err(None),
        Ok(batch) => batch.map_err(Some),
        Err(_) => Err(None),
    });
    batches.boxed()
}

/// An offset as the client takes it.
pub(super) fn absolute(offset: u64) -> Offset {
    let offset = i64::try_from(offset).ok().and_then(|offset| Offset::absolute(offset).ok());
    // One that Fluvio cannot count to was never given by it.
    offset.unwrap_or_else(Offset::end)
}

/// Pauses between attempts: twice as long each time, to a limit, and never the same on two nodes.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(super) const fn new(longest: Duration) -> Self {
        Self { next: FIRST_PAUSE, longest }
    }

    /// It went well: the next pause is a short one again.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }

    /// Waits between half of the pause and the whole.
    pub(super) async fn pause(&mut self) {
        let mut random = [0; 1];
        // Without randomness every node waits the same, which is no fault.
        let _ = SystemRandom::new().fill(&mut random);
        let half = self.next / 2;
        tokio::time::sleep(half + half * u32::from(random[0]) / 255).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::Record;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn batches_come_up_to_one_that_is_compressed() {
        let mut compressed: Batch = vec![Record::new("a")].into();
        compressed.header.attributes = 1;
        let whole: Batch = vec![Record::new("b")].into();
        let mut read = readable(stream::iter([Ok(whole), Ok(compressed)]));
        assert!(matches!(read.next().await, Some(Ok(_))));
        assert!(matches!(read.next().await, Some(Err(None))));
        // And where the client does not survive it.
        let mut read = readable(stream::iter([false, true]).map(|is_compressed| {
            assert!(!is_compressed, "capacity overflow");
            Ok(Batch::default())
        }));
        assert!(matches!(read.next().await, Some(Ok(_))));
        assert!(matches!(read.next().await, Some(Err(None))));
        assert!(read.next().await.is_none());
    }
}
