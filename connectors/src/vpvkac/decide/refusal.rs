//! Why the desk does not do what it is asked.

use axum::http::StatusCode;

use crate::{problem::Problem, vpvkac::call::Stage};

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing, or it is another's.
    #[error("there is no such call, or it is another's")]
    NotFound,
    /// There is no such official.
    #[error("there is no such official in the registry")]
    NoOfficial,
    /// The key was used for something else.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The call does not stand where this can be done.
    #[error("the call is {}", .0.code())]
    Stage(Stage),
    /// An official who has a call cannot be elsewhere.
    #[error("the official has a call; it has to be accepted, declined, ended or handed over first")]
    InCall,
    /// Said before, otherwise.
    #[error("it was said otherwise before")]
    SaidOtherwise,
    /// A rating long after the call.
    #[error("the call ended too long ago to be rated")]
    TooLate,
    /// Handed over to where nobody is.
    #[error("no other official of the institution consults on this service in this language")]
    Nobody,
    /// A mandate is asked for and not there.
    #[error("mandate is missing: PAK_05 needs the number of a written mandate")]
    NoMandate,
    /// Too many wait.
    #[error("more calls wait than can be served")]
    Crowded,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code, title) = match refusal {
            Refusal::NotFound | Refusal::NoOfficial => {
                (StatusCode::NOT_FOUND, "not_found", "Not found")
            }
            Refusal::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "The key was used before")
            }
            Refusal::Stage(_) => (StatusCode::CONFLICT, "wrong_state", "Not in this state"),
            Refusal::InCall => (StatusCode::CONFLICT, "in_a_call", "In a call"),
            Refusal::SaidOtherwise => (StatusCode::CONFLICT, "said_otherwise", "Said before"),
            Refusal::TooLate => (StatusCode::CONFLICT, "too_late", "Too late"),
            Refusal::Nobody | Refusal::NoMandate => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", "The request is not valid")
            }
            Refusal::Crowded => return Self::unavailable(refusal.to_string()),
        };
        Self::new(status, code, title, refusal.to_string())
    }
}
