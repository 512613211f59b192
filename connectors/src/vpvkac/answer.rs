//! What is answered about officials, calls and services.

use chrono::{DateTime, Utc};
use domain::{id::OfficialId, service_centre::Official};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    board::Board,
    call::{Call, Matter, Stage, Visit},
    decide::{Rules, Wait},
    roster::Roster,
};

fn said(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// An official on the board.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OfficialState {
    /// The official.
    official: String,
    /// The institution.
    institution: String,
    /// What the official consults on.
    services: Vec<String>,
    /// In which languages.
    languages: Vec<String>,
    /// `available`, `busy`, `away` or `offline`.
    state: &'static str,
    /// Since when; none of whom nothing was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl OfficialState {
    /// How an official of the registry stands.
    #[must_use]
    pub fn of(official: &Official, board: &Board) -> Self {
        Self {
            official: official.id.to_string(),
            institution: official.institution.to_string(),
            services: official.services.iter().map(ToString::to_string).collect(),
            languages: official.languages.clone(),
            state: board.availability(&official.id).code(),
            since: board.standing_of(&official.id).map(|standing| said(standing.since)),
        }
    }
}

/// A page of officials.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfficialPage {
    /// The officials, by id.
    pub(super) officials: Vec<OfficialState>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// Open calls about one matter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Counted {
    /// The institution.
    institution: String,
    /// The service.
    service: String,
    /// The language.
    language: String,
    /// Nobody is free for them yet.
    waiting: u32,
    /// An official is asked.
    offered: u32,
    /// An official has taken them.
    accepted: u32,
    /// They see each other.
    connected: u32,
}

impl Counted {
    /// The open calls about a matter.
    #[must_use]
    pub fn of(matter: &Matter, board: &Board) -> Self {
        let [waiting, offered, accepted, connected] =
            board.counts().get(matter).copied().unwrap_or_default();
        Self {
            institution: matter.institution.to_string(),
            service: matter.service.to_string(),
            language: matter.language.clone(),
            waiting,
            offered,
            accepted,
            connected,
        }
    }
}

/// The data of a message of the board: all of it in a `snapshot`, what is new in `changes`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BoardState {
    /// The instant of the newest change.
    pub(super) as_of: String,
    /// Officials.
    pub(super) officials: Vec<OfficialState>,
    /// Open calls; where all numbers are 0 there are none any more.
    pub(super) calls: Vec<Counted>,
}

impl BoardState {
    /// The whole board.
    #[must_use]
    pub fn whole(board: &Board, roster: &Roster) -> Self {
        let officials = roster.officials_after(None);
        Self {
            as_of: said(board.newest()),
            officials: officials.map(|one| OfficialState::of(one, board)).collect(),
            calls: board.counts().keys().map(|matter| Counted::of(matter, board)).collect(),
        }
    }

    /// Some officials and some calls.
    pub fn some<'a>(
        officials: impl Iterator<Item = &'a Official>,
        matters: impl Iterator<Item = &'a Matter>,
        board: &Board,
    ) -> Self {
        Self {
            as_of: said(board.newest()),
            officials: officials.map(|one| OfficialState::of(one, board)).collect(),
            calls: matters.map(|matter| Counted::of(matter, board)).collect(),
        }
    }
}

/// What a centre is told that asks for a call; under the same key always the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Requested {
    /// The call.
    call: String,
    /// `offered` to an official, or `waiting` until one is free.
    state: &'static str,
    /// To whom it is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    official: Option<String>,
    /// Where client, specialist and official meet.
    address: String,
    /// How many wait for the same officials, this call included.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    /// About how long it will wait; none where nobody is on duty.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_wait_seconds: Option<i64>,
    /// The call that it goes on with, after a hand-over.
    #[serde(skip_serializing_if = "Option::is_none")]
    continues: Option<String>,
}

impl Requested {
    /// What was told of a call at first.
    #[must_use]
    pub fn of(call: &Call, address: String) -> Self {
        let told = &call.told;
        let offered = told.offered_to.is_some();
        Self {
            call: call.id.to_string(),
            state: if offered { Stage::Offered.code() } else { Stage::Waiting.code() },
            official: told.offered_to.as_ref().map(ToString::to_string),
            address,
            position: (!offered).then_some(told.position),
            expected_wait_seconds: if offered { Some(0) } else { told.expected_wait_seconds },
            continues: call.continues.map(|id| id.to_string()),
        }
    }
}

/// A call as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallState {
    /// The call.
    call: String,
    /// `waiting`, `offered`, `accepted`, `connected`, `ended` or `abandoned`.
    state: &'static str,
    /// Since when.
    since: String,
    /// The centre.
    centre: String,
    /// The institution.
    institution: String,
    /// The service.
    service: String,
    /// The language.
    language: String,
    /// Whom it is offered to, or who took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    official: Option<String>,
    /// Where they meet; for those whose call it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The number of the written mandate; for those whose call it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    mandate: Option<String>,
    /// While it waits: how many wait for the same officials, this call included; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    /// While it waits: about how long still; none where nobody is on duty; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_wait_seconds: Option<i64>,
    /// When it was asked for.
    requested_at: String,
    /// When they saw each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<String>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// `handed_over`, or `expired` where everybody forgot it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Whether the client was helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<bool>,
    /// The client's rating.
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<u32>,
    /// The call that it goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    continues: Option<String>,
    /// The call that goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    continued_by: Option<String>,
}

impl CallState {
    /// A call as whoever watches sees it.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        Self {
            call: call.id.to_string(),
            state: call.stage.code(),
            since: said(call.since),
            centre: call.centre.to_string(),
            institution: call.matter.institution.to_string(),
            service: call.matter.service.to_string(),
            language: call.matter.language.clone(),
            official: call.official.as_ref().map(OfficialId::to_string),
            address: None,
            mandate: None,
            position: None,
            expected_wait_seconds: None,
            requested_at: said(call.requested_at),
            connected_at: call.connected_at.map(said),
            ended_at: call.ended_at.map(said),
            outcome: call.outcome.clone(),
            resolved: call.resolved,
            rating: call.rating,
            continues: call.continues.map(|id| id.to_string()),
            continued_by: call.continued_by.map(|id| id.to_string()),
        }
    }

    /// The same with its wait, where it waits. Looks at all who wait, so not for lists.
    #[must_use]
    pub fn with_wait(self, call: &Call, board: &Board, roster: &Roster, rules: Rules) -> Self {
        if call.stage != Stage::Waiting {
            return self;
        }
        let wait = Wait::of(call, board, roster, rules);
        Self { position: Some(wait.position), expected_wait_seconds: wait.seconds, ..self }
    }

    /// The same for those whose call it is.
    #[must_use]
    pub fn with_address(self, call: &Call, address: String) -> Self {
        Self { address: Some(address), mandate: call.mandate.clone(), ..self }
    }
}

/// A page of calls.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallPage {
    /// The calls, the newest first.
    pub(super) calls: Vec<CallState>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// A service that a centre gives.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VisitState {
    /// Its id, by which it is completed.
    visit: String,
    /// `started` or `completed`.
    state: &'static str,
    /// The centre.
    centre: String,
    /// The service.
    service: String,
    /// By which way the client came.
    channel: String,
    /// When it began.
    started_at: String,
    /// When it was completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    /// With which outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl VisitState {
    /// A service as it began: under the same key always the same.
    #[must_use]
    pub fn started(visit: &Visit) -> Self {
        Self {
            visit: visit.id.to_string(),
            state: "started",
            centre: visit.centre.to_string(),
            service: visit.service.to_string(),
            channel: visit.channel.clone(),
            started_at: said(visit.started_at),
            completed_at: None,
            outcome: None,
        }
    }

    /// A service as it stands.
    #[must_use]
    pub fn of(visit: &Visit) -> Self {
        let started = Self::started(visit);
        match &visit.completed {
            None => started,
            Some((at, outcome)) => Self {
                state: "completed",
                completed_at: Some(said(*at)),
                outcome: Some(outcome.clone()),
                ..started
            },
        }
    }
}
