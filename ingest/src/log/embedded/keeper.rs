//! What goes in time: records that are too old or too many, and those of a register that later ones
//! replaced. Worked out beside the writer, from blocks that nobody else changes, and done by it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use prost::Message;
use tokio::sync::oneshot;

use super::{
    Settings,
    block::{Block, Builder, KEY_BYTES, Unpacker, offset},
    gathering::{Gathering, Replace},
    streams::Streams,
};
use crate::{
    error::LogError,
    log::Keep,
    topic::Topic,
    wire::v1::{Envelope, Event},
};

/// Rows that go at once.
const TRIMMED_AT_ONCE: usize = 4_096;
/// Blocks that are put together at once.
const MERGED_AT_ONCE: usize = 16;
/// Entries of a register that are looked at in one pass, which bounds the memory.
const ENTRIES_AT_ONCE: u64 = 1 << 20;
/// A register is looked through again when it has grown by its own size, and by so much at least.
const LEAST_GROWTH: u64 = 10_000;

/// The thread that looks after what goes.
#[derive(Debug)]
pub(super) struct Keeper {
    asked: Option<mpsc::Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

type Done = oneshot::Sender<Result<(), LogError>>;

/// Which entry of a register a record is about, and its rank among those about the same.
type Entry = (u128, u64);

enum Asked {
    Keep(Done),
    Trim(Topic, u32, u64, Done),
}

struct Work {
    streams: Arc<Streams>,
    gathering: Arc<Gathering>,
    keep: HashMap<Topic, Keep>,
    /// Up to where each register was looked through, and how many records were left of that.
    looked_through: HashMap<(Topic, u32), (u64, u64)>,
}

impl Keeper {
    pub(super) fn start(
        streams: Arc<Streams>,
        gathering: Arc<Gathering>,
        settings: &Settings,
    ) -> io::Result<Self> {
        let (asked, asks) = mpsc::channel();
        let (keep, every) = (settings.keep.clone(), settings.keep_every);
        let work = Work { streams, gathering, keep, looked_through: HashMap::new() };
        let builder = std::thread::Builder::new().name("log-keeper".into());
        let thread = builder.spawn(move || work.run(&asks, every))?;
        Ok(Self { asked: Some(asked), thread: Some(thread) })
    }

    pub(super) async fn keep(&self) -> Result<(), LogError> {
        self.ask(Asked::Keep).await
    }

    pub(super) async fn trim(
        &self,
        topic: Topic,
        partition: u32,
        before: u64,
    ) -> Result<(), LogError> {
        self.ask(|done| Asked::Trim(topic, partition, before, done)).await
    }

    async fn ask(&self, asked: impl FnOnce(Done) -> Asked) -> Result<(), LogError> {
        let (done, answer) = oneshot::channel();
        // A keeper that has stopped has dropped the answer's other end.
        let _ = self.asked.as_ref().map(|keeper| keeper.send(asked(done)));
        answer.await.unwrap_or(Err(LogError::Stopped { sync_failed: false }))
    }

    /// Ends the thread; what it is doing is finished first.
    pub(super) fn stop(&mut self) {
        drop(self.asked.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked leaves everything as it is.
            let _ = thread.join();
        }
    }
}

impl Work {
    fn run(mut self, asks: &mpsc::Receiver<Asked>, every: Duration) {
        loop {
            // Who asked may be gone by now.
            match asks.recv_timeout(every) {
                Ok(Asked::Keep(done)) => drop(done.send(self.keep_all())),
                Ok(Asked::Trim(topic, partition, before, done)) => {
                    let _ = done.send(self.trim(topic, partition, before));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.keep_all() {
                        tracing::warn!(%error, "what should go of the log stays for now");
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn keep_all(&mut self) -> Result<(), LogError> {
        for (topic, keep) in self.keep.clone() {
            for partition in 0..topic.partitions() {
                self.keep_one(topic, partition, keep)?;
            }
        }
        Ok(())
    }

    fn keep_one(&mut self, topic: Topic, partition: u32, keep: Keep) -> Result<(), LogError> {
        let latest = self.streams.latest(topic, partition);
        let at = |age: chrono::TimeDelta| {
            let micros = age.num_microseconds().unwrap_or(i64::MAX);
            self.streams.at(topic, partition, latest.saturating_sub(micros))
        };
        if let Some(age) = keep.age {
            self.trim(topic, partition, at(age)?)?;
        }
        if let Some(bytes) = keep.bytes {
            self.trim(topic, partition, self.streams.newest(topic, partition, bytes)?)?;
        }
        if let Some(replaced) = keep.replaced {
            self.merge(topic, partition, at(replaced)?)?;
        }
        Ok(())
    }

    /// Lets go of the blocks that end before an offset, but for the newest.
    fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<(), LogError> {
        let mut keys = self.streams.keys(topic, partition);
        let Some(mut key) = keys.next().transpose()? else { return Ok(()) };
        let mut removed = Vec::new();
        for next in keys {
            let next = next?;
            if offset(&next).is_none_or(|start| start > before) {
                break;
            }
            removed.push(std::mem::replace(&mut key, next));
            if removed.len() == TRIMMED_AT_ONCE {
                self.remove(topic, partition, std::mem::take(&mut removed), &key)?;
            }
        }
        self.remove(topic, partition, removed, &key)
    }

    /// Removes the first blocks of a partition, which then begins at the one that has `key`.
    fn remove(
        &self,
        topic: Topic,
        partition: u32,
        removed: Vec<[u8; KEY_BYTES]>,
        key: &[u8],
    ) -> Result<(), LogError> {
        if removed.is_empty() {
            return Ok(());
        }
        let (put, start) = (Vec::new(), offset(key));
        self.replace(|reply| Replace { topic, partition, removed, put, start, reply })
    }

    /// Lets go of what was replaced before an offset, when there is enough to look through.
    fn merge(&mut self, topic: Topic, partition: u32, before: u64) -> Result<(), LogError> {
        let (to, left) = self.looked_through.get(&(topic, partition)).copied().unwrap_or_default();
        if before.saturating_sub(to) < left.max(LEAST_GROWTH) {
            return Ok(());
        }
        self.merge_now(topic, partition, before)
    }

    fn merge_now(&mut self, topic: Topic, partition: u32, before: u64) -> Result<(), LogError> {
        let start = self.streams.start(topic, partition);
        let passes = u128::from((before - start) / ENTRIES_AT_ONCE + 1);
        let mut left = 0;
        for pass in 0..passes {
            // By entry the rank and the offset of the record that holds.
            let mut newest: HashMap<u128, (u64, u64)> = HashMap::new();
            self.each(topic, partition, before, |offset, entry| {
                if let Some((entry, rank)) = entry.filter(|(entry, _)| entry % passes == pass) {
                    let holds = newest.entry(entry).or_default();
                    *holds = (*holds).max((rank, offset));
                }
            })?;
            let stays = |offset: u64, entry: Option<Entry>| {
                let holds = entry.and_then(|(entry, _)| newest.get(&entry));
                holds.is_none_or(|(_, holds)| *holds == offset)
            };
            left = self.rewrite(topic, partition, before, stays)?;
        }
        self.looked_through.insert((topic, partition), (before, left));
        Ok(())
    }

    /// Tells the offset and entry of each record in the whole blocks before an offset.
    fn each(
        &self,
        topic: Topic,
        partition: u32,
        before: u64,
        mut each: impl FnMut(u64, Option<Entry>),
    ) -> Result<(), LogError> {
        let mut unpacker = Unpacker::default();
        self.blocks(topic, partition, before, |_, block| {
            let mut records = block.records(&mut unpacker)?;
            while let Some(record) = records.next() {
                let (offset, bytes) = record?;
                each(offset, entry(bytes)?.1);
            }
            Ok(None)
        })
    }

    /// Writes the blocks before an offset anew, with what stays; how many records stay.
    fn rewrite(
        &self,
        topic: Topic,
        partition: u32,
        before: u64,
        stays: impl Fn(u64, Option<Entry>) -> bool,
    ) -> Result<u64, LogError> {
        let (mut merging, mut left) = (Merging::after(i64::MIN), 0);
        self.blocks(topic, partition, before, |key, block| {
            left += merging.take(block, &stays)?;
            merging.removed.push(key);
            let whole = merging.removed.len() >= MERGED_AT_ONCE;
            let next = Merging::after(block.latest());
            Ok(whole.then(|| std::mem::replace(&mut merging, next)))
        })?;
        self.put(topic, partition, merging)?;
        Ok(left)
    }

    /// Goes through the whole blocks before an offset; what is given back of one is put.
    fn blocks(
        &self,
        topic: Topic,
        partition: u32,
        before: u64,
        mut each: impl FnMut([u8; KEY_BYTES], &Block<'_>) -> Result<Option<Merging>, &'static str>,
    ) -> Result<(), LogError> {
        let mut at = self.streams.start(topic, partition);
        for row in self.streams.rows(topic, partition, at, before)? {
            let row = row?;
            let damaged = |reason| LogError::damaged(topic, partition, at, reason);
            let key = row.key.as_ref().try_into().map_err(|_| damaged("no key of ours"))?;
            let block = Block::parse(&row.key, &row.value).map_err(damaged)?;
            if block.end() > before {
                break;
            }
            if let Some(merging) = each(key, &block).map_err(damaged)? {
                self.put(topic, partition, merging)?;
            }
            at = block.end();
        }
        Ok(())
    }

    fn put(&self, topic: Topic, partition: u32, merging: Merging) -> Result<(), LogError> {
        let Merging { mut removed, blocks, gone, .. } = merging;
        if removed.is_empty() || (gone == 0 && blocks.len() >= removed.len()) {
            return Ok(());
        }
        let put: Vec<_> = blocks.into_iter().map(|block| block.finish(partition)).collect();
        removed.retain(|key| put.iter().all(|(kept, _)| kept != key));
        self.replace(|reply| Replace { topic, partition, removed, put, start: None, reply })
    }

    fn replace(&self, replace: impl FnOnce(Done) -> Replace) -> Result<(), LogError> {
        let (reply, done) = oneshot::channel();
        let stopped = LogError::Stopped { sync_failed: false };
        if !self.gathering.replace(replace(reply)) {
            return Err(stopped);
        }
        done.blocking_recv().unwrap_or(Err(stopped))
    }
}

/// Record time and entry of a record. One of a kind that only a newer version knows is about no entry
/// known here, and stays.
fn entry(bytes: &[u8]) -> Result<(i64, Option<Entry>), &'static str> {
    let record = Envelope::decode(bytes).map_err(|_| "a record cannot be read")?;
    let of = |event: Event| event.entry().map(|entry| (entry, event.rank()));
    Ok((record.recorded_at, record.event.and_then(of)))
}

/// Blocks that are put together.
struct Merging {
    removed: Vec<[u8; KEY_BYTES]>,
    blocks: Vec<Builder>,
    gone: u64,
    /// The newest record time of all before.
    latest: i64,
}

impl Merging {
    const fn after(latest: i64) -> Self {
        Self { removed: Vec::new(), blocks: Vec::new(), gone: 0, latest }
    }

    /// Takes the records of a block that stay; how many those are.
    fn take(
        &mut self,
        block: &Block<'_>,
        stays: &impl Fn(u64, Option<Entry>) -> bool,
    ) -> Result<u64, &'static str> {
        let fresh = || Builder::new(block.first(), self.latest);
        let mut last = self.blocks.pop().unwrap_or_else(fresh);
        let mut unpacker = Unpacker::default();
        let (mut left, mut records) = (0, block.records(&mut unpacker)?);
        while let Some(record) = records.next() {
            let (offset, bytes) = record?;
            let (recorded_at, entry) = entry(bytes)?;
            if !stays(offset, entry) {
                self.gone += 1;
                continue;
            }
            left += 1;
            while !last.push(offset, recorded_at, bytes) {
                let next = last.next(offset);
                self.blocks.push(std::mem::replace(&mut last, next));
            }
        }
        while !last.cover(block.end()) {
            let next = last.next(block.end());
            self.blocks.push(std::mem::replace(&mut last, next));
        }
        last.note(block.latest());
        self.blocks.push(last);
        Ok(left)
    }
}
