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
    wire::v1::Event,
};

/// The newest records of one stream by id, each with a short hash of what it says.
#[derive(Debug)]
pub struct Deduplication {
    topic: Topic,
    known: HashMap<RecordId, u64>,
    order: VecDeque<RecordId>,
    capacity: usize,
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
    /// Rebuilt from the stream's newest records, at most `capacity` of each partition, by the
    /// identity that `identity` gives a record.
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
        let mut deduplication =
            Self { topic, known: HashMap::new(), order: VecDeque::new(), capacity: all };
        for partition in 0..partitions {
            let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
            let mut next = end.saturating_sub(capacity as u64).max(start);
            while next < end {
                let batch = log.read(topic, partition, next, READ_BATCH).await?;
                if batch.is_empty() {
                    break;
                }
                for stored in batch {
                    next = stored.position.offset + 1;
                    let said = said(&stored.record.event);
                    deduplication.insert(identity(&stored.record), said);
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
        self.insert(id, said(event));
    }

    fn insert(&mut self, id: RecordId, said: u64) {
        if self.known.insert(id, said).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
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
        Event::MeansChanged(event) => event.encode_to_vec(),
        _ => Vec::new(),
    };
    let hash = blake3::hash(&bytes);
    let mut short = [0; 8];
    short.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(short)
}
