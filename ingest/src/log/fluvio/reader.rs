//! The reader of one partition: follows Fluvio into the mirror, whole, in order and once.
//!
//! It never passes an offset that it was not given. Of each outbox it takes the record that comes
//! next and no other: what was published again is dropped, and what came before a record that got
//! lost is dropped too, by every reader alike, until the outbox publishes from there again.

use std::{sync::Arc, time::Instant};

use domain::id::RecordId;
use fluvio::{Fluvio, consumer::Record as Fetched, dataplane::link::ErrorCode};
use futures::{StreamExt, stream::BoxStream};

use super::{
    connection::{Connection, Item, Pauses},
    lane::Lane,
    marks::{Mark, MarkFile},
    sent::Own,
    settings::Settings,
};
use crate::{
    error::{ClusterError, LogError},
    log::{
        Log,
        embedded::{EmbeddedLog, Encoded},
    },
    metrics::ClusterMetrics,
    wire::{self, published},
};

/// Records taken at once, where so many are there.
const CHUNK: usize = 2_048;
/// A mark is written after so many records, or after a silence.
const MARK_RECORDS: u64 = 20_000;
/// After a data node came back its leader may know for a while of less than it has.
const BEHIND_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The task of one partition.
pub(super) struct Reader {
    pub lane: Arc<Lane>,
    pub mirror: Arc<EmbeddedLog>,
    pub connection: Arc<Connection>,
    pub settings: Arc<Settings>,
    pub metrics: ClusterMetrics,
    /// This node's outbox.
    pub outbox: Arc<str>,
    pub mark: Mark,
    pub marks: MarkFile,
    /// The next offset as of the mark that was last written.
    pub marked: u64,
    /// Since when Fluvio has less than was read from it.
    pub behind: Option<Instant>,
}

/// What one chunk brought.
#[derive(Default)]
struct Taken {
    records: Vec<Encoded>,
    /// Where this node's own records stand.
    own: Vec<u64>,
    /// The last one's id.
    last: Option<RecordId>,
    again: u64,
    early: u64,
}

impl Reader {
    /// Follows until something is wrong that another attempt does not mend.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(self.settings.longest_pause);
        loop {
            let from = self.mark.next;
            let client = match self.connection.client().await {
                Ok(client) => client,
                Err(error) if error.retry() => {
                    tracing::warn!(%error, "Fluvio is away; the reader waits");
                    pauses.pause().await;
                    continue;
                }
                Err(error) => return self.stop(error),
            };
            let error = match self.follow(&client).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if !error.retry() {
                return self.stop(error);
            }
            if self.mark.next > from {
                pauses.reset();
            }
            if let ClusterError::Skipped { .. } = error {
                // The connection is as good as the client can make it.
                tracing::debug!(%error, "the hole is read again");
                self.metrics.hole(self.lane.topic);
                if self.mark.next > from {
                    continue;
                }
            } else {
                tracing::warn!(%error, "the reader connects again");
                self.connection.give_up(&client).await;
            }
            pauses.pause().await;
        }
    }

    fn stop(&self, error: ClusterError) {
        tracing::error!(%error, "a stream on Fluvio has stopped");
        self.metrics.stopped(self.lane.topic);
        self.lane.stop(error);
    }

    async fn follow(&mut self, client: &Fluvio) -> Result<std::convert::Infallible, ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        // The last record is read again: it tells that these are still the records that were read.
        let mut check = self.mark.last.is_some();
        let from = self.mark.next - u64::from(check);
        let name = self.settings.topic(topic);
        let followed = self.connection.follow(client, &name, partition, from).await?;
        let mut followed: BoxStream<'_, Vec<Item>> = followed.ready_chunks(CHUNK).boxed();
        loop {
            match tokio::time::timeout(self.settings.silence, followed.next()).await {
                Ok(Some(items)) => check &= !self.take(items, check).await?,
                Ok(None) => return Err(self.interrupted()),
                Err(_) => self.after_silence(client, check).await?,
            }
        }
    }

    /// Nothing came for a while: is there really nothing?
    async fn after_silence(&mut self, client: &Fluvio, check: bool) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        self.write_mark();
        let name = self.settings.topic(topic);
        let end = self.connection.end(client, &name, partition).await?.unwrap_or(0);
        if end > self.mark.next {
            return Err(self.interrupted());
        }
        if !check {
            self.behind = None;
            return Ok(());
        }
        // The record that was read last does not come.
        let since = *self.behind.get_or_insert_with(Instant::now);
        if since.elapsed() < BEHIND_TIMEOUT {
            return Err(self.interrupted());
        }
        Err(ClusterError::Behind { topic, partition, read: self.mark.next })
    }

    fn interrupted(&self) -> ClusterError {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        ClusterError::Interrupted { topic, partition, offset: self.mark.next }
    }

    /// Takes what came, up to what is wrong in it. Whether the last record was checked.
    async fn take(&mut self, items: Vec<Item>, check: bool) -> Result<bool, ClusterError> {
        let mut taken = Taken::default();
        let (mut checked, mut wrong) = (false, None);
        for item in items {
            let one = match item {
                Ok(record) if check && !checked => self.check(&record).map(|()| checked = true),
                Ok(record) => self.one(&record, &mut taken).await,
                Err(error) => Err(self.ended(error)),
            };
            if let Err(error) = one {
                wrong = Some(error);
                break;
            }
        }
        self.keep(taken).await?;
        wrong.map_or(Ok(checked), Err)
    }

    /// The first record after a new connection has to be the last one of before.
    fn check(&self, record: &Fetched) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let offset = offset(record);
        let wanted = self.mark.next.saturating_sub(1);
        if offset != wanted {
            return Err(ClusterError::Skipped { topic, partition, found: offset, wanted });
        }
        let found = published::decode(record.value()).ok().map(|read| read.record.id.to_string());
        if found == self.mark.last {
            return Ok(());
        }
        Err(ClusterError::OtherCluster { topic, partition, offset })
    }

    /// What the server said instead of a record.
    fn ended(&mut self, error: ErrorCode) -> ClusterError {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let ErrorCode::OffsetEvicted { next_available, .. } = error else {
            return self.connection.refused("read", &error);
        };
        let (first, wanted) = (u64::try_from(next_available).unwrap_or(0), self.mark.next);
        if first <= wanted {
            // Only the record that was read last is gone; what follows is still there.
            self.mark.last = None;
            return self.interrupted();
        }
        ClusterError::Evicted { topic, partition, wanted, first }
    }

    /// Takes one record, or drops it.
    async fn one(&mut self, fetched: &Fetched, taken: &mut Taken) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let offset = offset(fetched);
        if offset < self.mark.next {
            return Ok(());
        }
        if offset > self.mark.next && self.settings.check_holes {
            let wanted = self.mark.next;
            return Err(ClusterError::Skipped { topic, partition, found: offset, wanted });
        }
        let own = self.mark.wanted(&self.outbox);
        let known = self.lane.sent().take(own, fetched.value());
        let (id, accepted) = match known {
            Some(known) => {
                self.mark.want(&self.outbox, own + 1);
                taken.own.push(offset);
                (known.id, Some(known))
            }
            None => self.read(fetched, taken)?,
        };
        if let Some(accepted) = accepted {
            self.accept(offset, accepted, taken).await?;
        }
        self.mark.next = offset + 1;
        taken.last = Some(id);
        Ok(())
    }

    /// Reads a record that is not known by its bytes: its id, and itself where it comes next in its
    /// outbox.
    fn read(
        &mut self,
        fetched: &Fetched,
        taken: &mut Taken,
    ) -> Result<(RecordId, Option<Own>), ClusterError> {
        let (topic, partition, offset) = (self.lane.topic, self.lane.partition, offset(fetched));
        let read = published::decode(fetched.value()).map_err(|error| {
            ClusterError::Unreadable { topic, partition, offset, reason: error.to_string() }
        })?;
        let mine = *read.outbox == *self.outbox;
        let next = self.mark.outboxes.entry(read.outbox).or_default();
        let skipped = read.outbox_sequence.checked_sub(*next);
        let accepted = match skipped {
            Some(0) => true,
            None => {
                taken.again += 1;
                false
            }
            Some(_) if !self.settings.check_holes => true,
            Some(_) => {
                taken.early += 1;
                false
            }
        };
        let record = read.record;
        if !accepted {
            return Ok((record.id, None));
        }
        *next = read.outbox_sequence + 1;
        if mine {
            let places = usize::try_from(skipped.unwrap_or(0)).unwrap_or(0) + 1;
            taken.own.extend(std::iter::repeat_n(offset, places));
        }
        let recorded_at = record.recorded_at.timestamp_micros();
        Ok((record.id, Some(Own { id: record.id, recorded_at, bytes: wire::encode(&record) })))
    }

    /// Takes a record that is not in the mirror yet.
    async fn accept(
        &self,
        offset: u64,
        accepted: Own,
        taken: &mut Taken,
    ) -> Result<(), ClusterError> {
        if offset < self.kept_end()? {
            return self.compare(offset, accepted.id).await;
        }
        taken.records.push(Encoded {
            partition: self.lane.partition,
            offset: Some(offset),
            recorded_at: accepted.recorded_at,
            bytes: accepted.bytes.into(),
        });
        Ok(())
    }

    fn kept_end(&self) -> Result<u64, ClusterError> {
        self.mirror.end(self.lane.topic, self.lane.partition).map_err(|error| self.local(&error))
    }

    /// The mirror has this offset already: it has to be the same record, unless it was let go of since.
    async fn compare(&self, offset: u64, id: RecordId) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        let kept = match self.mirror.read(topic, partition, offset, 1).await {
            Err(LogError::Gone { .. }) => return Ok(()),
            kept => kept.map_err(|error| self.local(&error))?,
        };
        let same =
            kept.first().is_some_and(|kept| kept.position.offset == offset && kept.record.id == id);
        if same { Ok(()) } else { Err(ClusterError::OtherCluster { topic, partition, offset }) }
    }

    /// Puts what was taken into the mirror, and then tells of it.
    async fn keep(&mut self, taken: Taken) -> Result<(), ClusterError> {
        let (topic, partition) = (self.lane.topic, self.lane.partition);
        if taken.again > 0 {
            self.metrics.dropped(topic, "again", taken.again);
        }
        if taken.early > 0 {
            self.metrics.dropped(topic, "early", taken.early);
            let records = taken.early;
            tracing::error!(%topic, partition, records, "a record of an outbox is missing");
        }
        if let Some(last) = taken.last {
            self.mark.last = Some(last.to_string());
        }
        let mut pauses = Pauses::new(self.settings.longest_pause);
        while !taken.records.is_empty() {
            // Their bytes are shared, so that what is refused can be tried again.
            match self.mirror.append_encoded(topic, taken.records.clone()).await {
                Ok(()) => break,
                // A disk that is full for a while ends nothing: nobody is told of them until then.
                Err(error) if error.nothing_written() => {
                    tracing::warn!(%error, %topic, partition, "the mirror waits for room");
                    self.lane.check()?;
                    pauses.pause().await;
                }
                Err(error) => return Err(self.local(&error)),
            }
        }
        self.lane.came_back(&taken.own);
        self.lane.next.send_replace(self.mark.next);
        if self.mark.next >= self.marked + MARK_RECORDS {
            self.write_mark();
        }
        Ok(())
    }

    fn write_mark(&mut self) {
        if self.marked == self.mark.next {
            return;
        }
        let Ok(kept) = self.kept_end() else { return };
        self.mark.kept = kept;
        match self.marks.write(&self.mark) {
            Ok(()) => self.marked = self.mark.next,
            // Without it more is read again after a restart.
            Err(error) => tracing::warn!(%error, "how far a stream was read is not noted"),
        }
    }

    fn local(&self, error: &LogError) -> ClusterError {
        ClusterError::Local {
            topic: self.lane.topic,
            partition: self.lane.partition,
            part: "mirror",
            reason: error.to_string(),
        }
    }
}

fn offset(record: &Fetched) -> u64 {
    u64::try_from(record.offset()).unwrap_or(0)
}
