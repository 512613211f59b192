//! Follows `person-changes` and the registry's groups, and tells who is in which group on which days.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{id::RecipientId, period::LocalTime, recipient::Group};
use ingest::{
    clock::Clock,
    log::{Log, READ_BATCH, appender::Appender},
    record::{Record, Stored, outside_id},
    register::{
        memberships::{Listed, Memberships},
        people::{Change, People},
        registry::RegistryView,
        told::Told,
    },
    spread,
    topic::Topic,
    vault::Vault,
    wire::{
        self,
        v1::{EntitlementEvaluated, Event},
    },
};

use self::ahead::{Ahead, Read};
use crate::{
    error::PipelineError,
    groups::{Groups, HORIZON_DAYS},
};

mod ahead;
mod relisted;
mod rename;

/// Records of people in one append and one sync: few enough that nobody else waits long.
pub const APPENDED_AT_ONCE: usize = 16_384;

/// After how long somebody of whom nothing new came is told of again: well before the days to which
/// groups are told ahead.
const RENEWED_AFTER: TimeDelta = TimeDelta::days(HORIZON_DAYS.cast_signed() / 2);

/// How many people were told of, once they are.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<usize, PipelineError>> + Send + 'a>>;

/// Evaluates groups as people and registry change.
#[derive(Debug)]
pub struct Evaluator {
    log: Arc<dyn Log>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    people: People,
    registry: RegistryView,
    registry_next: u64,
    /// The groups of the registry, and as they are evaluated.
    described: Vec<Group>,
    groups: Groups,
    /// How many people there were when those on lists were looked up.
    listed_of: usize,
    changes_next: u64,
    /// Who is on the lists of grantors' own systems.
    lists: Memberships,
    lists_next: u64,
    /// The version of the registry whose groups everybody has been evaluated with.
    evaluated_with: Option<u64>,
    told: Told,
    /// What was evaluated goes to the stream while what follows is evaluated.
    telling: Appender,
    /// Whom is to be told of, and from when on.
    affected: BTreeMap<RecipientId, DateTime<Utc>>,
    /// The local day on which was looked for those who were told of long ago.
    renewed_on: Option<NaiveDate>,
}

impl Evaluator {
    /// An evaluator that goes on where the stream `entitlements` says it was.
    ///
    /// # Errors
    /// Where a stream cannot be read.
    pub async fn open(
        log: Arc<dyn Log>,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PipelineError> {
        let mut evaluator = Self {
            telling: Appender::new(Arc::clone(&log), Topic::Entitlements),
            log,
            vault,
            clock,
            people: People::default(),
            registry: RegistryView::default(),
            registry_next: 0,
            described: Vec::new(),
            groups: Groups::default(),
            listed_of: 0,
            changes_next: 0,
            lists: Memberships::default(),
            lists_next: 0,
            evaluated_with: None,
            told: Told::default(),
            affected: BTreeMap::new(),
            renewed_on: None,
        };
        let (mut told, mut lists_told) = (0, 0);
        let mut next = 0;
        while let Some(batch) = evaluator.read(Topic::Entitlements, &mut next).await? {
            for stored in &batch {
                let Event::EntitlementEvaluated(event) = &stored.record.event else { continue };
                if let Some(person) = RecipientId::parse(&event.person) {
                    evaluator.told.note(person, stored.record.event_time);
                }
                if let Some(changes_next) = event.changes_next {
                    told = changes_next;
                    lists_told = event.memberships_next.unwrap_or(0);
                    evaluator.evaluated_with = Some(event.registry_version);
                }
            }
        }
        // Who has been told of is known again, and not told of again.
        let mut ahead = evaluator.changes_ahead();
        while evaluator.changes_next < told {
            let Some(batch) = ahead.next().await? else { break };
            let end = batch.last().map_or(told, |read| read.offset + 1);
            for read in batch.into_iter().take_while(|read| read.offset < told) {
                if let Some(change) = read.change?.filter(|of| evaluator.people.is_news(of)) {
                    evaluator.people.take(change, &evaluator.vault);
                }
            }
            evaluator.changes_next = end.min(told);
        }
        while evaluator.lists_next < lists_told {
            let mut next = evaluator.lists_next;
            let Some(batch) = evaluator.read(Topic::Memberships, &mut next).await? else { break };
            let told = batch.iter().take_while(|stored| stored.position.offset < lists_told);
            told.for_each(|stored| evaluator.lists.apply(stored));
            evaluator.lists_next = next.min(lists_told);
        }
        Ok(evaluator)
    }

    /// Evaluates everything that is new. Answers how many people were told of. After an error it goes
    /// on where it was.
    ///
    /// # Errors
    /// Where a stream cannot be read or appended to, or a condition fails.
    pub fn catch_up(&mut self) -> Telling<'_> {
        Box::pin(async move {
            self.telling.settle().await?;
            self.follow_registry().await?;
            let mut told = self.tell().await? + self.follow_lists().await?;
            let mut ahead = self.changes_ahead();
            while let Some(batch) = ahead.next().await? {
                told += self.take(batch).await?;
            }
            self.telling.settle().await?;
            Ok(told)
        })
    }

    fn changes_ahead(&self) -> Ahead {
        Ahead::from(Arc::clone(&self.log), self.vault.clone(), self.changes_next)
    }

    /// Reads the registry; where its groups are others than everybody was evaluated with, everybody
    /// is evaluated again, from the change's event time on, or whoever is on another list.
    async fn follow_registry(&mut self) -> Result<(), PipelineError> {
        let mut changed_at = None;
        let mut next = self.registry_next;
        let mut all = Vec::new();
        while let Some(batch) = self.read(Topic::RegistryChanges, &mut next).await? {
            changed_at = batch.last().map(|stored| stored.record.event_time);
            all.extend(batch);
        }
        let Some(changed_at) = changed_at else { return Ok(()) };
        self.registry_next = next;
        // After a restart the groups that everybody was evaluated with are those of that version.
        let evaluated_with = self.evaluated_with.unwrap_or(0);
        let known = all.partition_point(|stored| stored.position.offset < evaluated_with);
        if known > 0 {
            self.registry.apply(&all[..known]);
            self.described.clone_from(&self.registry.registry().groups);
        }
        self.registry.apply(&all[known..]);
        let described = self.registry.registry().groups.clone();
        self.groups = Groups::new(&described, &self.vault);
        self.listed_of = self.people.len();
        match relisted::relisted(&self.described, &described) {
            // Whom the register has not told of is told of when it does.
            Some(whom) => {
                for token in whom {
                    let person = self.vault.find_listed(token);
                    self.affected.extend(person.map(|id| (id, changed_at)));
                }
            }
            None => self.affected.extend(self.people.iter().map(|(id, _)| (id, changed_at))),
        }
        self.described = described;
        Ok(())
    }

    /// Reads the lists of grantors' own systems.
    async fn follow_lists(&mut self) -> Result<usize, PipelineError> {
        let mut told = 0;
        loop {
            let mut next = self.lists_next;
            let Some(batch) = self.read(Topic::Memberships, &mut next).await? else { break };
            for stored in &batch {
                if let Event::MembershipChanged(change) = &stored.record.event
                    && let Some(Listed::Person(person)) = Listed::of(change)
                {
                    told += self.affect(&[person], stored.record.event_time).await?;
                    self.lists.apply(stored);
                }
                self.lists_next = stored.position.offset + 1;
            }
            told += self.tell().await?;
        }
        Ok(told)
    }

    /// Takes changes, in order; who is in a changed family is told of too. What comes at different
    /// instants is evaluated together, unless it is about the same people.
    async fn take(&mut self, batch: Vec<Read>) -> Result<usize, PipelineError> {
        let mut told = 0;
        for Read { offset, at, change } in batch {
            if let Some(change) = change?.filter(|change| self.people.is_news(change)) {
                let whom = self.affected_by(&change);
                told += self.affect(&whom, at).await?;
                self.people.take(change, &self.vault);
            }
            self.changes_next = offset + 1;
        }
        Ok(told + self.tell().await?)
    }

    /// Notes who is to be told of, as of an instant. Where something of another instant was noted of
    /// them, that is told first: before it, the change must not be taken.
    async fn affect(
        &mut self,
        whom: &[RecipientId],
        at: DateTime<Utc>,
    ) -> Result<usize, PipelineError> {
        let noted_otherwise = |id| self.affected.get(id).is_some_and(|noted| *noted != at);
        let full = self.affected.len() >= APPENDED_AT_ONCE;
        let told = match full || whom.iter().any(noted_otherwise) {
            true => self.tell().await?,
            false => 0,
        };
        self.affected.extend(whom.iter().map(|id| (*id, at)));
        Ok(told)
    }

    /// Whom a change is about: the person, and the families left and joined.
    fn affected_by(&self, change: &Change) -> Vec<RecipientId> {
        let mut whom = vec![change.id()];
        let left = self.people.family_of(change.id(), &self.vault);
        let joined = change.family().filter(|joined| Some(*joined) != left);
        for family in [left, joined].into_iter().flatten() {
            whom.extend_from_slice(self.people.family(family));
        }
        whom
    }

    /// Tells again, once a day, of those of whom was last told so long ago that what was told ahead
    /// comes to its end: for a node that serves on and on.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn renew(&mut self) -> Telling<'_> {
        Box::pin(async move {
            let now = self.clock.now();
            let today = LocalTime::of(now).date;
            if self.renewed_on != Some(today) {
                let long_ago = self.told.before(now - RENEWED_AFTER);
                self.affected.extend(long_ago.map(|id| (id, now)));
                self.renewed_on = Some(today);
            }
            let told = self.tell().await?;
            self.telling.settle().await?;
            Ok(told)
        })
    }

    /// Tells of all who are affected, each from an instant on, or from the instant of what was told
    /// of them last: what is known later is told as known later, in whatever order changes come.
    async fn tell(&mut self) -> Result<usize, PipelineError> {
        // Whoever is new may have been on a list before.
        if self.listed_of != self.people.len() {
            self.groups.find_listed(&self.vault);
            self.listed_of = self.people.len();
        }
        let mut told = 0;
        while !self.affected.is_empty() {
            let some = self.affected.iter().take(APPENDED_AT_ONCE);
            let known_from = |(id, at): (&RecipientId, &DateTime<Utc>)| {
                (*id, self.told.of(*id).map_or(*at, |told| told.max(*at)))
            };
            let some: Vec<_> = some.map(known_from).collect();
            let evaluated = self.groups.evaluate(&self.people, &self.lists, &some, &self.vault);
            let mut evaluated = evaluated.map_err(|source| PipelineError::Execute {
                pipeline: "groups".into(),
                source: Box::new(source),
            })?;
            // The last one of all says where reading goes on.
            if some.len() == self.affected.len()
                && let Some(last) = evaluated.last_mut()
            {
                last.changes_next = Some(self.changes_next);
                last.memberships_next = Some(self.lists_next);
            }
            told += self.append(evaluated).await?;
            for (id, _) in some {
                self.affected.remove(&id);
            }
        }
        self.evaluated_with = Some(self.registry.version());
        Ok(told)
    }

    async fn append(
        &mut self,
        evaluated: Vec<EntitlementEvaluated>,
    ) -> Result<usize, PipelineError> {
        if evaluated.is_empty() {
            return Ok(0);
        }
        let records = spread::map(evaluated, |event| self.record(event));
        let told = records.iter().filter_map(|record| match &record.event {
            Event::EntitlementEvaluated(event) => {
                Some((RecipientId::parse(&event.person)?, record.event_time))
            }
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let count = records.len();
        self.telling.append(records).await?;
        told.into_iter().for_each(|(person, known_from)| self.told.note(person, known_from));
        Ok(count)
    }

    fn record(&self, mut event: EntitlementEvaluated) -> Record {
        event.registry_version = self.registry.version();
        let known_from = wire::instant(event.known_from).unwrap_or_default();
        // One person may be told of twice from one instant on, by changes that came apart.
        let read = format!("{}/{}", self.changes_next, self.lists_next);
        let said = format!("{}/{}/{read}", event.known_from, event.registry_version);
        let whom = if event.person.is_empty() { &event.recipient } else { &event.person };
        Record {
            id: outside_id(whom, &said),
            key: event.household.clone(),
            source: "groups".into(),
            sequence: 0,
            event_time: known_from,
            recorded_at: self.clock.now(),
            event: Event::EntitlementEvaluated(event),
        }
    }

    async fn read(
        &self,
        topic: Topic,
        next: &mut u64,
    ) -> Result<Option<Vec<Stored>>, PipelineError> {
        let batch = self.log.read(topic, 0, *next, READ_BATCH).await?;
        if let Some(last) = batch.last() {
            *next = last.position.offset + 1;
            return Ok(Some(batch));
        }
        Ok(None)
    }
}
