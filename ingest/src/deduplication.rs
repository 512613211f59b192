//! Which records a stream already holds, so that what comes again is known again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use domain::id::{RecipientId, RecordId};
use prost::Message;

use crate::{
    error::LogError,
    log::{Log, next_batch},
    record::Record,
    topic::Topic,
    wire::v1::{Event, MeansChanged},
};

/// The newest records of one stream by id, each with a short hash of what it says.
#[derive(Debug)]
pub struct Deduplication {
    topic: Topic,
    known: HashMap<RecordId, Said>,
    order: VecDeque<RecordId>,
    capacity: usize,
    /// Means that are blocked, as their newest record has them.
    blocked: HashMap<RecordId, MeansChanged>,
}

/// What an event says, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said(u64);

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
            let first = if topic == Topic::MeansChanges { start } else { newest };
            let mut offsets = first..end;
            while let Some(batch) = next_batch(log, topic, partition, &mut offsets).await? {
                for stored in batch {
                    let event = &stored.record.event;
                    deduplication.note(identity(&stored.record), Said::of(event), event);
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
    pub fn known(&self, id: RecordId, said: Said) -> Known {
        match self.known.get(&id) {
            None => Known::New,
            Some(before) if *before == said => Known::Same,
            Some(_) => Known::Different,
        }
    }

    /// Notes a record that is being appended.
    pub fn note(&mut self, id: RecordId, said: Said, event: &Event) {
        match event {
            Event::MeansChanged(change) if change.blocked => {
                self.blocked.insert(id, change.clone());
            }
            Event::MeansChanged(_) => drop(self.blocked.remove(&id)),
            _ => {}
        }
        if self.known.insert(id, said).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whose a means was that is blocked.
    #[must_use]
    pub fn blocked_holder(&self, id: RecordId) -> Option<RecipientId> {
        RecipientId::parse(self.blocked.get(&id)?.person.as_deref()?)
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

impl Said {
    /// A hash of what an event says; where sealing makes the same differ, of what identifies it.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let mut hasher = DefaultHasher::new();
        match event {
            Event::TransactionUploaded(upload) => upload.body_hash.hash(&mut hasher),
            Event::PersonChanged(change) => change.person_sequence.hash(&mut hasher),
            Event::ServiceEvent(event) => event.encode_to_vec().hash(&mut hasher),
            Event::PortalEvent(event) => event.encode_to_vec().hash(&mut hasher),
            Event::MembershipChanged(event) => event.encode_to_vec().hash(&mut hasher),
            Event::MeansChanged(event) => {
                let MeansChanged {
                    token,
                    issuer_id,
                    kind,
                    person,
                    valid_from,
                    valid_to,
                    recipient,
                    offline_hash,
                    // A file says neither whether it is blocked nor by which request it came.
                    blocked: _,
                    reason: _,
                    replaced_by: _,
                    request_hash: _,
                } = event;
                (token, issuer_id, kind, person).hash(&mut hasher);
                (valid_from, valid_to, recipient, offline_hash).hash(&mut hasher);
            }
            _ => {}
        }
        Self(hasher.finish())
    }
}
