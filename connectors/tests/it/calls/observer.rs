//! Somebody who knows nothing but the records, and the rules: every record that may not be is found.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use connectors::vpvkac::roster::Roster;
use domain::service_centre::Official;
use ingest::{
    record::Record,
    wire::v1::{Event, ServiceEvent},
};

/// A call as the records tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub place: u64,
    pub institution: String,
    pub service: String,
    pub language: String,
    pub wanted: Option<String>,
    pub handed_by: Option<String>,
    pub stage: &'static str,
    pub official: Option<String>,
    pub since: DateTime<Utc>,
}

impl Seen {
    pub fn is_open(&self) -> bool {
        !matches!(self.stage, "ended" | "abandoned")
    }

    fn is_held(&self) -> bool {
        matches!(self.stage, "offered" | "accepted" | "connected")
    }
}

/// What the records have told so far.
#[derive(Debug, Default)]
pub struct Observer {
    pub calls: BTreeMap<String, Seen>,
    /// Of each official the last word, and since when.
    pub officials: BTreeMap<String, (String, DateTime<Utc>)>,
    number: u64,
    newest: DateTime<Utc>,
}

impl Observer {
    /// Takes a record, which must be the next and one that may be.
    pub fn take(&mut self, record: &Record, roster: &Roster) {
        let Event::ServiceEvent(event) = &record.event else { panic!("{record:?}") };
        assert_eq!(record.sequence, self.number + 1, "one number after the other");
        assert!(record.event_time >= self.newest, "time never goes back");
        (self.number, self.newest) = (record.sequence, record.event_time);
        let kind = event.event_type.strip_prefix("lv.vpvkac.").expect("ours");
        match kind.split_once('.').expect("two words") {
            ("call", "requested") => self.requested(event, record.event_time),
            ("call", step) => self.stepped(step, event, record.event_time, roster),
            ("official", word) => self.stood(word, event, record.event_time),
            _ => {}
        }
    }

    fn requested(&mut self, event: &ServiceEvent, at: DateTime<Utc>) {
        let note = event.desk.clone().expect("a note");
        let text = |field: &Option<String>| field.clone().expect("there");
        let seen = Seen {
            place: note.place,
            institution: text(&event.institution_id),
            service: text(&event.service_id),
            language: text(&event.language),
            wanted: note.wanted,
            handed_by: note.handed_by,
            stage: "waiting",
            official: None,
            since: at,
        };
        if let Some(before) = &note.continues {
            let before = &self.calls[before];
            assert_eq!((before.stage, before.place), ("ended", seen.place), "it keeps its place");
        }
        let before = self.calls.insert(text(&event.call_id), seen);
        assert!(before.is_none(), "a call is asked for once");
    }

    fn stepped(&mut self, step: &str, event: &ServiceEvent, at: DateTime<Utc>, roster: &Roster) {
        let id = event.call_id.clone().expect("a call");
        if step == "offered" {
            let to = event.desk.clone().and_then(|note| note.offered_to).expect("an official");
            assert_eq!(event.official_id, None, "no name stays where nobody took it");
            self.may_be_offered(&id, &to, roster);
        }
        let call = self.calls.get_mut(&id).expect("a call that was asked for");
        let next = match (step, call.stage) {
            ("offered", "waiting") => {
                call.official = event.desk.clone().and_then(|note| note.offered_to);
                "offered"
            }
            ("accepted", "offered") => {
                assert_eq!(event.official_id, call.official, "who was asked takes it");
                "accepted"
            }
            ("connected", "accepted") => "connected",
            ("ended", "accepted" | "connected") => "ended",
            ("abandoned", "waiting" | "offered" | "accepted") => "abandoned",
            ("continued", stage) if call.is_open() => stage,
            ("rated", "ended") => "ended",
            (step, stage) => panic!("{id} was {stage} and is {step}"),
        };
        if next != call.stage {
            (call.stage, call.since) = (next, at);
        }
    }

    /// Offered is what waits, to who is free and may take it: nobody who waits before it could be
    /// given to this official, and no official who may take it is free for longer.
    fn may_be_offered(&self, id: &str, to: &str, roster: &Roster) {
        let call = &self.calls[id];
        assert_eq!(call.stage, "waiting", "{id} is offered to one at a time");
        assert!(self.is_free(to), "{to} has no other call and is available");
        let official = roster.official(to).expect("of the registry");
        assert!(self.suits(official, call, roster), "{to} may take {id}");
        for (other, before) in &self.calls {
            let first = before.stage == "waiting" && before.place < call.place;
            let passed = first && self.suits(official, before, roster);
            assert!(!passed, "{other} waits before {id}, and {to} could take it");
        }
        let since = self.officials[to].1;
        for other in roster.officials_after(None) {
            if other.id.as_str() == to || !self.is_free(other.id.as_str()) {
                continue;
            }
            let longer = (self.officials[other.id.as_str()].1, other.id.as_str()) < (since, to);
            let passed = longer && self.suits(other, call, roster);
            assert!(!passed, "{} is free for longer than {to}", other.id);
        }
    }

    fn stood(&mut self, word: &str, event: &ServiceEvent, at: DateTime<Utc>) {
        let official = event.official_id.clone().expect("an official");
        let held: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| call.is_held() && call.official.as_ref() == Some(&official))
            .map(|(id, _)| id.clone())
            .collect();
        match word {
            "busy" => assert_eq!(held.len(), 1, "in a call is who has one"),
            "available" => assert_eq!(held.len(), 0, "who has a call is not free"),
            _ => {
                for id in held {
                    let call = self.calls.get_mut(&id).expect("a call");
                    assert_eq!(call.stage, "offered", "nobody leaves a call that was taken");
                    (call.stage, call.official, call.since) = ("waiting", None, at);
                }
            }
        }
        self.officials.insert(official, (word.to_owned(), at));
    }

    fn word(&self, official: &str) -> &str {
        self.officials.get(official).map_or("offline", |(word, _)| word)
    }

    fn held_by(&self, official: &str) -> usize {
        let held = |call: &&Seen| call.is_held() && call.official.as_deref() == Some(official);
        self.calls.values().filter(held).count()
    }

    fn is_free(&self, official: &str) -> bool {
        self.word(official) == "available" && self.held_by(official) == 0
    }

    fn suits(&self, official: &Official, call: &Seen, roster: &Roster) -> bool {
        let consults = |official: &Official| {
            official.institution.as_str() == call.institution
                && official.services.iter().any(|service| service.as_str() == call.service)
                && official.languages.contains(&call.language)
        };
        let id = Some(official.id.as_str());
        let waits_for = |wanted: &str| {
            roster.official(wanted).is_some_and(consults)
                && matches!(self.word(wanted), "available" | "busy")
        };
        let other = call.wanted.as_deref().filter(|wanted| Some(*wanted) != id);
        consults(official) && call.handed_by.as_deref() != id && !other.is_some_and(waits_for)
    }

    /// What holds after every turn.
    pub fn holds(&self, roster: &Roster, offer: TimeDelta, now: DateTime<Utc>) {
        for official in roster.officials_after(None) {
            let held = self.held_by(official.id.as_str());
            assert!(held <= 1, "{} has {held} calls", official.id);
            let busy = self.word(official.id.as_str()) == "busy";
            assert_eq!(busy, held == 1, "{} is in a call, or is not", official.id);
        }
        for (id, call) in &self.calls {
            let late = call.stage == "offered" && now - call.since >= offer;
            assert!(!late, "{id} is offered for longer than it may be");
            if call.stage != "waiting" {
                continue;
            }
            for official in roster.officials_after(None) {
                let both = self.is_free(official.id.as_str()) && self.suits(official, call, roster);
                assert!(!both, "{id} waits, and {} is free", official.id);
            }
        }
    }
}
