//! Reads a topic that is none of our streams, once: from the first record that is there up to where
//! the topic ended when it was opened.
//!
//! As the reader of our streams it never passes an offset that it was not given: at a hole a
//! partition is opened again.

use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
    time::Instant,
};

use fluvio::{Fluvio, consumer::Record as Fetched, dataplane::link::ErrorCode};
use futures::{StreamExt, stream::BoxStream};

use super::{
    connection::{Connection, Item, Pauses},
    reader::offset,
    settings::Settings,
    topics,
};
use crate::error::ClusterError;

/// A topic of a cluster, of whatever records, that is read to its end.
pub struct TopicReader {
    topic: String,
    /// Records of a batch at most.
    most: usize,
    settings: Arc<Settings>,
    connection: Connection,
    partitions: Vec<Partition>,
    /// The partition whose turn it is.
    next: usize,
}

/// Records of one partition that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicBatch {
    /// The partition.
    pub partition: u32,
    /// The first record's offset.
    pub first: u64,
    /// What was put there as the records' values.
    pub values: Vec<Vec<u8>>,
}

struct Partition {
    number: u32,
    /// The next offset to read; none before the first record.
    next: Option<u64>,
    /// The offset after the last record to read.
    end: u64,
    /// What comes from there on, where it is open.
    followed: Option<BoxStream<'static, Vec<Item>>>,
}

impl Partition {
    fn is_over(&self) -> bool {
        self.next.unwrap_or(0) >= self.end
    }

    /// Takes a record; whether it was the next one.
    fn take(&mut self, record: &Fetched, batch: &mut TopicBatch) -> bool {
        let offset = offset(record);
        let next = *self.next.get_or_insert(offset);
        if offset != next {
            return false;
        }
        self.next = Some(offset + 1);
        // All that was there at the opening may be gone since: then this one came later.
        if offset < self.end {
            if batch.values.is_empty() {
                batch.first = offset;
            }
            batch.values.push(record.value().to_vec());
        }
        true
    }
}

impl Debug for TopicReader {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Opens a topic by its whole name, to be read in batches of at most so many records.
    ///
    /// # Errors
    /// Where the cluster does not answer in time, or has no such topic.
    pub async fn open(settings: Settings, topic: &str, most: usize) -> Result<Self, ClusterError> {
        let settings = Arc::new(settings);
        let connection = Connection::new(Arc::clone(&settings), None);
        let client = connection.client().await?;
        let mut partitions = Vec::new();
        for number in 0..topics::partitions(&connection, &client, topic).await? {
            let end = connection.end(&client, topic, number).await?.unwrap_or(0);
            partitions.push(Partition { number, next: None, end, followed: None });
        }
        let (topic, most) = (topic.to_owned(), most.max(1));
        Ok(Self { topic, most, settings, connection, partitions, next: 0 })
    }

    /// How many partitions the topic has.
    #[must_use]
    pub const fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The next records, of the partitions in turn; none at the end.
    ///
    /// # Errors
    /// Where a record does not come within the time that opening a log may take, or is gone.
    pub async fn next(&mut self) -> Result<Option<TopicBatch>, ClusterError> {
        let Some(at) = self.in_turn() else { return Ok(None) };
        let mut pauses = Pauses::new(self.settings.longest_pause);
        let begun = Instant::now();
        loop {
            match self.attempt(at).await {
                Err(error) if error.retry() && begun.elapsed() < self.settings.open_timeout => {
                    tracing::warn!(%error, "the topic is opened again");
                    pauses.pause().await;
                }
                taken => return taken.map(Some),
            }
        }
    }

    /// The next partition that has more to read.
    fn in_turn(&mut self) -> Option<usize> {
        let count = self.partitions.len();
        let mut places = (0..count).map(|ahead| (self.next + ahead) % count);
        let at = places.find(|at| !self.partitions[*at].is_over())?;
        self.next = at + 1;
        Some(at)
    }

    async fn attempt(&mut self, at: usize) -> Result<TopicBatch, ClusterError> {
        let client = self.connection.client().await?;
        let taken = self.take(&client, at).await;
        if taken.is_err() {
            self.connection.give_up(&client).await;
        }
        taken
    }

    /// Takes what comes of a partition, up to what is wrong in it.
    async fn take(&mut self, client: &Fluvio, at: usize) -> Result<TopicBatch, ClusterError> {
        let partition = &mut self.partitions[at];
        let (number, from) = (partition.number, partition.next);
        // It is put back where nothing is wrong with it, and else opened again.
        let mut followed = match partition.followed.take() {
            Some(followed) => followed,
            None => {
                let followed = self.connection.follow(client, &self.topic, number, from).await?;
                followed.ready_chunks(self.most).boxed()
            }
        };
        let came = tokio::time::timeout(self.settings.silence, followed.next()).await;
        let mut batch = TopicBatch { partition: number, first: 0, values: Vec::new() };
        let mut is_sound = true;
        for item in came.ok().flatten().unwrap_or_default() {
            match item {
                Ok(record) => is_sound = partition.take(&record, &mut batch),
                Err(error) if batch.values.is_empty() => return Err(self.ended(at, &error)),
                // What came before it is taken first.
                Err(_) => is_sound = false,
            }
            if !is_sound || partition.is_over() {
                break;
            }
        }
        if partition.is_over() {
            return Ok(batch);
        }
        if batch.values.is_empty() {
            return Err(self.withheld(at));
        }
        if is_sound {
            partition.followed = Some(followed);
        }
        Ok(batch)
    }

    /// What the server said instead of a record.
    fn ended(&self, at: usize, error: &ErrorCode) -> ClusterError {
        let ErrorCode::OffsetEvicted { next_available, .. } = error else {
            return self.connection.refused("read", error);
        };
        let Partition { number, next, .. } = &self.partitions[at];
        // Before anything was read another attempt begins with what is there then.
        let Some(wanted) = *next else { return self.withheld(at) };
        let first = u64::try_from(*next_available).unwrap_or(0);
        ClusterError::Outrun { topic: self.topic.clone(), partition: *number, wanted, first }
    }

    fn withheld(&self, at: usize) -> ClusterError {
        let Partition { number, next, .. } = &self.partitions[at];
        ClusterError::Withheld { topic: self.topic.clone(), partition: *number, offset: *next }
    }
}
