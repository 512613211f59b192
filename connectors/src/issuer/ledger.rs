//! Every means as it is now, from the stream of its changes, and one change at a time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use domain::id::{MeansToken, RecordId};
use ingest::{
    error::LogError,
    log::{Log, next_batch},
    record::{Record, Stored},
    register::issued::{Issued, Listed},
    topic::Topic,
    wire::v1::{Event, MeansChanged},
};
use tokio::sync::{Mutex, MutexGuard};

/// Registrations that are remembered by their keys.
const KEYS: usize = 1_000_000;
const TOPIC: Topic = Topic::MeansChanges;
/// The most means of a page.
pub(super) const PAGE: usize = 100;
/// Means that are looked at for a page before the rest is left to the next: a millisecond or two.
const LOOKED_AT: usize = 100_000;
/// Lists that are looked for at once.
static LOOKING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// The means, as new as their stream. It is read when they are first asked for.
#[derive(Debug)]
pub(super) struct Ledger {
    log: Arc<dyn Log>,
    issued: RwLock<Issued>,
    turn: Mutex<Turn>,
}

/// Whoever has it changes means, and nobody else.
#[derive(Debug, Default)]
pub(super) struct Turn {
    next: u64,
    keys: HashMap<RecordId, Registered>,
    order: VecDeque<RecordId>,
}

/// What a key was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    /// What it registered.
    pub(super) token: MeansToken,
    /// The keyed hash of the request.
    pub(super) request_hash: Vec<u8>,
}

/// A means, and which state of it that is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// What is known of it.
    pub(super) change: MeansChanged,
    /// The place of that record: another one after every change.
    pub(super) version: u64,
}

/// Where a list goes on: in a part of the register, after a means of it or from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    part: usize,
    after: Option<MeansToken>,
}

impl Place {
    /// A place as a page said it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (part, after) = match text.split_once('.') {
            Some((part, token)) => (part, Some(MeansToken::parse(token)?)),
            None => (text, None),
        };
        Some(Self { part: part.parse().ok()?, after })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(token) => write!(f, "{}.{token}", self.part),
            None => write!(f, "{}", self.part),
        }
    }
}

impl Ledger {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, issued: RwLock::default(), turn: Mutex::default() }
    }

    /// Waits for the turn to change means, with everything known that was changed before.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, Turn>, LogError> {
        let mut turn = self.turn.lock().await;
        self.catch_up(&mut turn).await?;
        Ok(turn)
    }

    /// Appends changes in one's turn, all or none, and answers once they are durable.
    pub(super) async fn append(&self, turn: &mut Turn, records: &[Record]) -> Result<(), LogError> {
        self.log.append(TOPIC, records).await?;
        self.catch_up(turn).await
    }

    /// A means as it is now.
    pub(super) async fn find(&self, token: MeansToken) -> Result<Option<Kept>, LogError> {
        drop(self.turn().await?);
        self.known(token).await
    }

    /// A means as it is in one's turn.
    pub(super) async fn known(&self, token: MeansToken) -> Result<Option<Kept>, LogError> {
        let place = self.read().get(token).map(|listed| listed.offset);
        match place {
            Some(place) => self.at(place).await,
            None => Ok(None),
        }
    }

    /// A page of the means that are wanted, in the order of the register, and where the next one begins. Of
    /// a nation's means so many are looked at for one page and no more, so it may be short.
    pub(super) async fn list(
        &self,
        from: Place,
        size: usize,
        wanted: impl Fn(&Listed<'_>) -> bool,
    ) -> Result<(Vec<Kept>, Option<Place>), LogError> {
        drop(self.turn().await?);
        // Whoever has few means is looked for among many: that must not take the machine from the tills.
        let _turn = LOOKING.acquire().await;
        let (mut found, mut looked, mut part) = (Vec::new(), 0, from.part);
        while part < Issued::PARTS && found.len() <= size && looked < LOOKED_AT {
            let after = from.after.filter(|_| part == from.part);
            looked += self.part(part, after, &wanted, &mut found);
            part += 1;
            // Others get their turn.
            tokio::task::yield_now().await;
        }
        let rest = (part < Issued::PARTS).then_some(Place { part, after: None });
        self.page(found, rest, size).await
    }

    /// A page of those of some means that are wanted, as [`list`](Self::list) has them.
    pub(super) async fn those(
        &self,
        tokens: &[MeansToken],
        from: Place,
        size: usize,
        wanted: impl Fn(&Listed<'_>) -> bool,
    ) -> Result<(Vec<Kept>, Option<Place>), LogError> {
        drop(self.turn().await?);
        let place = |token: MeansToken| (Issued::part_of(token), Some(token));
        let rest = tokens.iter().filter(|token| place(**token) > (from.part, from.after));
        let mut found: Vec<_> = {
            let issued = self.read();
            let listed = rest.filter_map(|token| issued.get(*token)).filter(|of| wanted(of));
            listed.map(|of| (of.token, of.offset)).collect()
        };
        found.sort_unstable_by_key(|(token, _)| place(*token));
        found.dedup();
        self.page(found, None, size).await
    }

    /// The first of what was found; the next page begins after it, or where looking ended.
    async fn page(
        &self,
        found: Vec<(MeansToken, u64)>,
        rest: Option<Place>,
        size: usize,
    ) -> Result<(Vec<Kept>, Option<Place>), LogError> {
        let next = if found.len() > size {
            let last = found.get(size - 1).map(|(token, _)| *token);
            last.map(|last| Place { part: Issued::part_of(last), after: Some(last) })
        } else {
            rest
        };
        let mut kept = Vec::new();
        for (_, place) in found.into_iter().take(size) {
            kept.extend(self.at(place).await?);
        }
        Ok((kept, next))
    }

    /// Adds what is wanted of a part; answers how many means were looked at.
    fn part(
        &self,
        part: usize,
        after: Option<MeansToken>,
        wanted: impl Fn(&Listed<'_>) -> bool,
        found: &mut Vec<(MeansToken, u64)>,
    ) -> usize {
        let (issued, before, mut looked) = (self.read(), found.len(), 0);
        let rest = issued.part(part).inspect(|_| looked += 1);
        let rest = rest.filter(|of| after.is_none_or(|after| of.token > after));
        found.extend(rest.filter(wanted).map(|of| (of.token, of.offset)));
        if let Some(new) = found.get_mut(before..) {
            new.sort_unstable();
        }
        looked
    }

    async fn at(&self, place: u64) -> Result<Option<Kept>, LogError> {
        let read = self.log.read(TOPIC, 0, place, 1).await?;
        let found = read.into_iter().find(|stored| stored.position.offset == place);
        Ok(found.and_then(|stored| match stored.record.event {
            Event::MeansChanged(change) => Some(Kept { change, version: place }),
            _ => None,
        }))
    }

    async fn catch_up(&self, turn: &mut Turn) -> Result<(), LogError> {
        let end = self.log.end(TOPIC, 0)?;
        let mut offsets = turn.next.max(self.log.start(TOPIC, 0)?)..end;
        while let Some(batch) = next_batch(&self.log, TOPIC, 0, &mut offsets).await? {
            {
                let mut issued = self.write();
                batch.iter().for_each(|stored| issued.apply(stored));
            }
            batch.iter().for_each(|stored| turn.note(stored));
            turn.next = offsets.start;
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Issued> {
        self.issued.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Issued> {
        self.issued.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// What a key was used for, if it was.
    pub(super) fn registered(&self, key: RecordId) -> Option<&Registered> {
        self.keys.get(&key)
    }

    fn note(&mut self, stored: &Stored) {
        let Event::MeansChanged(change) = &stored.record.event else { return };
        let Some(token) = MeansToken::parse(&change.token) else { return };
        if change.request_hash.is_empty() {
            return;
        }
        let registered = Registered { token, request_hash: change.request_hash.clone() };
        if self.keys.insert(stored.record.id, registered).is_none() {
            self.order.push_back(stored.record.id);
        }
        while self.order.len() > KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ingest::{log::model::ModelLog, record::outside_id};

    use super::*;

    fn issued(number: u64, issuer: &str) -> Record {
        let token = outside_id("means", &number.to_string()).as_u128();
        let change = MeansChanged {
            token: MeansToken::from_u128(token).to_string(),
            issuer_id: issuer.into(),
            ..MeansChanged::default()
        };
        Record {
            id: outside_id("test", &number.to_string()),
            key: change.token.clone(),
            source: "test".into(),
            sequence: 0,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event: Event::MeansChanged(change),
        }
    }

    #[tokio::test]
    async fn whoever_has_few_of_many_means_gets_them_all_without_all_being_looked_at_for_a_page() {
        const MANY: u64 = 2 * LOOKED_AT as u64;
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let small = |number: u64| number.is_multiple_of(997);
        let records: Vec<_> = (0..MANY)
            .map(|number| issued(number, if small(number) { "small" } else { "large" }))
            .collect();
        log.append(TOPIC, &records).await.expect("appended");
        let ledger = Ledger::new(log);
        let own = |of: &Listed<'_>| of.issuer.as_str() == "small";
        let (mut seen, mut pages, mut from) = (Vec::new(), 0, Some(Place::default()));
        while let Some(place) = from {
            let looked = std::cell::Cell::new(0);
            let count = |of: &Listed<'_>| {
                looked.set(looked.get() + 1);
                own(of)
            };
            let (page, next) = ledger.list(place, PAGE, count).await.expect("read");
            assert!(page.len() <= PAGE);
            assert!(looked.get() < LOOKED_AT + LOOKED_AT / 10, "{} were looked at", looked.get());
            seen.extend(page.into_iter().map(|kept| kept.change.token));
            // As it comes back from outside.
            from = next.map(|next| Place::parse(&next.to_string()).expect("a place"));
            pages += 1;
        }
        let expected = (0..MANY).filter(|number| small(*number)).count();
        assert!(pages > 2, "{pages}");
        assert_eq!(seen.len(), expected);
        let tokens: Vec<_> = seen.iter().map(|of| MeansToken::parse(of).expect("one")).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), expected, "each once");

        // The same by their tokens, as a holder's are found.
        let (mut known, mut from) = (Vec::new(), Some(Place::default()));
        while let Some(place) = from {
            let (page, next) = ledger.those(&tokens, place, PAGE, own).await.expect("read");
            known.extend(page.into_iter().map(|kept| kept.change.token));
            from = next.map(|next| Place::parse(&next.to_string()).expect("a place"));
        }
        known.sort_unstable();
        assert_eq!(known, seen);
    }
}
