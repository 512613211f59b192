//! The partitions of the stream as one, in the order in which its records were decided.

use std::{sync::Arc, vec::IntoIter};

use ingest::{
    error::LogError,
    log::{Log, READ_BATCH},
    record::Stored,
    topic::Topic,
    wire::v1::Event,
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use crate::history::{History, Sold};

/// A record, and of a decision what it was about.
pub(super) struct Read {
    pub(super) stored: Stored,
    pub(super) sold: Option<Sold>,
}

type Batch = Result<Vec<Read>, LogError>;

/// Each partition is read ahead by a task of its own, which takes the work of reading off whoever plays.
pub(super) struct Merged {
    lanes: Vec<Lane>,
    readers: JoinSet<()>,
}

/// What is read of a partition.
struct Lane {
    first: Option<Read>,
    rest: IntoIter<Read>,
    batches: Receiver<Batch>,
}

impl Merged {
    pub(super) async fn open(log: &Arc<dyn Log>) -> Result<Self, LogError> {
        let topic = Topic::Authorisations;
        let (mut lanes, mut readers) = (Vec::new(), JoinSet::new());
        for partition in 0..log.partitions(topic) {
            let (next, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
            let (sender, batches) = channel(1);
            readers.spawn(read(Arc::clone(log), partition, next..end, sender));
            lanes.push(Lane { first: None, rest: Vec::new().into_iter(), batches });
        }
        for lane in &mut lanes {
            lane.advance().await?;
        }
        Ok(Self { lanes, readers })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Read>, LogError> {
        let order = |lane: &Lane| lane.first.as_ref().map(|first| first.stored.record.order());
        let first =
            self.lanes.iter_mut().filter(|lane| lane.first.is_some()).min_by_key(|l| order(l));
        match first {
            Some(lane) => lane.advance().await,
            None => {
                // A reader that panicked has cut its partition off.
                while let Some(read) = self.readers.join_next().await {
                    if let Err(panicked) = read {
                        std::panic::resume_unwind(panicked.into_panic());
                    }
                }
                Ok(None)
            }
        }
    }
}

impl Lane {
    /// Its first record; the one after it is the first then.
    async fn advance(&mut self) -> Result<Option<Read>, LogError> {
        let mut next = self.rest.next();
        while next.is_none()
            && let Some(batch) = self.batches.recv().await
        {
            self.rest = batch?.into_iter();
            next = self.rest.next();
        }
        Ok(std::mem::replace(&mut self.first, next))
    }
}

/// Reads a partition for whoever plays, until that one has gone.
async fn read(
    log: Arc<dyn Log>,
    partition: u32,
    offsets: std::ops::Range<u64>,
    played: Sender<Batch>,
) {
    let mut next = offsets.start;
    while next < offsets.end {
        let read = log.read(Topic::Authorisations, partition, next, READ_BATCH).await;
        let read = read.map(|read| read.into_iter().map(prepared).collect::<Vec<_>>());
        match read.as_ref().map(|read| read.last()) {
            Ok(Some(last)) => next = last.stored.position.offset + 1,
            // What was let go of at the end is not there; what failed is told.
            _ => next = offsets.end,
        }
        if played.send(read).await.is_err() {
            return;
        }
    }
}

fn prepared(stored: Stored) -> Read {
    let sold = match &stored.record.event {
        Event::AuthorisationDecided(event) => History::of(event.clone()).sold(),
        _ => None,
    };
    Read { stored, sold }
}
