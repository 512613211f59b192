//! A call from a centre to a remote official, and a service that a centre gives.

use chrono::{DateTime, Utc};
use domain::id::{CallId, CentreId, InstitutionId, OfficialId, ServiceId, VisitId};

/// The service for which a written mandate is asked: applying on a client's behalf.
pub const ON_BEHALF: &str = "PAK_05";
/// The outcome of a call that goes on as another one.
pub const HANDED_OVER: &str = "handed_over";

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nobody is free for it yet.
    Waiting,
    /// One official is asked.
    Offered,
    /// The official has taken it.
    Accepted,
    /// They see each other.
    Connected,
    /// It was taken, and is over.
    Ended,
    /// The client left before that, or nobody came.
    Abandoned,
}

impl Stage {
    /// Every stage; the open ones first.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Offered,
        Self::Accepted,
        Self::Connected,
        Self::Ended,
        Self::Abandoned,
    ];

    /// The word in answers.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Accepted => "accepted",
            Self::Connected => "connected",
            Self::Ended => "ended",
            Self::Abandoned => "abandoned",
        }
    }

    /// The stage of a word.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.code() == code)
    }

    /// Whether somebody still waits or talks.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Ended | Self::Abandoned)
    }

    /// Whether an official has taken it and it is not over.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Accepted | Self::Connected)
    }
}

/// Which officials a call needs: of this institution, for this service, in this language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Matter {
    /// The institution.
    pub institution: InstitutionId,
    /// The service.
    pub service: ServiceId,
    /// The language (ISO 639-1).
    pub language: String,
}

/// What was told when a call was asked for; asked again with the same key, it is told again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// To whom it was offered; none where it had to wait.
    pub offered_to: Option<OfficialId>,
    /// How many waited, this call included; 0 where it was offered.
    pub position: u32,
    /// The wait expected in seconds; none where nobody was on duty.
    pub expected_wait_seconds: Option<i64>,
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its identifier.
    pub id: CallId,
    /// The call it began as; hand-overs go on in the same room.
    pub first: CallId,
    /// The call that was handed over into this one.
    pub continues: Option<CallId>,
    /// The call that this one was handed over into.
    pub continued_by: Option<CallId>,
    /// Who handed it over, and is not offered it again.
    pub handed_by: Option<OfficialId>,
    /// Its place among those who wait: the lower is served first.
    pub place: u64,
    /// The centre that asks; its specialist is the moderator.
    pub centre: CentreId,
    /// The specialist, as a keyed hash.
    pub specialist: Option<String>,
    /// Whom it needs.
    pub matter: Matter,
    /// The official asked for by name: waited for while at work.
    pub wanted: Option<OfficialId>,
    /// The number of the written mandate.
    pub mandate: Option<String>,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whom it is offered to, or who took it.
    pub official: Option<OfficialId>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When they saw each other.
    pub connected_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// When anything was last told of it.
    pub touched_at: DateTime<Utc>,
    /// How it was over, where that is not plain.
    pub outcome: Option<String>,
    /// Whether the client was helped.
    pub resolved: Option<bool>,
    /// The client's rating, 1 to 5.
    pub rating: Option<u32>,
    /// What was told at first.
    pub told: Told,
    /// The hash of caller and idempotency key; 0 where it was handed over.
    pub key: u128,
    /// The hash of what was asked under that key.
    pub body: Vec<u8>,
}

/// A service that a centre gives to somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// Its identifier.
    pub id: VisitId,
    /// The centre.
    pub centre: CentreId,
    /// The specialist, as a keyed hash.
    pub specialist: Option<String>,
    /// The service.
    pub service: ServiceId,
    /// By which way the client came.
    pub channel: String,
    /// The number of the written mandate.
    pub mandate: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was completed, and with which outcome.
    pub completed: Option<(DateTime<Utc>, String)>,
    /// The hash of caller and idempotency key.
    pub key: u128,
    /// The hash of what was asked under that key.
    pub body: Vec<u8>,
}
