//! What can be asked of the authoriser, and why it may refuse.

use domain::{
    authorisation::Status,
    basket::Request,
    id::{AuthorisationId, IdempotencyKey, TerminalId},
    refund::{RefundError, ReturnedLine},
};

use crate::claims::BodyHash;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Decide a basket.
    Decide(Box<Request>),
    /// Change what was decided.
    Change(Change),
    /// Undo what a key did; nothing came under it, so it is blocked.
    Block(Caller, IdempotencyKey),
    /// Tell where an authorisation stands.
    LookUp(AuthorisationId),
}

/// Who asks, under which of its keys.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its name of this request.
    pub key: IdempotencyKey,
    /// What the request says, as a hash.
    pub body: BodyHash,
}

/// A change of an authorisation.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who asks.
    pub caller: Caller,
    /// The authorisation.
    pub id: AuthorisationId,
    /// What is asked for.
    pub what: What,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum What {
    /// Make a reservation final, whole.
    Capture {
        /// The receipt's number.
        receipt: Option<String>,
    },
    /// Cancel before capture.
    Void,
    /// Return some of it after capture.
    Refund(Vec<ReturnedLine>),
    /// Undo what the key of this name did, whatever it was.
    Reverse(IdempotencyKey),
}

/// Why a request is refused. Nothing has changed, and the key is free.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key was used for something else.
    #[error("the idempotency key was used before for another request")]
    KeyReused,
    /// The key was reversed before anything came under it.
    #[error("the idempotency key was reversed; nothing is done under it any more")]
    KeyReversed,
    /// The registry has no such terminal.
    #[error("the registry has no such terminal")]
    UnknownTerminal,
    /// There is no such authorisation, or it is another merchant's.
    #[error("there is no such authorisation")]
    NotFound,
    /// It is not in a state that allows it.
    #[error("the authorisation is {}", status.code().replace('_', " "))]
    State {
        /// Where it stands.
        status: Status,
    },
    /// What came back is not what was bought.
    #[error("{0}")]
    Refund(RefundError),
    /// What the key did cannot be undone.
    #[error("what the key did cannot be undone: it was a {what}")]
    NotReversible {
        /// What it did.
        what: &'static str,
    },
    /// The transaction is not within minutes of now.
    #[error("the transaction is {} from now; the terminal's clock is wrong", minutes(*.seconds))]
    Clock {
        /// By how many seconds.
        seconds: i64,
    },
    /// It happened longer ago than keys are kept.
    #[error("the transaction is older than {days} days")]
    TooOld {
        /// The horizon.
        days: u32,
    },
    /// The cache cannot answer now; nothing with a limit is approved meanwhile.
    #[error("limits cannot be looked up now")]
    Away,
    /// The disk takes nothing now; nothing is decided meanwhile.
    #[error("nothing can be recorded now")]
    NoRoom,
    /// More waits than is taken.
    #[error("too much is waiting to be decided")]
    Busy,
    /// No answer in time. It may have happened, or happen yet: the same key tells.
    #[error("no answer in time; ask again with the same key")]
    Late,
    /// The authoriser is stopping or has failed.
    #[error("the authoriser is stopping")]
    Stopped,
}

fn minutes(seconds: i64) -> String {
    format!("{} minutes", seconds / 60)
}

impl Refusal {
    /// Every code.
    pub const CODES: [&'static str; 14] = [
        "key_reused",
        "key_reversed",
        "unknown_terminal",
        "not_found",
        "wrong_state",
        "invalid_refund",
        "not_reversible",
        "clock_off",
        "too_old",
        "limits_away",
        "no_room",
        "busy",
        "late",
        "stopping",
    ];

    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyReused => "key_reused",
            Self::KeyReversed => "key_reversed",
            Self::UnknownTerminal => "unknown_terminal",
            Self::NotFound => "not_found",
            Self::State { .. } => "wrong_state",
            Self::Refund(_) => "invalid_refund",
            Self::NotReversible { .. } => "not_reversible",
            Self::Clock { .. } => "clock_off",
            Self::TooOld { .. } => "too_old",
            Self::Away => "limits_away",
            Self::NoRoom => "no_room",
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Stopped => "stopping",
        }
    }
}
