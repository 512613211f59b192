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

use fluvio::{Fluvio, dataplane::link::ErrorCode};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    connection::{BatchItem, Connection, Pauses, absolute},
    settings::Settings,
    topics,
};
use crate::error::ClusterError;

/// A record's offset and value, or what came instead of a batch.
type Item = Result<(u64, Vec<u8>), Option<ErrorCode>>;

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
    /// The next offset to read; of what is evicted it is not known before it is asked for.
    next: u64,
    /// The offset after the last record to read.
    end: u64,
    /// What comes from there on, where it is open.
    followed: Option<BoxStream<'static, Vec<Item>>>,
}

impl Partition {
    const fn is_over(&self) -> bool {
        self.next >= self.end
    }

    /// Takes a record, if it is the next one; whether it is.
    fn take(&mut self, offset: u64, value: Vec<u8>, batch: &mut TopicBatch) -> bool {
        if offset != self.next {
            return false;
        }
        self.next += 1;
        batch.values.push(value);
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
    /// Where the cluster does not answer in time, or has no such topic, or what is last in it is
    /// compressed.
    pub async fn open(settings: Settings, topic: &str, most: usize) -> Result<Self, ClusterError> {
        let settings = Arc::new(settings);
        let connection = Connection::new(Arc::clone(&settings), None);
        let client = connection.client().await?;
        let mut partitions = Vec::new();
        for number in 0..topics::partitions(&connection, &client, topic).await? {
            let end = connection.end(&client, topic, number).await?.unwrap_or(0);
            partitions.push(Partition { number, next: 0, end, followed: None });
        }
        let (topic, most) = (topic.to_owned(), most.max(1));
        Ok(Self { topic, most, settings, connection, partitions, next: 0 })
    }

    /// How many partitions the topic has.
    #[must_use]
    pub const fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The next records, of the partitions in turn; none at the end. A batch is empty where all that
    /// a partition had has been evicted.
    ///
    /// # Errors
    /// Where a record does not come within the time that opening a log may take, is gone, or is
    /// compressed.
    pub async fn next(&mut self) -> Result<Option<TopicBatch>, ClusterError> {
        let Some(at) = self.in_turn() else { return Ok(None) };
        let mut pauses = Pauses::new(self.settings.longest_pause);
        let begun = Instant::now();
        loop {
            let error = match self.attempt(at).await {
                Ok(batch) if !batch.values.is_empty() || self.partitions[at].is_over() => {
                    return Ok(Some(batch));
                }
                // The connection is as good as the client can make it.
                Ok(_) => self.withheld(at),
                Err(error) if error.retry() => {
                    tracing::warn!(%error, "the topic is opened again");
                    error
                }
                Err(error) => return Err(error),
            };
            if begun.elapsed() >= self.settings.open_timeout {
                return Err(error);
            }
            pauses.pause().await;
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
            // What the others follow came the same way.
            for partition in &mut self.partitions {
                partition.followed = None;
            }
        }
        taken
    }

    /// Takes what comes of a partition, up to what is wrong in it: nothing where it is wrong at once.
    async fn take(&mut self, client: &Fluvio, at: usize) -> Result<TopicBatch, ClusterError> {
        let partition = &mut self.partitions[at];
        let (number, first) = (partition.number, partition.next);
        // It is put back where nothing is wrong with it, and else opened again.
        let mut followed = match partition.followed.take() {
            Some(followed) => followed,
            None => {
                let (topic, from) = (&self.topic, absolute(first));
                let batches = self.connection.batches(client, topic, number, from, false).await?;
                let records = batches.flat_map(move |batch| stream::iter(records(batch, first)));
                records.ready_chunks(self.most).boxed()
            }
        };
        let came = tokio::time::timeout(self.settings.silence, followed.next()).await;
        let Ok(Some(came)) = came else { return Err(self.withheld(at)) };
        let mut batch = TopicBatch { partition: number, first, values: Vec::new() };
        let mut is_sound = true;
        for item in came {
            match item {
                Ok((offset, value)) => is_sound = partition.take(offset, value, &mut batch),
                Err(error) if batch.values.is_empty() => {
                    self.instead(at, error)?;
                    return Ok(batch);
                }
                // What came before it is taken first.
                Err(_) => is_sound = false,
            }
            if !is_sound || partition.is_over() {
                break;
            }
        }
        if is_sound && !partition.is_over() {
            partition.followed = Some(followed);
        }
        Ok(batch)
    }

    /// What came instead of the next record is wrong, unless it says where the first one is.
    fn instead(&mut self, at: usize, error: Option<ErrorCode>) -> Result<(), ClusterError> {
        let Partition { number, next, .. } = &mut self.partitions[at];
        let (topic, partition, offset) = (self.topic.clone(), *number, *next);
        match error {
            Some(ErrorCode::OffsetEvicted { next_available, .. }) => {
                let first = u64::try_from(next_available).unwrap_or(0);
                if offset > 0 {
                    return Err(ClusterError::Outrun { topic, partition, wanted: offset, first });
                }
                *next = first;
                Ok(())
            }
            Some(error) => Err(self.connection.refused("read", &error)),
            None => Err(ClusterError::Compressed { topic, partition, offset }),
        }
    }

    fn withheld(&self, at: usize) -> ClusterError {
        let Partition { number, next, .. } = &self.partitions[at];
        ClusterError::Withheld { topic: self.topic.clone(), partition: *number, offset: *next }
    }
}

/// The records of a batch from an offset on, before which it may begin.
fn records(batch: BatchItem, from: u64) -> Vec<Item> {
    let batch = match batch {
        Ok(batch) => batch,
        Err(error) => return vec![Err(error)],
    };
    let first = u64::try_from(batch.get_base_offset()).unwrap_or(0);
    let records = (first..).zip(batch.own_records()).filter(|(offset, _)| *offset >= from);
    records.map(|(offset, record)| Ok((offset, record.into_value().into_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::{Batch, Record};

    use super::*;

    #[test]
    fn records_of_a_batch_are_counted_from_its_own_offset() {
        let batch: Batch = vec![Record::new("a"), Record::new("b"), Record::new("c")].into();
        let wanted: [Item; 2] = [Ok((8, b"b".to_vec())), Ok((9, b"c".to_vec()))];
        assert_eq!(records(Ok(batch.base_offset(7)), 8), wanted);
        let wanted: [Item; 1] = [Err(None)];
        assert_eq!(records(Err(None), 8), wanted);
    }

    #[test]
    fn a_partition_takes_no_record_past_a_hole() {
        let mut partition = Partition { number: 0, next: 5, end: 7, followed: None };
        let mut batch = TopicBatch { partition: 0, first: 5, values: Vec::new() };
        assert!(partition.take(5, b"a".to_vec(), &mut batch));
        assert!(!partition.take(7, b"c".to_vec(), &mut batch));
        assert!(!partition.is_over());
        assert!(partition.take(6, b"b".to_vec(), &mut batch));
        assert!(partition.is_over());
        assert_eq!(batch.values, [b"a".to_vec(), b"b".to_vec()]);
    }
}
