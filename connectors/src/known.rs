//! What the streams hold already, so that what comes again is known again: filled once, when it is
//! first asked for, and kept as new as the streams from then on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Short, PoisonError},
};

use chrono::{DateTime, Utc};
use domain::id::RecordId;
use ingest::{
    dead_letter::Reason,
    deduplication::{Deduplication, Known as Seen, Said},
    error::LogError,
    log::{Log, next_batch},
    record::{Record, Stored},
    register::{
        memberships::Memberships,
        sequences::{Order, Sequences},
    },
    topic::Topic,
    wire::v1::{Event, PersonChanged},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    connector::{Again, Refusal},
    load::Taking,
};

/// How many records of a stream are remembered for knowing what comes again.
pub const REMEMBERED: usize = 4_000_000;

/// The streams by name, shared by all who append to them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Short<HashMap<Topic, Arc<Mutex<Held>>>>>);

/// One stream while it is asked and appended to: nobody else decides about it meanwhile.
#[derive(Debug)]
pub struct Stream {
    log: Arc<dyn Log>,
    topic: Topic,
    held: OwnedMutexGuard<Held>,
}

/// What is known of one stream.
#[derive(Debug, Default)]
struct Held {
    ids: Option<Deduplication>,
    people: Sequences,
    lists: Memberships,
    /// Where reading goes on, by partition.
    next: Vec<u64>,
    /// Records were noted that have not reached the stream. Whoever finds it so begins anew.
    unsure: bool,
}

impl Known {
    /// One stream, as new as it is, with records known by `identity`: always the same of one topic.
    /// It waits until whoever has it is done.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub async fn stream(
        &self,
        log: &Arc<dyn Log>,
        topic: Topic,
        identity: impl Fn(&Record) -> RecordId,
    ) -> Result<Stream, LogError> {
        let held = {
            let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(streams.entry(topic).or_default())
        };
        let held = held.lock_owned().await;
        let mut stream = Stream { log: Arc::clone(log), topic, held };
        stream.catch_up(identity).await?;
        Ok(stream)
    }
}

impl Stream {
    async fn catch_up(&mut self, identity: impl Fn(&Record) -> RecordId) -> Result<(), LogError> {
        let partitions = self.log.partitions(self.topic);
        if self.held.unsure || self.held.ids.is_none() {
            let all = REMEMBERED.saturating_mul(usize::try_from(partitions).unwrap_or(1));
            let ids = Some(Deduplication::empty(self.topic, all));
            *self.held = Held { ids, ..Held::default() };
            for partition in 0..partitions {
                let first = self.first(partition)?;
                self.held.next.push(first);
            }
        }
        for partition in 0..partitions {
            let at = usize::try_from(partition).unwrap_or(usize::MAX);
            let start = self.log.start(self.topic, partition)?;
            let end = self.log.end(self.topic, partition)?;
            let mut offsets = self.held.next.get(at).copied().unwrap_or(0).max(start)..end;
            let (log, topic) = (&self.log, self.topic);
            while let Some(batch) = next_batch(log, topic, partition, &mut offsets).await? {
                batch.iter().for_each(|stored| self.held.hold(stored, identity(&stored.record)));
                if let Some(place) = self.held.next.get_mut(at) {
                    *place = offsets.start;
                }
            }
        }
        Ok(())
    }

    /// Where reading begins. The newest change of every person and member has to be known, of others
    /// what came lately.
    fn first(&self, partition: u32) -> Result<u64, LogError> {
        let start = self.log.start(self.topic, partition)?;
        if matches!(self.topic, Topic::PersonChanges | Topic::Memberships) {
            return Ok(start);
        }
        let end = self.log.end(self.topic, partition)?;
        Ok(end.saturating_sub(REMEMBERED as u64).max(start))
    }

    /// What is to be done with a record, by what the stream has.
    #[must_use]
    pub fn seen(&self, again: Again, id: RecordId, record: &Record) -> Taking {
        let said = Said::of(&record.event);
        let seen = self.held.ids.as_ref().map_or(Seen::New, |ids| ids.known(id, said));
        match (seen, again) {
            (Seen::Same, _) => Taking::AlreadyThere,
            (Seen::Different, Again::Refuse) => Taking::Refused(Refusal::new(
                Reason::DuplicateKey,
                "the key was used before for something else",
            )),
            (Seen::New, _) | (Seen::Different, Again::Changes) => Taking::Taken,
        }
    }

    /// Notes a record that is about to be [appended](Self::append).
    pub fn note(&mut self, id: RecordId, record: &Record) {
        self.held.unsure = true;
        if let Some(ids) = &mut self.held.ids {
            ids.note(id, Said::of(&record.event), &record.event);
        }
    }

    /// What a change is to those of the person that came before; one that is not older has to be
    /// [appended](Self::append).
    pub fn order(&mut self, change: &PersonChanged, at: DateTime<Utc>) -> Order {
        self.held.unsure = true;
        self.held.people.take(change, at)
    }

    /// The counts of people's changes.
    #[must_use]
    pub fn people(&self) -> &Sequences {
        &self.held.people
    }

    /// Who is on the lists of grantors' own systems.
    #[must_use]
    pub fn lists(&self) -> &Memberships {
        &self.held.lists
    }

    /// Appends what was noted, and answers once it is durable.
    ///
    /// # Errors
    /// Where the stream fails: then nothing of it is taken, and what is known is read anew.
    pub async fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        if records.is_empty() {
            self.held.unsure = false;
            return Ok(());
        }
        let positions = self.log.append(self.topic, records).await?;
        for (record, position) in records.iter().zip(positions) {
            match &record.event {
                Event::PersonChanged(change) => self.held.people.place(change, position),
                Event::MembershipChanged(_) => {
                    self.held.lists.apply(&Stored { position, record: record.clone() });
                }
                _ => {}
            }
            // What stands directly behind the last known one need not be read again.
            let at = usize::try_from(position.partition).unwrap_or(usize::MAX);
            if let Some(next) = self.held.next.get_mut(at)
                && *next == position.offset
            {
                *next += 1;
            }
        }
        self.held.unsure = false;
        Ok(())
    }
}

impl Held {
    fn hold(&mut self, stored: &Stored, id: RecordId) {
        if let Some(ids) = &mut self.ids {
            ids.note(id, Said::of(&stored.record.event), &stored.record.event);
        }
        self.people.apply(stored);
        self.lists.apply(stored);
    }
}

#[cfg(test)]
mod tests {
    use ingest::{
        log::model::{Fault, ModelLog},
        record::outside_id,
        wire::v1::ServiceEvent,
    };

    use super::*;

    fn event(name: &str, said: &str) -> Record {
        let call_id = Some(said.to_owned());
        record(name, Event::ServiceEvent(ServiceEvent { call_id, ..ServiceEvent::default() }))
    }

    fn record(name: &str, event: Event) -> Record {
        Record {
            id: outside_id("test", name),
            key: "key".into(),
            source: "test".into(),
            sequence: 0,
            event_time: DateTime::<Utc>::UNIX_EPOCH,
            recorded_at: DateTime::<Utc>::UNIX_EPOCH,
            event,
        }
    }

    async fn send(known: &Known, log: &Arc<dyn Log>, records: &[Record]) -> Vec<Taking> {
        let topic = Topic::ServiceEvents;
        let mut stream = known.stream(log, topic, |record| record.id).await.expect("read");
        let mut taken = Vec::new();
        let take = |record: &Record| {
            let place = stream.seen(Again::Refuse, record.id, record);
            if place == Taking::Taken {
                stream.note(record.id, record);
                taken.push(record.clone());
            }
            place
        };
        let answers = records.iter().map(take).collect();
        match stream.append(&taken).await {
            Ok(()) => answers,
            Err(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_the_stream_holds_is_known_whoever_appended_it() {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let known = Known::default();
        let (one, two) = (event("1", "a"), event("2", "a"));
        log.append(Topic::ServiceEvents, std::slice::from_ref(&one)).await.expect("appended");
        let answers = send(&known, &log, &[one.clone(), two.clone(), two.clone()]).await;
        assert_eq!(answers, [Taking::AlreadyThere, Taking::Taken, Taking::AlreadyThere]);
        // Another one appends beside us, later too.
        let three = event("3", "a");
        log.append(Topic::ServiceEvents, std::slice::from_ref(&three)).await.expect("appended");
        assert_eq!(send(&known, &log, &[three]).await, [Taking::AlreadyThere]);
        let other = send(&known, &log, &[event("2", "b")]).await;
        assert!(matches!(&other[..], [Taking::Refused(of)] if of.reason == Reason::DuplicateKey));
    }

    #[tokio::test]
    async fn what_did_not_reach_the_stream_is_not_known() {
        for fault in [Fault::Before, Fault::After] {
            let model = Arc::new(ModelLog::default());
            let log: Arc<dyn Log> = Arc::<ModelLog>::clone(&model);
            let known = Known::default();
            let record = event("1", "a");
            assert_eq!(send(&known, &log, &[event("0", "a")]).await, [Taking::Taken]);
            model.die_at(0, fault);
            assert_eq!(send(&known, &log, std::slice::from_ref(&record)).await, []);
            model.revive();
            let expected = match fault {
                Fault::Before => Taking::Taken,
                Fault::After => Taking::AlreadyThere,
            };
            assert_eq!(send(&known, &log, &[record]).await, [expected], "{fault:?}");
        }
    }

    #[tokio::test]
    async fn gaps_say_where_the_change_stands_by_which_they_were_noticed() {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let known = Known::default();
        let change = |sequence| {
            let person = domain::id::RecipientId::from_u128(7).to_string();
            let change = PersonChanged { person, person_sequence: sequence, ..Default::default() };
            record(&sequence.to_string(), Event::PersonChanged(change))
        };
        let topic = Topic::PersonChanges;
        let mut stream = known.stream(&log, topic, |record| record.id).await.expect("read");
        let records = [change(1), change(4)];
        for record in &records {
            let Event::PersonChanged(change) = &record.event else { panic!("a person") };
            stream.note(record.id, record);
            stream.order(change, record.recorded_at);
        }
        stream.append(&records).await.expect("appended");
        let live = stream.people().gaps(None, 9);
        assert_eq!(live[0].1.place.map(|place| place.offset), Some(1));
        let fresh = Known::default();
        let stream = fresh.stream(&log, topic, |record| record.id).await.expect("read");
        assert_eq!(stream.people().gaps(None, 9), live, "rebuilt from the stream");
    }
}
