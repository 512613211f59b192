//! One partition of one stream: what its reader, its publisher and those who append know of each
//! other.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::sent::Sent;
use crate::{error::ClusterError, topic::Topic};

/// The shared state of a partition.
#[derive(Debug)]
pub(super) struct Lane {
    pub topic: Topic,
    pub partition: u32,
    /// Fluvio's offset that is read next.
    pub next: watch::Sender<u64>,
    /// The outbox's offset that is wanted back next: everything before stands on Fluvio, and in the
    /// mirror.
    pub back: watch::Sender<u64>,
    /// Why nothing goes on here any more.
    fault: watch::Sender<Option<ClusterError>>,
    placed: Mutex<Placed>,
    sent: Mutex<Sent>,
}

/// Where the outbox's newest records stand on Fluvio, as long as somebody may ask.
#[derive(Debug, Default)]
struct Placed {
    /// The place in the outbox of the first of `offsets`.
    first: u64,
    offsets: VecDeque<u64>,
    /// How many are appending, by what was back when they began: none of them asks for less.
    waiting: BTreeMap<u64, usize>,
}

impl Lane {
    pub(super) fn new(topic: Topic, partition: u32, next: u64, back: u64) -> Self {
        let placed = Placed { first: back, ..Placed::default() };
        Self {
            topic,
            partition,
            next: watch::Sender::new(next),
            back: watch::Sender::new(back),
            fault: watch::Sender::new(None),
            placed: Mutex::new(placed),
            sent: Mutex::default(),
        }
    }

    /// Somebody is about to append: from here on places are remembered.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        let mut placed = self.placed();
        let from = *self.back.borrow();
        *placed.waiting.entry(from).or_default() += 1;
        Waiting { lane: Arc::clone(self), from }
    }

    /// The outbox's records from the one that was wanted next came back, at these offsets.
    pub(super) fn came_back(&self, offsets: &[u64]) {
        let mut placed = self.placed();
        if placed.waiting.is_empty() {
            placed.offsets.clear();
            placed.first = *self.back.borrow() + offsets.len() as u64;
        } else {
            placed.offsets.extend(offsets);
        }
        // Under the lock, so that nobody begins to wait between the two.
        self.back.send_modify(|back| *back += offsets.len() as u64);
    }

    /// Nothing goes on here any more.
    pub(super) fn stop(&self, fault: ClusterError) {
        self.fault.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(fault);
            first
        });
    }

    pub(super) fn check(&self) -> Result<(), ClusterError> {
        self.fault.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits until the watched value is at least so much, or nothing goes on.
    pub(super) async fn until(
        &self,
        watched: &watch::Sender<u64>,
        least: u64,
    ) -> Result<(), ClusterError> {
        // Of records that come back together only the first waits, and a look costs less.
        if *watched.borrow() >= least {
            return Ok(());
        }
        let (mut watched, mut fault) = (watched.subscribe(), self.fault.subscribe());
        // The senders are ours and outlive the wait.
        tokio::select! {
            _ = watched.wait_for(|value| *value >= least) => Ok(()),
            _ = fault.wait_for(Option::is_some) => self.check(),
        }
    }

    /// What is on its way from the publisher to the reader.
    pub(super) fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask for places, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    lane: Arc<Lane>,
    from: u64,
}

impl Waiting {
    /// Where the outbox's record stands on Fluvio, once it came back.
    pub(super) async fn place(&self, sequence: u64) -> Result<u64, ClusterError> {
        self.lane.until(&self.lane.back, sequence + 1).await?;
        let placed = self.lane.placed();
        let index =
            sequence.checked_sub(placed.first).and_then(|index| usize::try_from(index).ok());
        let place = index.and_then(|index| placed.offsets.get(index)).copied();
        Ok(place.expect("a place is kept as long as somebody waits for it"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut placed = self.lane.placed();
        if let Some(count) = placed.waiting.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                placed.waiting.remove(&self.from);
            }
        }
        let wanted = placed.waiting.keys().next().copied();
        let wanted = wanted.unwrap_or_else(|| *self.lane.back.borrow());
        while placed.first < wanted && placed.offsets.pop_front().is_some() {
            placed.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_kept_while_somebody_waits() {
        let lane = Arc::new(Lane::new(Topic::Audit, 0, 0, 5));
        lane.came_back(&[10, 11]);
        let first = lane.wait();
        lane.came_back(&[13, 14]);
        let second = lane.wait();
        assert_eq!(first.place(7).await, Ok(13));
        lane.came_back(&[20]);
        drop(first);
        assert_eq!(second.place(9).await, Ok(20));
        drop(second);
        assert!(lane.placed().offsets.is_empty());
        let third = lane.wait();
        lane.came_back(&[21]);
        assert_eq!(third.place(10).await, Ok(21));
    }

    #[tokio::test]
    async fn who_waits_is_told_why_nothing_comes() {
        let lane = Arc::new(Lane::new(Topic::Audit, 0, 0, 0));
        let fault = ClusterError::Behind { topic: Topic::Audit, partition: 0, read: 7 };
        let waiting = lane.wait();
        lane.stop(fault.clone());
        assert_eq!(waiting.place(0).await, Err(fault));
    }
}
