//! Follows `person-changes` and the registry's groups, and tells who is in which group on which days.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use domain::{id::RecipientId, recipient::Group};
use ingest::{
    clock::Clock,
    log::{Log, READ_BATCH},
    record::{Record, Stored, outside_id},
    register::{people::People, registry::RegistryView},
    topic::Topic,
    vault::Vault,
    wire::v1::{EntitlementEvaluated, Event},
};

use crate::{error::PipelineError, groups::Groups};

/// People told at once: one append and one sync.
const APPENDED_AT_ONCE: usize = 16_384;

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
        };
        let mut told = 0;
        let mut next = 0;
        while let Some(batch) = evaluator.read(Topic::Entitlements, &mut next).await? {
            for stored in &batch {
                let Event::EntitlementEvaluated(event) = &stored.record.event else { continue };
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
    pub async fn catch_up(&mut self) -> Result<usize, PipelineError> {
        let mut told = self.follow_registry().await?;
        loop {
            let mut next = self.changes_next;
            let Some(batch) = self.read(Topic::PersonChanges, &mut next).await? else { break };
            told += self.take(&batch, next).await?;
        }
        Ok(told)
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
        self.registry.apply(&all);
        let registry = self.registry.registry();
        let known = self.evaluated_with == Some(self.registry.version());
        let same = known || self.groups == registry.groups;
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

    async fn tell(
        &mut self,
        whom: Vec<RecipientId>,
        known_from: DateTime<Utc>,
        changes_next: u64,
    ) -> Result<usize, PipelineError> {
        let groups = Groups::new(&self.groups, &self.vault);
        let mut told = 0;
        for (at, some) in whom.chunks(APPENDED_AT_ONCE).enumerate() {
            let evaluated = groups.evaluate(&self.people, some, known_from, &self.vault).await;
            let mut evaluated = evaluated.map_err(|source| PipelineError::Execute {
                pipeline: "groups".into(),
                source: Box::new(source),
            })?;
            told += evaluated.len();
            evaluated.iter_mut().for_each(|of| of.registry_version = self.registry.version());
            let is_last = (at + 1) * APPENDED_AT_ONCE >= whom.len();
            if let (true, Some(last)) = (is_last, evaluated.last_mut()) {
                last.changes_next = Some(changes_next);
            }
            let records = evaluated.into_iter().map(|of| self.record(of, known_from)).collect();
            self.log.append(Topic::Entitlements, records).await?;
        }
        self.evaluated_with = Some(self.registry.version());
        Ok(told)
    }

    fn record(&self, event: EntitlementEvaluated, known_from: DateTime<Utc>) -> Record {
        let version = format!("{}/{}", known_from.timestamp_micros(), event.registry_version);
        let said = format!("{version}/{}", event.person_sequence);
        Record {
            id: outside_id(&event.person, &said),
            key: event.household.clone(),
            source: "groups".into(),
            sequence: 0,
            event_time: known_from,
            recorded_at: self.clock.now(),
            event: Event::EntitlementEvaluated(event),
        }
    }

    async fn read(&self, topic: Topic, next: &mut u64) -> Result<Option<Vec<Stored>>, PipelineError> {
        let batch = self.log.read(topic, 0, *next, READ_BATCH).await?;
        if let Some(last) = batch.last() {
            *next = last.position.offset + 1;
            return Ok(Some(batch));
        }
        Ok(None)
    }
}
