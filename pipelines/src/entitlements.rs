//! Follows `person-changes` and the registry's groups, and tells who is in which group on which days.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{id::RecipientId, recipient::Group};
use ingest::{
    clock::Clock,
    log::{Log, READ_BATCH},
    record::{Record, Stored, outside_id},
    register::{people::People, registry::RegistryView},
    topic::Topic,
    vault::Vault,
    wire::{
        self,
        v1::{EntitlementEvaluated, Event},
    },
};

use crate::{error::PipelineError, groups::Groups};

mod rename;

/// Records of people in one append and one sync: few enough that nobody else waits long.
pub const APPENDED_AT_ONCE: usize = 16_384;

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
    groups: Vec<Group>,
    changes_next: u64,
    /// The version of the registry whose groups everybody has been evaluated with.
    evaluated_with: Option<u64>,
    /// From when on what was told last of a person is known.
    told_from: HashMap<RecipientId, DateTime<Utc>>,
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
            log,
            vault,
            clock,
            people: People::default(),
            registry: RegistryView::default(),
            registry_next: 0,
            groups: Vec::new(),
            changes_next: 0,
            evaluated_with: None,
            told_from: HashMap::new(),
        };
        let mut told = 0;
        let mut next = 0;
        while let Some(batch) = evaluator.read(Topic::Entitlements, &mut next).await? {
            for stored in &batch {
                let Event::EntitlementEvaluated(event) = &stored.record.event else { continue };
                if let Some(person) = RecipientId::parse(&event.person) {
                    evaluator.told_from.insert(person, stored.record.event_time);
                }
                if let Some(changes_next) = event.changes_next {
                    told = changes_next;
                    evaluator.evaluated_with = Some(event.registry_version);
                }
            }
        }
        // Who has been told of is known again, and not told of again.
        while evaluator.changes_next < told {
            let mut next = evaluator.changes_next;
            let Some(batch) = evaluator.read(Topic::PersonChanges, &mut next).await? else { break };
            for stored in batch.iter().take_while(|stored| stored.position.offset < told) {
                evaluator.people.apply(&evaluator.vault, stored)?;
            }
            evaluator.changes_next = next.min(told);
        }
        Ok(evaluator)
    }

    /// Evaluates everything that is new. Answers how many people were told of.
    ///
    /// # Errors
    /// Where a stream cannot be read or appended to, or a condition fails.
    pub fn catch_up(&mut self) -> Telling<'_> {
        Box::pin(async move {
            let mut told = self.follow_registry().await?;
            loop {
                let mut next = self.changes_next;
                let Some(batch) = self.read(Topic::PersonChanges, &mut next).await? else { break };
                told += self.take(&batch, next).await?;
            }
            Ok(told)
        })
    }

    /// Reads the registry; where its groups are others than everybody was evaluated with, everybody
    /// is evaluated again, from the change's event time on.
    async fn follow_registry(&mut self) -> Result<usize, PipelineError> {
        let mut changed_at = None;
        let mut next = self.registry_next;
        let mut all = Vec::new();
        while let Some(batch) = self.read(Topic::RegistryChanges, &mut next).await? {
            changed_at = batch.last().map(|stored| stored.record.event_time);
            all.extend(batch);
        }
        let Some(changed_at) = changed_at else { return Ok(0) };
        self.registry_next = next;
        // After a restart the groups that everybody was evaluated with are those of that version.
        let evaluated_with = self.evaluated_with.unwrap_or(0);
        let known = all.partition_point(|stored| stored.position.offset < evaluated_with);
        if known > 0 {
            self.registry.apply(&all[..known]);
            self.groups.clone_from(&self.registry.registry().groups);
        }
        self.registry.apply(&all[known..]);
        let registry = self.registry.registry();
        let same = self.groups == registry.groups;
        self.groups.clone_from(&registry.groups);
        if same || self.people.is_empty() {
            return Ok(0);
        }
        let everybody: Vec<_> = self.people.iter().map(|(id, _)| id).collect();
        self.tell(everybody, changed_at, self.changes_next).await
    }

    /// Takes changes in groups of one event time each; who is in a changed family is told of too.
    async fn take(&mut self, batch: &[Stored], next: u64) -> Result<usize, PipelineError> {
        let mut told = 0;
        let mut rest = batch;
        while let Some(first) = rest.first() {
            let at = first.record.event_time;
            let length = rest.iter().take_while(|stored| stored.record.event_time == at).count();
            let (together, later) = rest.split_at(length);
            rest = later;
            let mut affected = BTreeSet::new();
            for stored in together {
                self.affected_by(stored, &mut affected)?;
            }
            let reached = together.last().map_or(next, |stored| stored.position.offset + 1);
            told += self.tell(affected.into_iter().collect(), at, reached).await?;
            self.changes_next = reached;
        }
        Ok(told)
    }

    /// Applies a change; the person, and the families left and joined, are affected.
    fn affected_by(
        &mut self,
        stored: &Stored,
        affected: &mut BTreeSet<RecipientId>,
    ) -> Result<(), PipelineError> {
        if let Event::PersonChanged(change) = &stored.record.event
            && let Some(id) = RecipientId::parse(&change.person)
        {
            self.add_family(id, affected);
        }
        if let Some(id) = self.people.apply(&self.vault, stored)? {
            affected.insert(id);
            self.add_family(id, affected);
        }
        Ok(())
    }

    fn add_family(&self, id: RecipientId, affected: &mut BTreeSet<RecipientId>) {
        let family = self.people.get(id).and_then(|person| person.family_id());
        affected.extend(family.into_iter().flat_map(|family| self.people.family(family)));
    }

    /// Tells of people from `at` on, or from the instant of what was told of them last: what is
    /// known later is told as known later, in whatever order changes come.
    async fn tell(
        &mut self,
        whom: Vec<RecipientId>,
        at: DateTime<Utc>,
        changes_next: u64,
    ) -> Result<usize, PipelineError> {
        let mut from: BTreeMap<DateTime<Utc>, Vec<RecipientId>> = BTreeMap::new();
        for id in whom {
            let known_from = self.told_from.get(&id).map_or(at, |told| at.max(*told));
            from.entry(known_from).or_default().push(id);
        }
        let groups = Groups::new(&self.groups, &self.vault);
        let (mut told, mut evaluated) = (0, Vec::new());
        for (known_from, whom) in from {
            for some in whom.chunks(APPENDED_AT_ONCE) {
                let of = groups.evaluate(&self.people, some, known_from, &self.vault).await;
                evaluated.extend(of.map_err(|source| PipelineError::Execute {
                    pipeline: "groups".into(),
                    source: Box::new(source),
                })?);
                if evaluated.len() > APPENDED_AT_ONCE {
                    // The last one is kept back, because it says where reading goes on.
                    let last = evaluated.split_off(evaluated.len() - 1);
                    told += self.append(evaluated, changes_next).await?;
                    evaluated = last;
                }
            }
        }
        if let Some(last) = evaluated.last_mut() {
            last.changes_next = Some(changes_next);
        }
        told += self.append(evaluated, changes_next).await?;
        self.evaluated_with = Some(self.registry.version());
        Ok(told)
    }

    async fn append(
        &mut self,
        evaluated: Vec<EntitlementEvaluated>,
        changes_next: u64,
    ) -> Result<usize, PipelineError> {
        if evaluated.is_empty() {
            return Ok(0);
        }
        let records: Vec<_> =
            evaluated.into_iter().map(|event| self.record(event, changes_next)).collect();
        let told = records.iter().filter_map(|record| match &record.event {
            Event::EntitlementEvaluated(event) => {
                Some((RecipientId::parse(&event.person)?, record.event_time))
            }
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let count = records.len();
        self.log.append(Topic::Entitlements, &records).await?;
        self.told_from.extend(told);
        Ok(count)
    }

    fn record(&self, mut event: EntitlementEvaluated, changes_next: u64) -> Record {
        event.registry_version = self.registry.version();
        let known_from = wire::instant(event.known_from).unwrap_or_default();
        // One person may be told of twice from one instant on, by changes that came apart.
        let said = format!("{}/{}/{changes_next}", event.known_from, event.registry_version);
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
