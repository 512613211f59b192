//! The publisher of one partition: brings the outbox's records to Fluvio, in order.
//!
//! What Fluvio answers is only a hint: a record is there when it comes back. So after every doubt
//! the publisher reads up to Fluvio's end and goes on with the first record that did not come back.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use fluvio::{Fluvio, RecordKey, TopicProducerPool};

use super::{
    connection::{Connection, Pauses},
    lane::Lane,
    sent::Own,
    settings::Settings,
};
use crate::{
    error::{ClusterError, LogError},
    log::{Log, embedded::EmbeddedLog},
    metrics::ClusterMetrics,
    record::Position,
    wire::{self, published},
};

/// Records and bytes of one request at most; the client makes batches of it.
const REQUEST_RECORDS: usize = 8_192;
const REQUEST_BYTES: usize = 4 << 20;
/// Records that may be on their way before the first comes back.
const WINDOW: u64 = 32_768;
/// The longest pause before something is published again whose first answer is not known: it may lie
/// with the leader and wait for a replica, and each time more would.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);
/// The outbox is trimmed so often; more often where it keeps little.
const TRIM_PERIOD: Duration = Duration::from_secs(30);

/// The task of one partition.
pub(super) struct Publisher {
    pub lane: Arc<Lane>,
    /// Where records stand until they are back.
    pub streams: Arc<EmbeddedLog>,
    pub connection: Arc<Connection>,
    pub settings: Arc<Settings>,
    pub metrics: ClusterMetrics,
    /// The outbox's name.
    pub outbox: Arc<str>,
    /// What was back when, for trimming.
    pub back: VecDeque<(Instant, u64)>,
}

impl Publisher {
    /// Publishes until something is wrong that another attempt does not mend.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(self.settings.longest_pause.max(LONGEST_DOUBT));
        loop {
            let before = *self.lane.back.borrow();
            let error = match self.attempt().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if !error.retry() {
                tracing::error!(%error, "a stream on Fluvio has stopped");
                self.metrics.stopped(self.lane.topic);
                return self.lane.stop(error);
            }
            tracing::warn!(%error, "publishing begins again with what did not come back");
            if *self.lane.back.borrow() > before {
                pauses.reset();
            }
            let back = *self.lane.back.borrow();
            tokio::select! {
                () = pauses.pause() => {}
                // What was in doubt comes back after all; a fault is met by the next attempt.
                _ = self.lane.until(&self.lane.back, back + 1) => {}
            }
        }
    }

    async fn attempt(&mut self) -> Result<std::convert::Infallible, ClusterError> {
        let back = *self.lane.back.borrow();
        self.until_more(back).await?;
        let client = self.connection.client().await?;
        match self.publish(&client).await {
            Ok(never) => match never {},
            Err(error) => {
                self.connection.give_up(&client).await;
                Err(error)
            }
        }
    }

    async fn publish(&mut self, client: &Fluvio) -> Result<std::convert::Infallible, ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        // Asked before a producer is made, which would wait for a missing leader without end.
        let name = self.settings.topic(topic);
        let end = self.connection.end(client, &name, partition).await?.unwrap_or(0);
        let read = self.lane.until(&self.lane.next, end);
        self.connection.within("read to the end", read).await?;
        let producer = self.connection.producer(client, &name, partition).await?;
        self.lane.sent().clear();
        let mut sent = *self.lane.back.borrow();
        loop {
            self.trim().await;
            let back = *self.lane.back.borrow();
            if sent == back {
                self.until_more(sent).await?;
            }
            if self.end()? > sent {
                sent += self.request(&producer, sent).await?;
            }
            let end = self.end()?;
            self.metrics.waiting(topic, partition, end.saturating_sub(*self.lane.back.borrow()));
            // With more to send only the window holds it up; else it waits for all to come back.
            let wanted = if end > sent { sent.saturating_sub(WINDOW) } else { sent };
            self.until_back(wanted, end > sent).await?;
        }
    }

    /// Waits until the outbox has more than so much.
    async fn until_more(&mut self, sent: u64) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let mut grown = self.streams.subscribe(topic);
        loop {
            self.lane.check()?;
            grown.borrow_and_update();
            let end = self.end()?;
            let back = *self.lane.back.borrow();
            if back > end {
                return Err(ClusterError::OutboxBehind { topic, partition, end, published: back });
            }
            if end > sent {
                return Ok(());
            }
            self.trim().await;
            // A time limit only so that it is trimmed while nothing comes.
            let _ = tokio::time::timeout(self.trim_period(), grown.changed()).await;
        }
    }

    /// Waits until so much came back; while there is more to send, only as far as the window asks.
    async fn until_back(&self, wanted: u64, more: bool) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let mut grown = self.streams.subscribe(topic);
        grown.borrow_and_update();
        loop {
            let back = *self.lane.back.borrow();
            if back >= wanted {
                return Ok(());
            }
            let some = self.lane.until(&self.lane.back, if more { wanted } else { back + 1 });
            tokio::select! {
                came = tokio::time::timeout(self.settings.request_timeout, some) => match came {
                    Ok(came) => came?,
                    Err(_) => {
                        return Err(ClusterError::Stalled { topic, partition, sequence: back });
                    }
                },
                // More came to send meanwhile.
                _ = grown.changed(), if !more => return Ok(()),
            }
        }
    }

    /// Sends one request, and waits for the answer. How many records it had.
    async fn request(&self, producer: &TopicProducerPool, from: u64) -> Result<u64, ClusterError> {
        let objects = self.objects(from)?;
        let count = objects.len() as u64;
        // One deadline for all: a timer for each would cost as much as the sending.
        let request = async {
            let mut last = None;
            for (key, object) in objects {
                let sent = producer.send(key, object).await;
                last = Some(sent.map_err(|error| error.to_string())?);
            }
            producer.flush().await.map_err(|error| error.to_string())?;
            match last {
                Some(last) => last.wait().await.map(drop).map_err(|error| error.to_string()),
                None => Ok(()),
            }
        };
        self.connection.within("publish", Box::pin(request)).await?;
        Ok(count)
    }

    /// The next objects to send, noted for the reader.
    fn objects(&self, from: u64) -> Result<Vec<(RecordKey, Vec<u8>)>, ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let read = self.streams.read_encoded(topic, partition, from, REQUEST_RECORDS);
        let read = read.map_err(|error| self.local(&error))?;
        let (mut objects, mut total) = (Vec::with_capacity(read.len()), 0);
        for (offset, bytes) in read {
            let unreadable = |error: wire::WireError| ClusterError::Unreadable {
                topic,
                partition,
                offset,
                reason: error.to_string(),
            };
            let record = wire::decode(&bytes).map_err(unreadable)?;
            let place = Position { partition, offset };
            let object = published::encode(&self.outbox, place, &record).map_err(unreadable)?;
            total += object.len();
            if !objects.is_empty() && total > REQUEST_BYTES {
                break;
            }
            let recorded_at = record.recorded_at.timestamp_micros();
            self.lane.sent().note(offset, &object, Own { id: record.id, recorded_at, bytes });
            objects.push((RecordKey::from(record.key), object));
        }
        Ok(objects)
    }

    fn trim_period(&self) -> Duration {
        TRIM_PERIOD.min(self.settings.outbox_kept / 4)
    }

    /// Forgets what is back for long enough.
    async fn trim(&mut self) {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let now = Instant::now();
        if self.back.back().is_some_and(|(noted, _)| now - *noted < self.trim_period()) {
            return;
        }
        self.back.push_back((now, *self.lane.back.borrow()));
        let mut before = None;
        while let Some((_, back)) =
            self.back.pop_front_if(|(noted, _)| now - *noted >= self.settings.outbox_kept)
        {
            before = Some(back);
        }
        let Some(before) = before else { return };
        if let Err(error) = self.streams.trim(topic, partition, before).await {
            // It takes room, and is tried again.
            tracing::warn!(%topic, partition, %error, "the outbox is not trimmed");
        }
    }

    fn end(&self) -> Result<u64, ClusterError> {
        let end = self.streams.end(self.lane.topic, self.lane.partition);
        end.map_err(|error| self.local(&error))
    }

    fn local(&self, error: &LogError) -> ClusterError {
        ClusterError::Local {
            topic: self.lane.topic,
            partition: self.lane.partition,
            part: "outbox",
            reason: error.to_string(),
        }
    }
}
