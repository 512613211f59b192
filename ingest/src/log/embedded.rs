//! The embedded log, on `fjall`: one journal, one sync for all that arrived meanwhile.
//!
//! What is appended is gathered into blocks, and one thread writes all that came meanwhile as one
//! atomic batch with one sync; only then it lets readers see it and tells the callers. A failed sync
//! stops the log for good: what the disk then holds is unknown, so nothing is tried again and called
//! durable. A disk that is full or read-only is noticed beforehand; nothing is taken then, until it
//! has room again.
//!
//! What the disk loses later is noticed: every record has a checksum, the journals are looked through
//! before the store opens them, and the ends are kept beside it.

use std::{collections::HashMap, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use chrono::{DateTime, Utc};
use fjall::{CompressionType, Database, DatabaseBuilder};
use tokio::sync::{oneshot, watch};

use self::{
    block::{Block, Unpacker},
    ends::Ends,
    gathering::{Append, GROUP_APPENDS, Gathering, NotTaken},
    keeper::Keeper,
    space::Space,
    streams::{Partition, Streams},
    writer::Writer,
};
use super::{Keep, Log, Pending};
use crate::{
    error::LogError,
    folder::Claim,
    metrics::Metrics,
    record::{Position, Record, Stored},
    spread,
    topic::{Topic, partition_of},
    wire,
};

mod block;
mod ends;
mod folder;
mod gathering;
mod journal;
mod keeper;
mod linked;
mod mended;
mod space;
mod stopped;
mod streams;
#[cfg(test)]
mod tests;
mod writer;

pub(in crate::log) use gathering::Encoded;
pub use stopped::StoppedLog;

/// How long a caller waits where the next sync has no room; a sync takes about as long.
const NO_ROOM_WAIT: Duration = Duration::from_millis(1);
/// From so many records on they are encoded on all cores; fewer are done before threads have begun.
const SPREAD_FROM: usize = 1_024;
/// Blocks that the store keeps in memory once read.
const BLOCK_CACHE_BYTES: u64 = 16 << 20;
/// What the store reads again at most when it opens; the least that it takes.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Whether what was written is synced before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sync {
    /// Always; the only setting for data that matters.
    #[default]
    Always,
    /// Never: for the test that shows what a power cut does then.
    Never,
}

/// How a folder's log is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether what was written is synced.
    pub sync: Sync,
    /// What stays free of the disk: with less nothing is taken.
    pub reserve_bytes: u64,
    /// What goes of each stream in time; nothing where a stream is not named.
    pub keep: HashMap<Topic, Keep>,
    /// How often what goes is looked for.
    pub keep_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync: Sync::Always,
            reserve_bytes: 64 << 20,
            keep: HashMap::new(),
            keep_every: Duration::from_secs(60),
        }
    }
}

/// The store in a folder, to be opened.
fn store(folder: &Path) -> DatabaseBuilder<Database> {
    Database::builder(folder)
        .cache_size(BLOCK_CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        // The look through the journals reads what stands there.
        .journal_compression(CompressionType::None)
}

/// Tells the records of a row of the store, in order, each with its offset.
///
/// # Errors
/// What is wrong with the row, as a reader of the stream finds it.
pub fn each_of_row(
    key: &[u8],
    value: &[u8],
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(), &'static str> {
    let (block, mut unpacker) = (Block::parse(key, value)?, Unpacker::default());
    let mut records = block.records(&mut unpacker)?;
    while let Some(record) = records.next() {
        let (offset, bytes) = record?;
        each(offset, bytes);
    }
    Ok(())
}

/// Streams in a folder of this machine.
#[derive(Debug)]
pub struct EmbeddedLog {
    streams: Arc<Streams>,
    gathering: Arc<Gathering>,
    writer: Option<JoinHandle<()>>,
    keeper: Keeper,
    metrics: Metrics,
    /// Given back last, when the store is closed.
    _claim: Claim,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, and makes it where there is none.
    ///
    /// # Errors
    /// Where another process has the folder, it cannot be read, or something acknowledged is not
    /// there any more.
    pub fn open(folder: &Path, settings: &Settings, metrics: Metrics) -> Result<Self, LogError> {
        let opened = |source: Box<dyn std::error::Error + Send + std::marker::Sync>| {
            LogError::Open { path: folder.to_path_buf(), source }
        };
        let claim = folder::claim(folder)?;
        journal::check(folder)?;
        let database = store(folder).worker_threads(1).open().map_err(|source| match source {
            fjall::Error::Locked => LogError::InUse { path: folder.to_path_buf() },
            source => opened(source.into()),
        })?;
        let (ends, known) = Ends::open(folder).map_err(|source| opened(source.into()))?;
        let space = Space::of(folder, settings.reserve_bytes);
        let space = space.map_err(|source| opened(source.into()))?;
        let streams = Arc::new(Streams::open(&database, folder, &known, space, Partition::open)?);
        let gathering = Arc::new(Gathering::new(Arc::clone(&streams)));
        metrics.limited(GROUP_APPENDS);
        let writer = Writer {
            gathering: Arc::clone(&gathering),
            streams: Arc::clone(&streams),
            database,
            ends,
            sync: settings.sync,
            metrics: metrics.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| opened(source.into()))?;
        let keeper = Keeper::start(Arc::clone(&streams), Arc::clone(&gathering), settings);
        let keeper = keeper.map_err(|source| opened(source.into()))?;
        Ok(Self { streams, gathering, writer: Some(writer), keeper, metrics, _claim: claim })
    }

    /// Appends copies of another log's records, where they stand there. Offsets rise in each
    /// partition, and may leave some out.
    ///
    /// # Errors
    /// As of [`Log::append`].
    pub async fn append_at(&self, topic: Topic, records: &[Stored]) -> Result<(), LogError> {
        let encoded = records.iter().map(|stored| Encoded {
            partition: stored.position.partition,
            offset: Some(stored.position.offset),
            recorded_at: stored.record.recorded_at.timestamp_micros(),
            bytes: wire::encode(&stored.record).into(),
        });
        self.send(topic, encoded.collect()).await.map(drop)
    }

    /// As [`Self::append_at`], of records that are encoded already.
    pub(in crate::log) async fn append_encoded(
        &self,
        topic: Topic,
        records: Vec<Encoded>,
    ) -> Result<(), LogError> {
        self.send(topic, records).await.map(drop)
    }

    /// As [`Log::read`], the records as they lie here, each with its offset.
    pub(in crate::log) fn read_encoded(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let mut read = Vec::new();
        self.streams.each(topic, partition, from, most, |offset, bytes| {
            read.push((offset, bytes.to_vec()));
            Ok(())
        })?;
        Ok(read)
    }

    /// Lets go of the records of a partition before an offset; the newest block stays.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<(), LogError> {
        self.keeper.trim(topic, partition, before).await
    }

    /// Looks now for what goes in time, instead of after a while.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keep(&self) -> Result<(), LogError> {
        self.keeper.keep().await
    }

    async fn send(&self, topic: Topic, records: Vec<Encoded>) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let _waiting = self.metrics.begun();
        let (reply, answer) = oneshot::channel();
        let mut append = Append { topic, records, reply };
        loop {
            match self.gathering.append(append) {
                Ok(()) => break,
                // Waiting without blocking the runtime's thread.
                Err(NotTaken::Yet(back)) => {
                    append = back;
                    tokio::time::sleep(NO_ROOM_WAIT).await;
                }
                Err(NotTaken::Refused(refused)) => {
                    self.metrics.not_written(refused.code(), 1);
                    return Err(refused.into());
                }
            }
        }
        answer.await.map_err(|_| self.streams.stopped())?
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.keeper.stop();
        self.gathering.end();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has stopped the log; there is nothing left to wait for.
            let _ = writer.join();
        }
    }
}

impl Log for EmbeddedLog {
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
        let partitions = topic.partitions();
        let encode = |record: &Record| Encoded {
            partition: partition_of(&record.key, partitions),
            offset: None,
            recorded_at: record.recorded_at.timestamp_micros(),
            bytes: wire::encode(record).into(),
        };
        let encoded = match records.len() {
            SPREAD_FROM.. => spread::map(records.iter().collect(), encode),
            _ => records.iter().map(encode).collect(),
        };
        Box::pin(self.send(topic, encoded))
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        Box::pin(async move { self.streams.read(topic, partition, from, most) })
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        Ok(self.streams.end(topic, partition))
    }

    fn cut(&self) -> Result<Vec<(Topic, u32, u64)>, LogError> {
        Ok(self.streams.cut())
    }

    fn takes(&self) -> Result<(), LogError> {
        Ok(self.streams.takes(0)?)
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        Ok(self.streams.start(topic, partition))
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        let found = self.streams.at(topic, partition, instant.timestamp_micros());
        Box::pin(std::future::ready(found))
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.streams.stream(topic).grown.subscribe()
    }
}
