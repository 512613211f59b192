//! What the next sync will hold, gathered while the one before it goes on.
//!
//! Whoever appends puts the records into blocks, and packs the blocks that they fill. The writer takes
//! what has come when it is ready for more, so that packing and the disk overlap.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread,
};

use prost::bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    block::{Builder, KEY_BYTES},
    space::Refused,
    streams::Streams,
};
use crate::{error::LogError, record::Position, spread, topic::Topic};

/// Appends, records and bytes that come under one sync, until it is one append above.
pub(super) const GROUP_APPENDS: usize = 1_024;
const GROUP_RECORDS: usize = 8_192;
const GROUP_BYTES: usize = 8 << 20;

/// A record on its way to the writer, already encoded.
#[derive(Clone, Debug)]
pub(in crate::log) struct Encoded {
    pub partition: u32,
    /// Where it has to stand, when that is given: a copy of another log keeps its offsets.
    pub offset: Option<u64>,
    /// In microseconds since 1970.
    pub recorded_at: i64,
    /// Counted, not copied, by whoever keeps them to append them again.
    pub bytes: Bytes,
}

/// A block as the store gets it.
pub(super) type Row = ([u8; KEY_BYTES], Vec<u8>);

/// A partition of a stream.
pub(super) type Place = (Topic, u32);

/// Offset after a partition's last record, and its newest record time in microseconds since 1970.
pub(super) type End = (u64, i64);

/// A batch to append.
pub(super) struct Append {
    pub topic: Topic,
    pub records: Vec<Encoded>,
    pub reply: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

/// Rows of one partition to be put in the place of others: what retention and compaction leave.
pub(super) struct Replace {
    pub topic: Topic,
    pub partition: u32,
    pub removed: Vec<[u8; KEY_BYTES]>,
    pub put: Vec<Row>,
    /// The first offset that is left, where that changes.
    pub start: Option<u64>,
    pub reply: oneshot::Sender<Result<(), LogError>>,
}

/// What the writer is to do.
pub(super) enum Job {
    Append(Group),
    Replace(Replace),
}

/// Why a batch was not taken.
pub(super) enum NotTaken {
    /// There is no room before the next sync; the batch comes back.
    Yet(Append),
    /// Nothing is taken.
    Refused(Refused),
}

/// What one sync holds.
#[derive(Default)]
pub(super) struct Group {
    /// Where the records of each append will stand, for its caller.
    pub appends: Vec<Placed>,
    records: usize,
    bytes: usize,
    /// Of each partition the block that takes the next record.
    begun: HashMap<Place, Builder>,
    full: Vec<(Topic, Row)>,
}

/// An append that is told when it is durable.
pub(super) struct Placed {
    pub topic: Topic,
    pub positions: Vec<Position>,
    pub reply: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

impl Group {
    fn is_full(&self) -> bool {
        self.appends.len() >= GROUP_APPENDS
            || self.records >= GROUP_RECORDS
            || self.bytes >= GROUP_BYTES
    }

    /// How far it brings each of its partitions.
    pub(super) fn ends(&self) -> HashMap<Place, End> {
        let end = |(place, block): (&Place, &Builder)| (*place, (block.end(), block.latest()));
        self.begun.iter().map(end).collect()
    }

    /// Its blocks as they are put, and who is told of them.
    pub(super) fn packed(self) -> (impl Iterator<Item = (Topic, Row)>, Vec<Placed>) {
        let begun = self.begun.into_iter().map(|((topic, partition), block)| Filled {
            topic,
            partition,
            block,
        });
        let (large, small): (Vec<_>, Vec<_>) = begun.partition(|filled| filled.block.is_large());
        let packed = spread::heavy(large, Filled::packed).into_iter();
        let rows = self.full.into_iter().chain(packed).chain(small.into_iter().map(Filled::packed));
        (rows, self.appends)
    }

    /// Nothing of it is written.
    pub(super) fn refuse(self, refused: &Refused) {
        refuse(self.appends, refused);
    }
}

/// Tells those who wait that nothing of theirs was written.
pub(super) fn refuse(appends: Vec<Placed>, refused: &Refused) {
    for append in appends {
        // Who does not wait any more needs no answer.
        let _ = append.reply.send(Err(refused.clone().into()));
    }
}

/// A block that takes no more records.
struct Filled {
    topic: Topic,
    partition: u32,
    block: Builder,
}

impl Filled {
    fn packed(self) -> (Topic, Row) {
        (self.topic, self.block.finish(self.partition))
    }
}

/// Where those who append and the writer meet.
pub(super) struct Gathering {
    streams: Arc<Streams>,
    state: Mutex<State>,
    /// Told of everything that the writer may wait for.
    changed: Condvar,
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gathering")
    }
}

#[derive(Default)]
struct State {
    group: Group,
    /// Bytes of the group that the writer has.
    writing: usize,
    replacing: VecDeque<Replace>,
    /// Where partitions end with all that the writer has, written or not.
    ends: HashMap<Place, End>,
    /// How many are packing blocks of the group.
    packing: usize,
    ended: bool,
}

impl State {
    /// Bytes that were taken, and for which the disk has to have room yet.
    fn unwritten(&self) -> usize {
        self.writing + self.group.bytes
    }
}

impl Gathering {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        Self { streams, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes a batch into the next sync, whole or not at all.
    pub(super) fn append(&self, append: Append) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.ended {
            return Err(NotTaken::Refused(self.streams.stopped()));
        }
        if state.group.is_full() {
            return Err(NotTaken::Yet(append));
        }
        let bytes: usize = append.records.iter().map(|record| record.bytes.len()).sum();
        self.streams.takes(state.unwritten() + bytes).map_err(NotTaken::Refused)?;
        state.group.bytes += bytes;
        let filled = self.place(&mut state, append);
        if !filled.is_empty() {
            state.packing += 1;
            drop(state);
            let mut packing = Packing { gathering: self, packed: None };
            packing.packed = Some(spread::heavy(filled, Filled::packed));
            return Ok(());
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Gives each record its place; the blocks that are full by it.
    fn place(&self, state: &mut State, append: Append) -> Vec<Filled> {
        let (Append { topic, records, reply }, mut filled) = (append, Vec::new());
        let State { group, ends, .. } = state;
        group.records += records.len();
        let mut positions = Vec::with_capacity(records.len());
        for record in records {
            let partition = record.partition;
            let block = group.begun.entry((topic, partition)).or_insert_with_key(|place| {
                let (end, latest) = ends.get(place).copied().unwrap_or_else(|| self.durable(place));
                Builder::new(end, latest)
            });
            debug_assert!(record.offset.is_none_or(|offset| offset >= block.end()), "rising");
            let offset = record.offset.unwrap_or(0).max(block.end());
            while !block.push(offset, record.recorded_at, &record.bytes) {
                let next = block.next(offset);
                let block = mem::replace(block, next);
                filled.push(Filled { topic, partition, block });
            }
            positions.push(Position { partition, offset });
        }
        group.appends.push(Placed { topic, positions, reply });
        filled
    }

    /// Where a partition ends of which nothing was taken yet.
    fn durable(&self, (topic, partition): &Place) -> End {
        let known = self.streams.stream(*topic).partition(*partition);
        (known.end.load(Ordering::Acquire), known.latest.load(Ordering::Acquire))
    }

    /// Has rows replaced; whether anybody does that any more.
    pub(super) fn replace(&self, replace: Replace) -> bool {
        let mut state = self.state();
        if !state.ended {
            state.replacing.push_back(replace);
            self.changed.notify_one();
        }
        !state.ended
    }

    /// What is to be done next, once there is something; none when all is done and nothing more comes.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        // Who asks for more has written what it had.
        state.writing = 0;
        loop {
            if let Some(replace) = state.replacing.pop_front() {
                return Some(Job::Replace(replace));
            }
            if state.packing == 0 {
                if !state.group.appends.is_empty() {
                    let group = mem::take(&mut state.group);
                    state.writing = group.bytes;
                    state.ends.extend(group.ends());
                    return Some(Job::Append(group));
                }
                if state.ended {
                    return None;
                }
            }
            state = self.changed.wait(state).unwrap_or_else(|left| self.taken_over(left));
        }
    }

    /// Takes nothing more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }

    /// Drops what nobody will write; those who wait for it are told so. Where the writer panics nothing is
    /// taken any more.
    pub(super) fn give_up(&self) {
        if thread::panicking() {
            self.streams.stop();
        }
        let mut state = self.state();
        state.ended = true;
        refuse(mem::take(&mut state.group).appends, &self.streams.stopped());
        state.replacing.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|left| self.taken_over(left))
    }

    /// Who panicked while it gave records their places has left the group with some of them, and
    /// without what it had filled: nothing of that is written.
    fn taken_over<'a>(&self, left: PoisonError<MutexGuard<'a, State>>) -> MutexGuard<'a, State> {
        self.streams.stop();
        left.into_inner()
    }
}

/// Blocks of the group that are being packed; it is not written before.
struct Packing<'a> {
    gathering: &'a Gathering,
    /// None where packing has failed, which leaves the group with a gap.
    packed: Option<Vec<(Topic, Row)>>,
}

impl Drop for Packing<'_> {
    fn drop(&mut self) {
        let mut state = self.gathering.state();
        state.packing -= 1;
        match self.packed.take() {
            Some(packed) => state.group.full.extend(packed),
            None => self.gathering.streams.stop(),
        }
        self.gathering.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        path::Path,
    };

    use super::{
        super::{
            EmbeddedLog, Settings,
            block::{Block, Unpacker},
        },
        *,
    };
    use crate::metrics::Metrics;

    const TOPIC: Topic = Topic::Audit;

    fn log(folder: &Path) -> EmbeddedLog {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        EmbeddedLog::open(folder, &Settings::default(), metrics).expect("a log")
    }

    /// So many records of 400 bytes each.
    fn batch(count: usize) -> Append {
        let (reply, _) = oneshot::channel();
        let record = || Encoded {
            partition: 0,
            offset: None,
            recorded_at: 1,
            bytes: Bytes::from_static(&[b'x'; 400]),
        };
        Append {
            topic: TOPIC,
            records: std::iter::repeat_with(record).take(count).collect(),
            reply,
        }
    }

    fn next(gathering: &Gathering) -> Group {
        let Some(Job::Append(group)) = gathering.next() else { panic!("no group") };
        group
    }

    /// Where the blocks of a group begin and end, in order.
    fn packed(group: Group) -> Vec<(u64, u64)> {
        let mut covered: Vec<_> = (group.packed().0)
            .map(|(_, (key, value))| {
                let block = Block::parse(&key, &value).expect("a block");
                let (mut unpacker, mut count) = (Unpacker::default(), 0);
                let mut records = block.records(&mut unpacker).expect("records");
                while let Some(record) = records.next() {
                    assert_eq!(record.expect("a record").1, [b'x'; 400]);
                    count += 1;
                }
                assert_eq!(count, block.end() - block.first());
                (block.first(), block.end())
            })
            .collect();
        covered.sort_unstable();
        covered
    }

    #[test]
    fn what_comes_together_lies_in_blocks_without_a_gap_and_the_next_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let gathering = Gathering::new(Arc::clone(&log(folder.path()).streams));
        // Some blocks are full by one batch, some by two.
        for count in [500, 1, 700] {
            assert!(gathering.append(batch(count)).is_ok());
        }
        let group = next(&gathering);
        let places: Vec<_> = group.appends.iter().flat_map(|append| &append.positions).collect();
        assert!(places.iter().map(|place| place.offset).eq(0..1_201));
        assert_eq!(group.ends(), HashMap::from([((TOPIC, 0), (1_201, 1))]));
        // The second group is gathered before anybody knows that the first is written.
        assert!(gathering.append(batch(2)).is_ok());
        let covered = packed(group);
        assert!(covered.len() > 5 && covered.windows(2).all(|two| two[0].1 == two[1].0));
        assert_eq!((covered[0].0, covered[covered.len() - 1].1), (0, 1_201));
        assert_eq!(packed(next(&gathering)), [(1_201, 1_203)]);
    }

    #[test]
    fn a_group_has_an_end_and_nothing_is_taken_after_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let gathering = Gathering::new(Arc::clone(&log(folder.path()).streams));
        assert!(gathering.append(batch(GROUP_RECORDS)).is_ok());
        let Err(NotTaken::Yet(back)) = gathering.append(batch(1)) else { panic!("it is full") };
        drop(next(&gathering));
        assert!(gathering.append(back).is_ok());
        gathering.end();
        assert!(matches!(gathering.append(batch(1)), Err(NotTaken::Refused(_))));
        assert_eq!(packed(next(&gathering)).len(), 1, "what was taken is written");
        assert!(gathering.next().is_none());
    }

    #[test]
    fn room_is_asked_for_what_is_being_written_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let gathering = Gathering::new(Arc::clone(&log(folder.path()).streams));
        assert!(gathering.append(batch(2)).is_ok());
        let written = next(&gathering);
        assert!(gathering.append(batch(3)).is_ok());
        assert_eq!(gathering.state().unwritten(), 5 * 400);
        drop(written);
        drop(next(&gathering));
        assert_eq!(gathering.state().unwritten(), 3 * 400);
    }

    #[test]
    fn who_packs_in_vain_leaves_a_log_that_takes_nothing_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = log(folder.path());
        let gathering = Gathering::new(Arc::clone(&log.streams));
        assert!(gathering.append(batch(1)).is_ok());
        gathering.state().packing += 1;
        drop(Packing { gathering: &gathering, packed: None });
        assert!(log.streams.goes_on().is_err());
        assert!(matches!(gathering.append(batch(1)), Err(NotTaken::Refused(_))));
    }

    #[test]
    fn who_places_in_vain_leaves_a_log_that_takes_nothing_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = log(folder.path());
        let gathering = Gathering::new(Arc::clone(&log.streams));
        assert!(gathering.append(batch(1)).is_ok());
        let mut halves = batch(2);
        // The topic has no such partition.
        halves.records[1].partition = u32::MAX;
        assert!(catch_unwind(AssertUnwindSafe(|| gathering.append(halves).is_ok())).is_err());
        // What was gathered is told to whoever waits for it, by a writer that writes none of it.
        assert_eq!(next(&gathering).appends.len(), 1);
        assert!(log.streams.goes_on().is_err());
        assert!(matches!(gathering.append(batch(1)), Err(NotTaken::Refused(_))));
    }
}
