//! Which records a stream already holds, so that what comes again is known again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use domain::id::RecordId;

use crate::{
    error::LogError,
    log::{Log, READ_BATCH},
    record::Record,
    topic::Topic,
    wire::v1::{Event, MeansChanged},
};

/// The newest records of one stream by id, each with a short hash of what it says.
#[derive(Debug)]
pub struct Deduplication {
    topic: Topic,
    known: HashMap<RecordId, u64>,
    order: VecDeque<RecordId>,
    capacity: usize,
    /// Means that are blocked, as their newest record has them.
    blocked: HashMap<RecordId, MeansChanged>,
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// It came before, and said the same.
    Same,
    /// It came before, and said something else.
    Different,
}

impl Deduplication {
    /// Of a stream of which nothing is known yet; it remembers at most so many records.
    #[must_use]
    pub fn empty(topic: Topic, capacity: usize) -> Self {
        let (known, blocked) = (HashMap::new(), HashMap::new());
        Self { topic, known, order: VecDeque::new(), capacity, blocked }
    }

    /// Rebuilt from the stream's newest records, at most `capacity` of each partition, by the
    /// identity that `identity` gives a record. Which means are blocked is known of all.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub async fn of(
        log: &Arc<dyn Log>,
        topic: Topic,
        capacity: usize,
        identity: impl Fn(&Record) -> RecordId,
    ) -> Result<Self, LogError> {
        let partitions = log.partitions(topic);
        let all = capacity.saturating_mul(usize::try_from(partitions).unwrap_or(usize::MAX));
        let mut deduplication = Self::empty(topic, all);
        for partition in 0..partitions {
            let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
            let newest = end.saturating_sub(capacity as u64).max(start);
            // Of means all have to be known that are blocked, however long ago they were.
            let mut next = if topic == Topic::MeansChanges { start } else { newest };
            while next < end {
                let batch = log.read(topic, partition, next, READ_BATCH).await?;
                if batch.is_empty() {
                    break;
                }
                for stored in batch {
                    next = stored.position.offset + 1;
                    deduplication.note(identity(&stored.record), &stored.record.event);
                }
            }
        }
        Ok(deduplication)
    }

    /// The stream.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        self.topic
    }

    /// Whether a record with this id is there, and says the same.
    #[must_use]
    pub fn known(&self, id: RecordId, event: &Event) -> Known {
        match self.known.get(&id) {
            None => Known::New,
            Some(before) if *before == said(event) => Known::Same,
            Some(_) => Known::Different,
        }
    }

    /// Notes a record that is being appended.
    pub fn note(&mut self, id: RecordId, event: &Event) {
        match event {
            Event::MeansChanged(change) if change.blocked => {
                self.blocked.insert(id, change.clone());
            }
            Event::MeansChanged(_) => drop(self.blocked.remove(&id)),
            _ => {}
        }
        if self.known.insert(id, said(event)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Lets a means that is blocked stay so: an issuer's file says nothing of that, and goes on telling
    /// of a means that was lost since.
    pub fn keep_blocked(&self, id: RecordId, event: &mut Event) {
        if let Event::MeansChanged(change) = event
            && let Some(known) = self.blocked.get(&id)
        {
            change.blocked = true;
            change.reason.clone_from(&known.reason);
            change.replaced_by.clone_from(&known.replaced_by);
        }
    }
}

/// A short hash of what an event says. Where sealing makes the same differ, what identifies it.
fn said(event: &Event) -> u64 {
    use prost::Message;

    let bytes = match event {
        Event::TransactionUploaded(upload) => upload.body_hash.clone(),
        Event::PersonChanged(change) => change.person_sequence.to_le_bytes().to_vec(),
        Event::DeadLetter(_) => Vec::new(),
        Event::ServiceEvent(event) => event.encode_to_vec(),
        Event::PortalEvent(event) => event.encode_to_vec(),
        Event::MembershipChanged(event) => event.encode_to_vec(),
        // Not whether it is blocked, nor by which request it came: a file says neither.
        Event::MeansChanged(event) => {
            let mut said = event.clone();
            said.blocked = false;
            said.reason.clear();
            said.replaced_by = None;
            said.request_hash.clear();
            said.encode_to_vec()
        }
        _ => Vec::new(),
    };
    let hash = blake3::hash(&bytes);
    let mut short = [0; 8];
    short.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(short)
}
