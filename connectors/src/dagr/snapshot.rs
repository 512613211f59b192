//! What a snapshot of the register says by what is not in it.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use domain::id::RecipientId;
use ingest::{
    clock::Clock,
    error::LogError,
    log::{Log, replay},
    record::{Record, outside_id},
    register::present::Present,
    topic::Topic,
    wire::v1::{Event, PersonChanged},
};

use crate::{error::ConnectorError, load::Account};

/// Removals that are appended at once.
const REMOVED_AT_ONCE: usize = 4_096;

/// What is known of a snapshot once its lines have been read.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Lines read.
    pub lines: u64,
    /// Whether the first line began a snapshot, and how many lines it says there are.
    begun: Option<Option<u64>>,
    at: Option<DateTime<Utc>>,
    people: HashSet<RecipientId>,
}

impl Snapshot {
    pub(super) fn saw(
        &mut self,
        person: RecipientId,
        begins: Option<Option<u64>>,
        at: DateTime<Utc>,
    ) {
        // Only a first line begins a snapshot.
        if let Some(count) = begins
            && self.people.is_empty()
        {
            self.begun = Some(count);
            self.at = Some(at);
        }
        self.people.insert(person);
    }

    /// Whether the first line began a snapshot.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Removes the people who are not in a whole snapshot. Without a count, or where a line was
    /// refused, it removes nobody.
    ///
    /// # Errors
    /// Where the snapshot is cut, or would remove more than 1 % and `yes` is not said.
    pub async fn finish(
        &self,
        log: &Arc<dyn Log>,
        clock: &dyn Clock,
        account: &Account,
        yes: bool,
    ) -> Result<usize, ConnectorError> {
        let (Some(Some(expected)), Some(at)) = (self.begun, self.at) else { return Ok(0) };
        if self.lines < expected {
            return Err(ConnectorError::SnapshotCut { expected, found: self.lines });
        }
        let refused = account.refused_in_all();
        if refused > 0 {
            // Whom a refused line was about is not known, so nobody can be said to be missing.
            tracing::warn!(refused, "the snapshot has refused lines: nobody is removed");
            return Ok(0);
        }
        if held(log)? == account.taken {
            // Nobody was known before.
            return Ok(0);
        }
        let mut people = Present::default();
        replay(log, Topic::PersonChanges, |stored| {
            people.apply(&stored);
            Ok::<(), LogError>(())
        })
        .await?;
        // Whoever was told of after the snapshot was made is not missing in it.
        let missing = people.iter().filter(|(_, _, told)| *told <= at);
        let missing = missing.filter(|(id, ..)| !self.people.contains(id));
        let missing: Vec<_> = missing.map(|(id, sequence, _)| (id, sequence)).collect();
        let (removed, known) = (missing.len(), people.iter().count());
        if removed * 100 > known && !yes {
            return Err(ConnectorError::SnapshotRemoves { removed, known });
        }
        let records: Vec<_> =
            missing.into_iter().map(|(id, known)| removal(id, known, at, clock.now())).collect();
        // Nobody else waits long for a nation that goes. Nor need this have the stream to itself: what is
        // told of somebody since they were counted has the removal's number or a higher one, and holds
        // whichever comes first.
        for some in records.chunks(REMOVED_AT_ONCE) {
            log.append(Topic::PersonChanges, some).await?;
        }
        Ok(removed)
    }
}

/// How many changes of people there are.
fn held(log: &Arc<dyn Log>) -> Result<u64, LogError> {
    let topic = Topic::PersonChanges;
    let of = |partition| Ok(log.end(topic, partition)? - log.start(topic, partition)?);
    (0..log.partitions(topic)).map(of).sum()
}

/// The register's own next change of the person has a higher sequence than the known one, too.
fn removal(id: RecipientId, known: u64, at: DateTime<Utc>, now: DateTime<Utc>) -> Record {
    let person = id.to_string();
    Record {
        id: outside_id("/dagr/snapshot", &format!("{person}/{}", at.timestamp_micros())),
        key: person.clone(),
        source: "/dagr/snapshot".into(),
        sequence: known + 1,
        event_time: at,
        recorded_at: now,
        event: Event::PersonChanged(PersonChanged {
            person,
            person_sequence: known + 1,
            sealed: Vec::new(),
            removed: true,
            snapshot: true,
        }),
    }
}
