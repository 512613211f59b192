//! What the desk decides: who gets a call, and what becomes of it.
//!
//! Pure: the board, the roster and the instant go in, records come out, and the board has moved by
//! them. Among free officials who consult on it the one free for the longest gets a call (of two the
//! lower id); if none is free it waits, and whoever becomes free gets the first of those that they
//! can take. So never do both wait: a call, and an official who could take it.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    call_event::{Availability, CallStep},
    id::{CallId, InstitutionId, OfficialId, RecordId},
    period::LocalTime,
    service_centre::Official,
};
use ingest::{
    record::{Record, ulid},
    wire::v1::{Event, ServiceEvent},
};
use ring::rand::SystemRandom;

use super::{
    board::{Board, PREFIX},
    call::{Call, Matter, Stage},
    roster::{Roster, consults},
};

mod calls;
mod lapse;
mod refusal;
mod visits;
mod wait;

pub use calls::{Ask, Party};
pub use lapse::is_due;
pub use refusal::Refusal;
pub use visits::VisitAsk;
pub use wait::Wait;

/// Who tells the records.
pub const SOURCE: &str = "vpvkac";

/// How calls are given.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long an official is asked before the call goes to the next.
    pub offer: TimeDelta,
    /// The length of a talk where nobody has talked lately, in seconds.
    pub usual_talk_seconds: i64,
    /// The most calls that wait at once.
    pub most_waiting: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { offer: TimeDelta::seconds(20), usual_talk_seconds: 300, most_waiting: 10_000 }
    }
}

/// One turn of the desk.
#[derive(Debug)]
pub struct Decision<'a> {
    board: &'a mut Board,
    roster: &'a Roster,
    rules: Rules,
    now: DateTime<Utc>,
    random: &'a SystemRandom,
    records: Vec<Record>,
}

impl<'a> Decision<'a> {
    /// A turn at an instant; time never goes back. What has lapsed by then is settled first.
    pub fn at(
        now: DateTime<Utc>,
        board: &'a mut Board,
        roster: &'a Roster,
        rules: Rules,
        random: &'a SystemRandom,
    ) -> Self {
        let now = now.max(board.newest());
        let mut decision = Self { board, roster, rules, now, random, records: Vec::new() };
        decision.lapse();
        decision
    }

    /// What has to be on the stream before anybody is told.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The board, moved by what was decided.
    #[must_use]
    pub const fn board(&self) -> &Board {
        self.board
    }

    /// The registry.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        self.roster
    }

    fn fresh(&self) -> u128 {
        ulid(self.now, self.random)
    }

    fn tell(&mut self, event: ServiceEvent) {
        let key = event.centre_id.as_ref().or(event.official_id.as_ref());
        let record = Record {
            id: RecordId::from_u128(self.fresh()),
            key: key.cloned().unwrap_or_default(),
            source: SOURCE.into(),
            sequence: self.board.number() + 1,
            event_time: self.now,
            recorded_at: self.now,
            event: Event::ServiceEvent(event),
        };
        self.board.apply(&record);
        self.records.push(record);
    }

    fn event(&self, kind: &str) -> ServiceEvent {
        ServiceEvent {
            event_type: format!("{PREFIX}{kind}"),
            date: LocalTime::of(self.now).date.to_string(),
            desk: Some(Box::default()),
            ..ServiceEvent::default()
        }
    }

    /// An event of a call. Its official is whoever took it: a call is one row of a table, and an
    /// offer that was not taken leaves no name there.
    fn event_of(&self, call: &Call, kind: &str) -> ServiceEvent {
        let taken = matches!(call.stage, Stage::Accepted | Stage::Connected | Stage::Ended);
        ServiceEvent {
            call_id: Some(call.id.to_string()),
            centre_id: Some(call.centre.to_string()),
            service_id: Some(call.matter.service.to_string()),
            institution_id: Some(call.matter.institution.to_string()),
            official_id: call.official.as_ref().filter(|_| taken).map(ToString::to_string),
            language: Some(call.matter.language.clone()),
            specialist: call.specialist.clone(),
            ..self.event(kind)
        }
    }

    fn tell_step(&mut self, call: &Call, step: CallStep) {
        let event = self.event_of(call, &format!("call.{}", step.code()));
        self.tell(event);
    }

    /// An official stands elsewhere; with the call that it has to do with, and why.
    fn tell_standing(
        &mut self,
        official: &OfficialId,
        availability: Availability,
        call: Option<CallId>,
        why: Option<&str>,
    ) {
        let institution = self.roster.official(official.as_str());
        let event = ServiceEvent {
            official_id: Some(official.to_string()),
            institution_id: institution.map(|one| one.institution.to_string()),
            call_id: call.map(|id| id.to_string()),
            outcome: why.map(str::to_owned),
            ..self.event(&format!("official.{}", availability.code()))
        };
        self.tell(event);
    }

    /// Gives those who wait for an institution to whoever is free, the first first.
    fn distribute(&mut self, institution: &InstitutionId) {
        let mut free = self.free(institution);
        if free.is_empty() {
            return;
        }
        let waiting: Vec<CallId> = self.board.waiting(institution).map(|call| call.id).collect();
        for id in waiting {
            let Some(call) = self.board.call(id) else { continue };
            let Some(at) = free.iter().position(|official| self.takes(official, call)) else {
                continue;
            };
            let official = free.remove(at).id.clone();
            self.offer(id, &official);
            if free.is_empty() {
                return;
            }
        }
    }

    /// Gives whoever waits to whoever is free, everywhere: the registry has changed.
    pub fn distribute_all(&mut self) {
        let institutions: Vec<InstitutionId> = self.board.waited_for().cloned().collect();
        institutions.iter().for_each(|institution| self.distribute(institution));
    }

    /// The free officials of an institution, the one free for the longest first.
    fn free(&self, institution: &InstitutionId) -> Vec<&'a Official> {
        let roster = self.roster;
        let free = roster.of_institution(institution).filter_map(|official| {
            let standing = self.board.standing_of(&official.id)?;
            let is_free =
                standing.availability == Availability::Available && standing.call.is_none();
            is_free.then_some((standing.since, official))
        });
        let mut free: Vec<_> = free.collect();
        free.sort_by(|(since, one), (other_since, other)| {
            (since, &one.id).cmp(&(other_since, &other.id))
        });
        free.into_iter().map(|(_, official)| official).collect()
    }

    fn takes(&self, official: &Official, call: &Call) -> bool {
        let handed_by = call.handed_by.as_ref().map(OfficialId::as_str);
        self.suits(official, &call.matter, call.wanted.as_ref(), handed_by)
    }

    /// Whether an official may be given such a call. Who was asked for by name, and consults on it,
    /// is waited for while at work; who handed it over does not get it back.
    fn suits(
        &self,
        official: &Official,
        matter: &Matter,
        wanted: Option<&OfficialId>,
        handed_by: Option<&str>,
    ) -> bool {
        let waited_for = |wanted: &OfficialId| {
            let consulting = self.roster.official(wanted.as_str());
            consulting.is_some_and(|one| consults(one, matter))
                && matches!(
                    self.board.availability(wanted),
                    Availability::Available | Availability::Busy
                )
        };
        consults(official, matter)
            && handed_by != Some(official.id.as_str())
            && wanted.is_none_or(|wanted| *wanted == official.id || !waited_for(wanted))
    }

    fn offer(&mut self, id: CallId, official: &OfficialId) {
        let Some(call) = self.board.call(id) else { return };
        let mut event = self.event_of(call, &format!("call.{}", CallStep::Offered.code()));
        if let Some(note) = &mut event.desk {
            note.offered_to = Some(official.to_string());
        }
        self.tell(event);
        self.tell_standing(official, Availability::Busy, Some(id), None);
    }
}
