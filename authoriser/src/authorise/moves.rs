//! Who lives in another household takes along what it used itself of limits per household.
//!
//! It is brought as soon as the loop follows the record by which somebody moved, before anything else
//! is decided, and by a record of its own. What is brought follows from what the index has, so doing
//! it again, after a crash or at a start, brings nothing twice ([`crate::uses`]).

use domain::{
    id::{AuthorisationId, HouseholdId, RecipientId},
    limit::CounterMovement,
};
use ingest::{
    record::{Record, outside_id},
    vault::Purpose,
    wire::v1::{Event, HouseholdJoined},
};

use super::{
    Authoriser, AuthoriserError, Cache, Outgoing, Reserved, append_records,
    batch::{Loaded, MOST_ROUNDS},
};
use crate::{
    cache::{Movements, Operation, Wanted},
    publish,
};

/// What somebody is to bring.
struct Due {
    who: RecipientId,
    home: HouseholdId,
    counters: Vec<CounterMovement>,
}

impl<C: Cache> Authoriser<C> {
    /// Finds who moved while nobody looked, at a start.
    pub(super) fn find_moved(&mut self) -> Result<(), AuthoriserError> {
        let moved = self.parts.index.moved(|who| self.registers.home(who))?;
        self.moving = moved.into_iter().map(|who| (who, None)).collect();
        self.registers.take_moved();
        Ok(())
    }

    /// Has everybody who moved bring what is not there yet. Whether all of it is there; where it is
    /// not, limits per household cannot be read.
    pub(super) async fn follow_moves(
        &mut self,
        outgoing: &mut Outgoing,
    ) -> Result<bool, AuthoriserError> {
        for moved in self.registers.take_moved() {
            if self.parts.index.may_have_used(moved.person) {
                self.moving.entry(moved.person).or_insert(moved.from);
            }
        }
        if self.moving.is_empty() {
            return Ok(true);
        }
        let parts = self.parts.clone();
        let _turn = parts.index.bringing().lock().await;
        for _ in 0..MOST_ROUNDS {
            self.wait_until_dealt().await;
            self.begin_era().await?;
            parts.index.catch_up(&parts.log).await?;
            let due = self.due()?;
            if due.is_empty() {
                self.moving.clear();
                return Ok(true);
            }
            if !self.bring(&due, outgoing).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn due(&self) -> Result<Vec<Due>, AuthoriserError> {
        let mut due = Vec::new();
        for who in self.moving.keys().copied() {
            let home = self.registers.home(who);
            let counters = self.parts.index.to_bring(who, home)?;
            if !counters.is_empty() {
                due.push(Due { who, home, counters });
            }
        }
        Ok(due)
    }

    /// Moves what is due and appends its records; what conflicts or was refused at the fence is looked
    /// at again. Whether the cache could take part.
    async fn bring(
        &mut self,
        due: &[Due],
        outgoing: &mut Outgoing,
    ) -> Result<bool, AuthoriserError> {
        let wanted = due.iter().filter(|_| C::IS_LOADED).map(|due| Wanted {
            household: Some(due.home),
            counters: due.counters.iter().map(|moved| moved.key.clone()).collect(),
            ..Wanted::default()
        });
        let wanted: Vec<Wanted> = wanted.collect();
        match self.load(&wanted, outgoing).await? {
            Loaded::As(Ok(())) => {}
            Loaded::Anew => return Ok(true),
            Loaded::As(Err(_)) | Loaded::TooLate => return Ok(false),
        }
        let records: Vec<Record> = due.iter().map(|due| self.joined(due)).collect();
        for (due, record) in due.iter().zip(&records) {
            self.cache.stage(Operation {
                id: record.id,
                authorisation: AuthorisationId::from_u128(record.id.as_u128()),
                step: 0,
                household: Some(due.home),
                movements: Movements { counters: due.counters.clone(), points: Vec::new() },
            });
        }
        let Ok(reserved) = self.cache.commit().await else { return Ok(false) };
        if reserved.contains(&Reserved::Exists) {
            // It moved for a record that never came: these are the counters of no stream.
            self.parts.fence.advance(self.stamp.generation).await;
            return Ok(true);
        }
        let done = records.into_iter().zip(reserved).filter(|(_, is)| *is == Reserved::Done);
        let mut records: Vec<Record> = done.map(|(record, _)| record).collect();
        self.number(&mut records);
        let mut decided = Outgoing { era: self.era, stamp: self.stamp, ..Outgoing::default() };
        decided.fenced = true;
        let marks = self.marks();
        let count = records.len();
        if append_records(&self.parts, records, &mut decided, &marks).await?.is_some() {
            tracing::debug!(count, "recipients joined a household");
        }
        Ok(true)
    }

    /// The record of who joined. Its id follows from all that is on the stream, which grows by it, so
    /// no later one has the same.
    fn joined(&self, due: &Due) -> Record {
        let now = self.parts.clock.now();
        let stands = self.parts.index.read_in_all();
        let Due { who, home, counters } = due;
        let left = self.moving.get(who).copied().flatten();
        let pseudonym = self.parts.vault.pseudonym(Purpose::Recipient, who.as_u128());
        let event = HouseholdJoined {
            recipient: pseudonym.to_string(),
            recipient_id: who.to_string(),
            household_id: home.to_string(),
            left_household_id: left.map(|left| left.to_string()),
            occurred_at: now.timestamp_micros(),
            counters: counters.iter().map(publish::counter).collect(),
        };
        Record {
            id: outside_id("household-joined", &format!("{who}/{home}/{stands}")),
            key: home.to_string(),
            source: "authoriser".into(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::HouseholdJoined(event),
        }
    }

    /// Waits until every earlier batch has been appended or refused.
    pub(super) async fn wait_until_dealt(&self) {
        let mut dealt = self.marks.dealt.subscribe();
        // Whoever appends says so at its end, too.
        let _ = dealt.wait_for(|dealt| *dealt >= self.sent).await;
    }

    /// Lets what moves in a household's counters move where the recipient lives by now as well, if
    /// that is another one; which it then is.
    pub(super) fn also_at_home(
        &self,
        who: Option<RecipientId>,
        movements: &mut Movements,
    ) -> Option<HouseholdId> {
        let household = movements.counters.iter().find_map(|moved| moved.key.household())?;
        let who = who?;
        self.parts.index.uses(who);
        let home = self.registers.home(who);
        if home == household {
            return None;
        }
        movements.counters.extend(publish::at_home(home, &movements.counters));
        Some(home)
    }
}
