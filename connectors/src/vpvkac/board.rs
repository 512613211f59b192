//! The board: officials, calls and services as the stream has them.
//!
//! Nothing else keeps them. A record that the desk told moves the board in one way only, so that a
//! node that starts again, and reads what was told, goes on where it was. What does not fit (a record
//! from outside, one that was told twice) moves nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    call_event::Availability,
    id::{CallId, InstitutionId, OfficialId, ServiceId, VisitId},
};
use ingest::{
    record::Record,
    wire::v1::{DeskNote, Event, ServiceEvent},
};

use super::call::{Call, HANDED_OVER, Matter, Stage, Visit};

mod read;

/// What every type of event begins with.
pub const PREFIX: &str = "lv.vpvkac.";
/// How long what is over is remembered: for who looks it up, and for keys that come again.
pub const KEPT: TimeDelta = TimeDelta::hours(24);
/// The most calls that are over, and services, that are remembered.
const MOST_KEPT: usize = 100_000;
/// Talks by which the next wait is estimated.
const RECENT_TALKS: usize = 20;

/// How an official can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Free, in a call, away or not at work.
    pub availability: Availability,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The call that the official is asked for, or has taken.
    pub call: Option<CallId>,
}

/// What an idempotency key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// It asked for a call.
    Call(CallId),
    /// It began a service.
    Visit(VisitId),
}

/// How long two talked, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Talk {
    ended_at: DateTime<Utc>,
    seconds: i64,
}

/// Officials, calls and services as of a record of the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    officials: BTreeMap<OfficialId, Standing>,
    calls: BTreeMap<CallId, Call>,
    open: BTreeSet<CallId>,
    /// Who waits, by institution and place.
    waiting: BTreeMap<InstitutionId, BTreeMap<u64, CallId>>,
    /// What is over, in that order.
    closed: VecDeque<CallId>,
    keys: HashMap<u128, Keyed>,
    /// Open calls by whom they need and where they stand; never only zeros.
    counts: BTreeMap<Matter, [u32; 4]>,
    /// The last talks.
    talks: BTreeMap<(InstitutionId, ServiceId), VecDeque<Talk>>,
    visits: BTreeMap<VisitId, Visit>,
    number: u64,
    newest: DateTime<Utc>,
}

impl Board {
    /// Takes the next record.
    pub fn apply(&mut self, record: &Record) {
        let Event::ServiceEvent(event) = &record.event else { return };
        let Some(note) = event.desk.as_ref().filter(|_| record.sequence > self.number) else {
            return;
        };
        self.number = record.sequence;
        let at = record.event_time;
        self.newest = self.newest.max(at);
        let kind = event.event_type.strip_prefix(PREFIX).unwrap_or_default();
        match kind.split_once('.') {
            Some(("call", "requested")) => self.requested(event, note, at),
            Some(("call", step)) => self.stepped(step, event, note, at),
            Some(("official", word)) => self.stood(word, event, at),
            Some(("service", step)) => self.visited(step, event, note, at),
            _ => {}
        }
        self.forget();
    }

    fn requested(&mut self, event: &ServiceEvent, note: &DeskNote, at: DateTime<Utc>) {
        let Some(mut call) = read::call(event, note, at) else { return };
        if let Some(before) = call.continues.and_then(|before| self.calls.get_mut(&before)) {
            before.continued_by = Some(call.id);
            call.first = before.first;
        }
        if call.key != 0 {
            self.keys.insert(call.key, Keyed::Call(call.id));
        }
        self.open.insert(call.id);
        enter(&mut self.counts, &mut self.waiting, &call);
        self.calls.insert(call.id, call);
    }

    fn stepped(&mut self, step: &str, event: &ServiceEvent, note: &DeskNote, at: DateTime<Utc>) {
        let Some(id) = event.call_id.as_deref().and_then(CallId::parse) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.touched_at = at;
        match (step, call.stage) {
            ("offered", Stage::Waiting) => {
                let Some(official) = read::official(note.offered_to.as_deref()) else { return };
                self.standing(&official, at).call = Some(id);
                self.move_to(id, Stage::Offered, Some(official), at);
            }
            ("accepted", Stage::Offered) => {
                let official = call.official.clone();
                self.move_to(id, Stage::Accepted, official, at);
            }
            ("connected", Stage::Accepted) => {
                call.connected_at = Some(at);
                let official = call.official.clone();
                self.move_to(id, Stage::Connected, official, at);
            }
            ("ended", Stage::Accepted | Stage::Connected) => self.over(id, event, at),
            ("abandoned", stage) if stage.is_open() => self.over(id, event, at),
            ("rated", Stage::Ended) => {
                call.rating = event.rating;
                call.resolved = event.resolved.or(call.resolved);
            }
            _ => {}
        }
    }

    /// A call is over, and its official has it no more.
    fn over(&mut self, id: CallId, event: &ServiceEvent, at: DateTime<Utc>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let taken = call.stage.is_taken();
        call.ended_at = Some(at);
        call.outcome.clone_from(&event.outcome);
        call.resolved = event.resolved;
        let official = call.official.clone();
        if let Some(began) = call.connected_at {
            let of = (call.matter.institution.clone(), call.matter.service.clone());
            let talks = self.talks.entry(of).or_default();
            talks.push_back(Talk { ended_at: at, seconds: (at - began).num_seconds() });
            if talks.len() > RECENT_TALKS {
                talks.pop_front();
            }
        }
        if let Some(official) = &official
            && let Some(standing) = self.officials.get_mut(official)
        {
            standing.call = None;
        }
        let ended = event.event_type.ends_with("ended");
        let stage = if ended { Stage::Ended } else { Stage::Abandoned };
        self.move_to(id, stage, official.filter(|_| taken), at);
        self.open.remove(&id);
        self.closed.push_back(id);
    }

    /// An official stands elsewhere. Who goes while a call is only offered gives it back.
    fn stood(&mut self, word: &str, event: &ServiceEvent, at: DateTime<Utc>) {
        let all = [
            Availability::Available,
            Availability::Busy,
            Availability::Away,
            Availability::Offline,
        ];
        let Some(availability) = all.into_iter().find(|one| one.code() == word) else { return };
        let Some(official) = read::official(event.official_id.as_deref()) else { return };
        let standing = self.standing(&official, at);
        (standing.availability, standing.since) = (availability, at);
        if !matches!(availability, Availability::Away | Availability::Offline) {
            return;
        }
        let Some(id) = standing.call else { return };
        if self.calls.get(&id).is_some_and(|call| call.stage == Stage::Offered) {
            self.standing(&official, at).call = None;
            self.move_to(id, Stage::Waiting, None, at);
        }
    }

    fn visited(&mut self, step: &str, event: &ServiceEvent, note: &DeskNote, at: DateTime<Utc>) {
        let id = note.visit.as_deref().and_then(VisitId::parse);
        match (step, id) {
            ("started", _) => {
                let Some(visit) = read::visit(event, note, at) else { return };
                self.keys.insert(visit.key, Keyed::Visit(visit.id));
                self.visits.insert(visit.id, visit);
            }
            ("completed", Some(id)) => {
                if let Some(visit) = self.visits.get_mut(&id) {
                    visit.completed = Some((at, event.outcome.clone().unwrap_or_default()));
                }
            }
            _ => {}
        }
    }

    fn standing(&mut self, official: &OfficialId, at: DateTime<Utc>) -> &mut Standing {
        let absent = || Standing { availability: Availability::Offline, since: at, call: None };
        self.officials.entry(official.clone()).or_insert_with(absent)
    }

    fn move_to(
        &mut self,
        id: CallId,
        stage: Stage,
        official: Option<OfficialId>,
        at: DateTime<Utc>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        leave(&mut self.counts, &mut self.waiting, call);
        (call.stage, call.since, call.touched_at) = (stage, at, at);
        call.official = official;
        enter(&mut self.counts, &mut self.waiting, call);
    }

    /// Lets go of what nobody needs any more.
    fn forget(&mut self) {
        let bound = self.newest - KEPT;
        while let Some(id) = self.closed.front().copied() {
            let Some(call) = self.calls.get(&id) else {
                self.closed.pop_front();
                continue;
            };
            let old = call.ended_at.is_none_or(|ended| ended < bound);
            if !old && self.closed.len() <= MOST_KEPT {
                break;
            }
            if self.keys.get(&call.key) == Some(&Keyed::Call(id)) {
                self.keys.remove(&call.key);
            }
            self.calls.remove(&id);
            self.closed.pop_front();
        }
        while let Some((id, visit)) = self.visits.first_key_value() {
            if visit.started_at >= bound && self.visits.len() <= MOST_KEPT {
                break;
            }
            if self.keys.get(&visit.key) == Some(&Keyed::Visit(*id)) {
                self.keys.remove(&visit.key);
            }
            self.visits.pop_first();
        }
        for talks in self.talks.values_mut() {
            talks.retain(|talk| talk.ended_at >= bound);
        }
        self.talks.retain(|_, talks| !talks.is_empty());
    }
}

/// What is over has no place in the counts.
const fn column(stage: Stage) -> Option<usize> {
    match stage {
        Stage::Waiting => Some(0),
        Stage::Offered => Some(1),
        Stage::Accepted => Some(2),
        Stage::Connected => Some(3),
        Stage::Ended | Stage::Abandoned => None,
    }
}

type Counts = BTreeMap<Matter, [u32; 4]>;
type Queues = BTreeMap<InstitutionId, BTreeMap<u64, CallId>>;

fn enter(counts: &mut Counts, waiting: &mut Queues, call: &Call) {
    let Some(column) = column(call.stage) else { return };
    if let Some(count) = counts.entry(call.matter.clone()).or_default().get_mut(column) {
        *count += 1;
    }
    if call.stage == Stage::Waiting {
        let queue = waiting.entry(call.matter.institution.clone()).or_default();
        queue.insert(call.place, call.id);
    }
}

fn leave(counts: &mut Counts, waiting: &mut Queues, call: &Call) {
    let Some(column) = column(call.stage) else { return };
    if let Some(of) = counts.get_mut(&call.matter) {
        if let Some(count) = of.get_mut(column) {
            *count = count.saturating_sub(1);
        }
        if of.iter().all(|count| *count == 0) {
            counts.remove(&call.matter);
        }
    }
    if call.stage == Stage::Waiting
        && let Some(queue) = waiting.get_mut(&call.matter.institution)
    {
        queue.remove(&call.place);
        if queue.is_empty() {
            waiting.remove(&call.matter.institution);
        }
    }
}

/// What is read of the board.
impl Board {
    /// The number of the last record that moved it.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The instant of the newest record.
    #[must_use]
    pub const fn newest(&self) -> DateTime<Utc> {
        self.newest
    }

    /// A call.
    #[must_use]
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id)
    }

    /// Calls before one, the newest first.
    pub fn calls_before(&self, before: Option<CallId>) -> impl Iterator<Item = &Call> {
        let bound = before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.calls.range((std::ops::Bound::Unbounded, bound)).rev().map(|(_, call)| call)
    }

    /// Calls that are not over, the oldest first.
    pub fn open_calls(&self) -> impl Iterator<Item = &Call> {
        self.open.iter().filter_map(|id| self.calls.get(id))
    }

    /// Who waits for an institution, the first first.
    pub fn waiting(&self, institution: &InstitutionId) -> impl Iterator<Item = &Call> {
        let queue = self.waiting.get(institution).into_iter().flat_map(BTreeMap::values);
        queue.filter_map(|id| self.calls.get(id))
    }

    /// How many wait in all.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.values().map(BTreeMap::len).sum()
    }

    /// The institutions for which somebody waits.
    pub fn waited_for(&self) -> impl Iterator<Item = &InstitutionId> {
        self.waiting.keys()
    }

    /// How an official can be reached; none of whom nothing was ever told.
    #[must_use]
    pub fn standing_of(&self, official: &OfficialId) -> Option<&Standing> {
        self.officials.get(official)
    }

    /// Everybody of whom something was told.
    pub fn standings(&self) -> impl Iterator<Item = (&OfficialId, &Standing)> {
        self.officials.iter()
    }

    /// How an official can be reached; of whom nothing was told is not at work.
    #[must_use]
    pub fn availability(&self, official: &OfficialId) -> Availability {
        self.officials.get(official).map_or(Availability::Offline, |of| of.availability)
    }

    /// Open calls by whom they need: waiting, offered, accepted, connected.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<Matter, [u32; 4]> {
        &self.counts
    }

    /// What a key did.
    #[must_use]
    pub fn keyed(&self, key: u128) -> Option<Keyed> {
        self.keys.get(&key).copied()
    }

    /// A service of a centre.
    #[must_use]
    pub fn visit(&self, id: VisitId) -> Option<&Visit> {
        self.visits.get(&id)
    }

    /// The mean of the last talks in seconds; none where nobody has talked lately.
    #[must_use]
    pub fn mean_talk_seconds(&self, matter: &Matter) -> Option<i64> {
        let talks = self.talks.get(&(matter.institution.clone(), matter.service.clone()))?;
        let sum: i64 = talks.iter().map(|talk| talk.seconds).sum();
        i64::try_from(talks.len()).ok().and_then(|count| sum.checked_div(count))
    }

    /// Whether a call that is over goes on as another one.
    #[must_use]
    pub fn was_handed_over(call: &Call) -> bool {
        call.outcome.as_deref() == Some(HANDED_OVER)
    }
}
