//! The index on disk: what each key did, where an authorisation's records stand, and what is used of
//! every limit, by whom of a household's, and which authorisations are a recipient's, as of an offset
//! of each partition of `authorisations`.
//!
//! It is a materialisation of that stream and is written without a sync: rows and the offsets they
//! follow from enter in one atomic batch, so after any crash it stands at some offset, and the
//! stream's tail brings it up to date. A folder that cannot be read is made again from the stream.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    id::{AuthorisationId, BenefitId, RecipientId, RecordId},
    limit::{CounterKey, Holder},
};
use ingest::{
    log::{Log, READ_BATCH, next_batch},
    record::{Position, Stored},
    topic::Topic,
    wire::v1::Event,
};

use crate::{
    cache::Movements,
    claims::{BodyHash, body_hash, key_of},
    error::AuthoriserError,
    publish,
};

mod recipients;
pub mod row;
pub mod store;
mod uses;
mod witness;

use store::{Part, Rows, Store, Write, folder::Folder};

pub use recipients::Place;
pub use witness::Entry;

/// What the index says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Where the record stands that the key made.
    pub position: Position,
    /// What it was used for.
    pub body: BodyHash,
}

/// A reservation that nothing has ended yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// When it ends, in microseconds since 1970.
    pub expires_at: i64,
    /// The authorisation.
    pub id: AuthorisationId,
}

/// The index of one node.
pub struct Index {
    store: Arc<dyn Store>,
    users: uses::Users,
    bringing: tokio::sync::Mutex<()>,
    next: Vec<AtomicU64>,
    uploads_next: AtomicU64,
    starts: AtomicU64,
    /// Held by whoever enters records: sums are read, changed and written.
    entering: Mutex<Sums>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("next", &self.next).finish_non_exhaustive()
    }
}

const UPLOADS: &[u8] = b"uploads";
const STARTS: &[u8] = b"starts";
/// Sums of counters, of points, and of uses, that are remembered: about 10 MB each.
const SUMS: usize = 65_536;

impl Index {
    /// Opens the index in a folder and brings it up to the stream's end; one that is damaged, or
    /// ahead of the stream, is made again.
    ///
    /// # Errors
    /// Where the folder cannot be written, or the stream cannot be read.
    pub async fn open(folder: &Path, log: &Arc<dyn Log>) -> Result<Arc<Self>, AuthoriserError> {
        let partitions = log.partitions(Topic::Authorisations);
        let index = match Self::at(folder, partitions) {
            Ok(index) if !index.is_ahead(log)? => index,
            found => {
                drop(found);
                tracing::warn!(folder = %folder.display(), "the index is made again");
                let removed = std::fs::remove_dir_all(folder);
                removed.map_err(|source| failed(folder, source.into()))?;
                Self::at(folder, partitions)?
            }
        };
        index.brought_up(log).await
    }

    /// The index over a store, brought up to the stream's end; none where it is ahead of the stream:
    /// whoever calls then begins with an empty store.
    ///
    /// # Errors
    /// Where the store cannot be written, or the stream cannot be read.
    pub async fn over(
        store: Arc<dyn Store>,
        log: &Arc<dyn Log>,
    ) -> Result<Option<Arc<Self>>, AuthoriserError> {
        let index = Self::of(store, log.partitions(Topic::Authorisations))?;
        if index.is_ahead(log)? {
            return Ok(None);
        }
        index.brought_up(log).await.map(Some)
    }

    async fn brought_up(self, log: &Arc<dyn Log>) -> Result<Arc<Self>, AuthoriserError> {
        self.list_what_it_has(log).await?;
        self.enter_uses(log).await?;
        self.catch_up(log).await?;
        Ok(Arc::new(self))
    }

    fn at(folder: &Path, partitions: u32) -> Result<Self, AuthoriserError> {
        let store = Folder::open(folder).map_err(|source| failed(folder, source.into()))?;
        Self::of(Arc::new(store), partitions)
    }

    fn of(store: Arc<dyn Store>, partitions: u32) -> Result<Self, AuthoriserError> {
        let read = |key: &[u8]| -> Result<AtomicU64, AuthoriserError> {
            let value = store.get(Part::Progress, key)?;
            Ok(AtomicU64::new(value.as_deref().and_then(row::number).unwrap_or(0)))
        };
        let next = (0..partitions).map(|partition| read(&partition.to_be_bytes()));
        Ok(Self {
            next: next.collect::<Result<_, _>>()?,
            uploads_next: read(UPLOADS)?,
            starts: read(STARTS)?,
            entering: Mutex::default(),
            users: uses::Users::default(),
            bringing: tokio::sync::Mutex::default(),
            store,
        })
    }

    /// Whether it knows more than the stream, which then is another one.
    fn is_ahead(&self, log: &Arc<dyn Log>) -> Result<bool, AuthoriserError> {
        for (partition, next) in (0..).zip(&self.next) {
            if next.load(Ordering::Acquire) > log.end(Topic::Authorisations, partition)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads what the stream has beyond it.
    ///
    /// # Errors
    /// Where the stream cannot be read or the index cannot be written.
    pub async fn catch_up(&self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        for partition in 0..log.partitions(Topic::Authorisations) {
            self.catch_up_to(log, partition, u64::MAX).await?;
        }
        Ok(())
    }

    /// Reads what a partition has beyond it, up to before `end` at least or to the stream's end.
    async fn catch_up_to(
        &self,
        log: &Arc<dyn Log>,
        partition: u32,
        end: u64,
    ) -> Result<(), AuthoriserError> {
        while self.next(partition) < end {
            let next = self.next(partition);
            let batch = log.read(Topic::Authorisations, partition, next, READ_BATCH).await?;
            if batch.is_empty() {
                break;
            }
            self.enter(&batch, true)?;
        }
        Ok(())
    }

    /// Reads again what it has of the stream, for rows that an index of before them lacks: `rows` are
    /// those of some records, which are written together.
    async fn read_again(
        &self,
        log: &Arc<dyn Log>,
        rows: impl Fn(&[Stored]) -> Result<Vec<Write>, AuthoriserError>,
    ) -> Result<(), AuthoriserError> {
        let topic = Topic::Authorisations;
        for partition in 0..log.partitions(topic) {
            let mut offsets = log.start(topic, partition)?..self.next(partition);
            while let Some(batch) = next_batch(log, topic, partition, &mut offsets).await? {
                self.store.write(rows(&batch)?)?;
            }
        }
        Ok(())
    }

    /// The first offset of a partition that it does not have.
    #[must_use]
    pub fn next(&self, partition: u32) -> u64 {
        self.next.get(partition as usize).map_or(0, |next| next.load(Ordering::Acquire))
    }

    /// How many records it has read of all partitions together.
    #[must_use]
    pub fn read_in_all(&self) -> u64 {
        self.next.iter().map(|next| next.load(Ordering::Acquire)).sum()
    }

    /// Where reading uploads goes on.
    #[must_use]
    pub fn uploads_next(&self) -> u64 {
        self.uploads_next.load(Ordering::Acquire)
    }

    /// How many processes have begun over a shared cache.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Acquire)
    }

    /// What a key did.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn key(&self, key: RecordId) -> Result<Option<Used>, AuthoriserError> {
        let value = self.store.get(Part::Keys, &key.as_u128().to_be_bytes())?;
        Ok(value.as_deref().and_then(row::used))
    }

    /// Where the records stand that changed an authorisation, in order.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn changes(&self, id: AuthorisationId) -> Result<Vec<Position>, AuthoriserError> {
        let mut positions = Vec::new();
        for row in self.store.prefix(Part::Changes, &id.as_u128().to_be_bytes()) {
            positions.extend(row::position(&row?.1));
        }
        Ok(positions)
    }

    /// Every reservation that nothing has ended.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn held(&self) -> Result<Vec<Held>, AuthoriserError> {
        let mut held = Vec::new();
        for row in self.store.prefix(Part::Held, &[]) {
            let (key, value) = row?;
            let id = row::wide(&key).map(AuthorisationId::from_u128);
            let expires_at = row::signed(&value);
            held.extend(id.zip(expires_at).map(|(id, expires_at)| Held { expires_at, id }));
        }
        Ok(held)
    }

    /// What is used of every counter of a holder; of the budgets, where it is the instruction.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn counters(&self, holder: Holder) -> Result<Vec<(CounterKey, i64)>, AuthoriserError> {
        read_counters(self.store.prefix(Part::Counters, &row::holder(holder)))
    }

    /// What is used of every counter there is.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn all_counters(&self) -> Result<Vec<(CounterKey, i64)>, AuthoriserError> {
        read_counters(self.store.prefix(Part::Counters, &[]))
    }

    /// The counters that stand above what `most` says of them; of the others it says nothing.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn counters_above(
        &self,
        most: impl Fn(&CounterKey) -> Option<i64>,
    ) -> Result<Vec<CounterKey>, AuthoriserError> {
        let mut above = Vec::new();
        for row in self.store.prefix(Part::Counters, &[]) {
            let (key, value) = row?;
            let counter = row::counter_key(&key).zip(row::signed(&value));
            let is_above =
                |(key, used): &(CounterKey, i64)| most(key).is_some_and(|most| *used > most);
            above.extend(counter.filter(is_above).map(|(key, _)| key));
        }
        Ok(above)
    }

    /// What is used of one counter.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn counter(&self, key: &CounterKey) -> Result<i64, AuthoriserError> {
        let value = self.store.get(Part::Counters, &row::counter(key))?;
        Ok(value.as_deref().and_then(row::signed).unwrap_or(0))
    }

    /// The points of every recipient under every benefit, or of one recipient.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn points(
        &self,
        of: Option<RecipientId>,
    ) -> Result<Vec<(RecipientId, BenefitId, i64)>, AuthoriserError> {
        let rows = match of {
            Some(recipient) => self.store.prefix(Part::Points, &recipient.as_u128().to_be_bytes()),
            None => self.store.prefix(Part::Points, &[]),
        };
        let mut points = Vec::new();
        for row in rows {
            let (key, value) = row?;
            let balance = row::points_key(&key).zip(row::signed(&value));
            points
                .extend(balance.map(|((recipient, benefit), points)| (recipient, benefit, points)));
        }
        Ok(points)
    }

    /// Enters records that were appended; what it has already is passed over, and so is what comes
    /// after a record that it lacks: of several authors' appends the later may come first. Whether it
    /// has all of them now; else [`catch_up`](Self::catch_up) reads what is missing.
    ///
    /// # Errors
    /// Where the index cannot be written, or a record is not one that this version reads.
    pub fn apply(&self, records: &[Stored]) -> Result<bool, AuthoriserError> {
        self.enter(records, false)
    }

    /// Enters records in the order of each partition; `is_read` says that nothing was left out between
    /// what it has and them.
    fn enter(&self, records: &[Stored], is_read: bool) -> Result<bool, AuthoriserError> {
        // What is remembered is only changed once it is written.
        let mut sums = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut entered, mut has_all) = (Entered::default(), true);
        for stored in records {
            let Position { partition, offset } = stored.position;
            let next = entered.next.entry(partition).or_insert_with(|| self.next(partition));
            if offset < *next {
                continue;
            }
            if offset > *next && !is_read {
                has_all = false;
                continue;
            }
            *next = offset + 1;
            entered.enter(stored)?;
        }
        self.write(entered, &mut sums)?;
        Ok(has_all)
    }

    fn write(&self, entered: Entered, sums: &mut Sums) -> Result<(), AuthoriserError> {
        let mut batch = Vec::new();
        for (key, used) in entered.keys {
            batch.push(Write::put(Part::Keys, key.as_u128().to_be_bytes(), row::of_used(&used)));
        }
        for ((id, step), position) in entered.changes {
            let (key, value) = (row::change(id, step), row::of_position(position));
            batch.push(Write::put(Part::Changes, key, value));
        }
        for (id, expires_at) in entered.held {
            let key = id.as_u128().to_be_bytes();
            batch.push(match expires_at {
                Some(at) => Write::put(Part::Held, key, at.to_be_bytes()),
                None => Write::remove(Part::Held, key),
            });
        }
        let counters = self.changed(Part::Counters, &sums.counters, entered.counters)?;
        let points = self.changed(Part::Points, &sums.points, entered.points)?;
        let uses = self.changed(Part::Uses, &sums.uses, entered.uses)?;
        let parts = [(Part::Counters, &counters), (Part::Points, &points), (Part::Uses, &uses)];
        for (part, sums) in parts {
            let put =
                |(key, sum): &(Vec<u8>, i64)| Write::put(part, key.as_slice(), sum.to_be_bytes());
            batch.extend(sums.iter().map(put));
        }
        let listed = entered.recipients.into_iter();
        batch.extend(listed.map(|row| Write::put(Part::Recipients, row, Vec::new())));
        for (partition, next) in &entered.next {
            let (key, next) = (partition.to_be_bytes(), next.to_be_bytes());
            batch.push(Write::put(Part::Progress, key, next));
        }
        let uploads = self.uploads_next().max(entered.uploads_next);
        batch.push(Write::put(Part::Progress, UPLOADS, uploads.to_be_bytes()));
        let starts = self.starts().max(entered.starts);
        batch.push(Write::put(Part::Progress, STARTS, starts.to_be_bytes()));
        self.store.write(batch)?;
        remember(&mut sums.counters, counters);
        remember(&mut sums.points, points);
        remember(&mut sums.uses, uses);
        self.uploads_next.store(uploads, Ordering::Release);
        self.starts.store(starts, Ordering::Release);
        for (partition, next) in entered.next {
            if let Some(known) = self.next.get(partition as usize) {
                known.store(next, Ordering::Release);
            }
        }
        Ok(())
    }

    /// The sums after some changes.
    fn changed(
        &self,
        part: Part,
        known: &HashMap<Vec<u8>, i64>,
        changes: HashMap<Vec<u8>, i64>,
    ) -> Result<Vec<(Vec<u8>, i64)>, AuthoriserError> {
        let changed = changes.into_iter().map(|(key, change)| {
            let before = match known.get(&key) {
                Some(sum) => *sum,
                None => {
                    let kept = self.store.get(part, &key)?;
                    kept.as_deref().and_then(row::signed).unwrap_or(0)
                }
            };
            Ok((key, before.saturating_add(change)))
        });
        changed.collect()
    }
}

fn read_counters(rows: Rows<'_>) -> Result<Vec<(CounterKey, i64)>, AuthoriserError> {
    let mut counters = Vec::new();
    for row in rows {
        let (key, value) = row?;
        counters.extend(row::counter_key(&key).zip(row::signed(&value)));
    }
    Ok(counters)
}

/// Sums that were written a short while ago: whoever comes comes again, and a budget is in every
/// batch.
#[derive(Debug, Default)]
struct Sums {
    counters: HashMap<Vec<u8>, i64>,
    points: HashMap<Vec<u8>, i64>,
    uses: HashMap<Vec<u8>, i64>,
}

/// Remembers what was written, beginning anew where it becomes too much.
fn remember(known: &mut HashMap<Vec<u8>, i64>, written: Vec<(Vec<u8>, i64)>) {
    if known.len() + written.len() > SUMS {
        known.clear();
    }
    known.extend(written);
}

/// What some records enter, each row once.
#[derive(Default)]
struct Entered {
    keys: Vec<(RecordId, Used)>,
    changes: Vec<((AuthorisationId, u32), Position)>,
    held: HashMap<AuthorisationId, Option<i64>>,
    counters: HashMap<Vec<u8>, i64>,
    points: HashMap<Vec<u8>, i64>,
    uses: HashMap<Vec<u8>, i64>,
    recipients: Vec<[u8; 36]>,
    next: HashMap<u32, u64>,
    uploads_next: u64,
    starts: u64,
}

impl Entered {
    fn enter(&mut self, stored: &Stored) -> Result<(), AuthoriserError> {
        let position = stored.position;
        let broken = || AuthoriserError::Record { offset: position.offset };
        self.recipients.extend(recipients::row(stored));
        self.uses_of(stored);
        let mut key = |terminal: &str, key: &str, body: &[u8]| {
            self.keys.push((key_of(terminal, key), Used { position, body: body_hash(body) }));
        };
        match &stored.record.event {
            Event::AuthorisationDecided(event) => {
                key(&event.terminal_id, &event.idempotency_key, &event.body_hash);
                let id = AuthorisationId::parse(&event.authorisation_id).ok_or_else(broken)?;
                if let Some(expires_at) = event.expires_at {
                    self.held.insert(id, Some(expires_at));
                }
                self.uploads_next = self.uploads_next.max(event.uploads_next.unwrap_or(0));
                self.moves(&publish::movements_of(event).ok_or_else(broken)?);
            }
            Event::AuthorisationChanged(event) => {
                if !event.idempotency_key.is_empty() {
                    key(&event.terminal_id, &event.idempotency_key, &event.body_hash);
                }
                let id = AuthorisationId::parse(&event.authorisation_id).ok_or_else(broken)?;
                self.changes.push(((id, event.step), position));
                self.held.insert(id, None);
                self.moves(&publish::movements_of_change(event).ok_or_else(broken)?);
            }
            Event::HouseholdJoined(event) => {
                self.moves(&publish::movements_of_joined(event).ok_or_else(broken)?);
            }
            Event::AuthoriserStarted(event) => self.starts = self.starts.max(event.start),
            Event::KeyBlocked(event) => {
                key(&event.terminal_id, &event.idempotency_key, &event.body_hash);
                key(&event.terminal_id, &event.reversed_key, &[]);
            }
            _ => {}
        }
        Ok(())
    }

    fn moves(&mut self, movements: &Movements) {
        for movement in &movements.counters {
            *self.counters.entry(row::counter(&movement.key)).or_default() += movement.change;
        }
        for (recipient, benefit, change) in &movements.points {
            *self.points.entry(row::points(*recipient, benefit)).or_default() += change;
        }
    }
}

fn failed(folder: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> AuthoriserError {
    AuthoriserError::OpenIndex { folder: PathBuf::from(folder), source }
}
