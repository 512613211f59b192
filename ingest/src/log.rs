//! The log: one contract, and the engines that keep it.
//!
//! A batch that [`Log::append`] has acknowledged is on disk and stays; reading from an offset gives
//! the same records for ever, in order. Offsets count from 0 without holes, but for those of records
//! that a stream's [`Keep`] lets go of. The suite in `tests/it/engines.rs` holds every engine to it.

use std::{ops::Range, pin::Pin, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::{
    error::LogError,
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
};

pub mod appender;
pub mod embedded;
pub mod fluvio;
pub mod model;

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// Streams that are appended to and read.
pub trait Log: Send + Sync + std::fmt::Debug + 'static {
    /// Appends a batch, whole or not at all, and answers when it is durable: where each record
    /// stands, in the order given. Records of one key keep their order.
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>>;

    /// Whether an append would be taken now. Who has to move something before it appends asks first.
    ///
    /// # Errors
    /// What the append would be refused with.
    fn takes(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// At most `most` records of one partition from `from` on, in order; empty at the end. What was
    /// let go of is an error, never passed over: [`LogError::Gone`].
    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>>;

    /// The offset that the next record of the partition gets.
    ///
    /// # Errors
    /// Where the log is stopped or broken.
    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError>;

    /// The first offset that is left; what stood before it was let go of.
    ///
    /// # Errors
    /// Where the log is stopped or broken.
    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError>;

    /// The first offset of a record that was recorded at or after an instant; the end where there is
    /// none.
    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64>;

    /// How many partitions the topic has.
    fn partitions(&self, topic: Topic) -> u32;

    /// The ends of all partitions at one instant: what stands before them is what a power cut at that
    /// instant would have left, so nothing in it follows from what is not.
    ///
    /// # Errors
    /// Where the log is stopped or broken.
    fn cut(&self) -> Result<Vec<(Topic, u32, u64)>, LogError> {
        // What follows from other streams is asked first; what it follows from is there by then.
        let partitions = Topic::FOLLOWING
            .into_iter()
            .flat_map(|topic| (0..self.partitions(topic)).map(move |partition| (topic, partition)));
        let ends = partitions.map(|(topic, partition)| {
            self.end(topic, partition).map(|end| (topic, partition, end))
        });
        ends.collect()
    }

    /// Tells of growth: the value rises with every batch that became durable in the topic.
    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64>;
}

/// What a stream lets go of in time. Ages are by record time, against the stream's newest record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Records older than this go; none keeps them for ever.
    pub age: Option<TimeDelta>,
    /// The oldest records of a partition go while it takes more bytes; none has no bound.
    pub bytes: Option<u64>,
    /// Of a register: a record goes that a later one of the same entry replaced longer ago than
    /// this, so that every state since then can still be told. None keeps them all.
    pub replaced: Option<TimeDelta>,
}

/// The partition that a record of `key` goes to.
#[must_use]
pub fn partition(log: &dyn Log, topic: Topic, key: &str) -> u32 {
    partition_of(key, log.partitions(topic))
}

/// Reads a whole topic, partition by partition, from its beginning to its end as of the call.
///
/// # Errors
/// The first read that fails, or the first error of `each`.
pub async fn replay<E: From<LogError>>(
    log: &Arc<dyn Log>,
    topic: Topic,
    mut each: impl FnMut(Stored) -> Result<(), E>,
) -> Result<(), E> {
    for partition in 0..log.partitions(topic) {
        let end = log.end(topic, partition)?;
        let mut offsets = log.start(topic, partition)?..end;
        while let Some(batch) = next_batch(log, topic, partition, &mut offsets).await? {
            batch.into_iter().try_for_each(&mut each)?;
        }
    }
    Ok(())
}

/// The next records of a partition whose `offsets` are still to be read, which then begin behind them; none
/// where nothing is left. The last ones may stand beyond the end.
///
/// # Errors
/// Where they cannot be read.
pub async fn next_batch(
    log: &Arc<dyn Log>,
    topic: Topic,
    partition: u32,
    offsets: &mut Range<u64>,
) -> Result<Option<Vec<Stored>>, LogError> {
    if offsets.is_empty() {
        return Ok(None);
    }
    let batch = log.read(topic, partition, offsets.start, READ_BATCH).await?;
    let Some(last) = batch.last() else { return Ok(None) };
    offsets.start = last.position.offset + 1;
    Ok(Some(batch))
}

/// Records read at once: large enough to be fast, small enough to stay in memory's bounds.
pub const READ_BATCH: usize = 1_024;
