//! Problem details for the outside (RFC 9457): a stable kind, what was wrong, and where.

use authoriser::command::Refusal;
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ingest::{document::Fault, error::LogError};
use tokio::task::JoinError;

use crate::{
    connector::Refusal as Refused,
    error::ConnectorError,
    terminal::wire::{self, Problem as Message},
};

/// The beginning of every problem's type.
pub const TYPES: &str = "urn:avis:problem:";
/// The beginning of what names the request of a problem.
const REQUESTS: &str = "urn:avis:request:";
/// The most faults of one request that are told.
const MOST_FAULTS: usize = 50;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(Box<Message>);

impl Problem {
    /// A problem of a kind. What is only not available now may be asked again in a second.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Message {
            r#type: format!("{TYPES}{code}"),
            title: title.into(),
            status: u32::from(status.as_u16()),
            detail: detail.into(),
            errors: Vec::new(),
            code: code.into(),
            retry_after_seconds: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
            instance: None,
        }))
    }

    /// The same, to be asked again after so many seconds.
    #[must_use]
    pub fn again_in(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// No token, or none that holds.
    #[must_use]
    pub fn unauthenticated() -> Self {
        let detail = "send a valid token: Authorization: Bearer …";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "No valid token", detail)
    }

    /// A token of somebody who may not do this.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// No such thing, or none that the caller may know of.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// No route.
    #[must_use]
    pub fn no_path() -> Self {
        Self::not_found("there is no such path; see /openapi.json")
    }

    /// A body that is not what it must be; each fault with its place.
    #[must_use]
    pub fn faults(faults: &[Fault]) -> Self {
        let code = faults.first().map_or("invalid_value", |fault| fault.reason.code());
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::faults_as(status, code, "The request is not valid", faults)
    }

    /// Faults of a kind; each with its place.
    #[must_use]
    pub fn faults_as(status: StatusCode, code: &str, title: &str, faults: &[Fault]) -> Self {
        let detail = match faults {
            [one] => one.to_string(),
            several => format!("{} faults; see errors", several.len()),
        };
        let mut problem = Self::new(status, code, title, detail);
        let told = faults.iter().take(MOST_FAULTS).map(|fault| wire::Fault {
            pointer: fault.path.clone(),
            detail: fault.message.clone(),
        });
        problem.0.errors = told.collect();
        problem
    }

    /// A part of the node that cannot be used now; asking again in a second may help.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "Not available now");
        Self::new(status, "not_ready", title, detail)
    }

    /// No answer in time. It may have happened, or happen yet: whoever asks again finds out.
    pub(crate) fn late() -> Self {
        let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "Not available now");
        let detail = "no answer in time; it may have happened, or happen yet: ask again, with the same \
                      key where there is one";
        Self::new(status, Refusal::Late.code(), title, detail)
    }

    /// Work that was cut off before its end.
    pub(crate) fn stopping(_: JoinError) -> Self {
        Self::unavailable("the node is stopping")
    }

    /// A parameter, or a field without a place of its own, that is not what it must be.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "invalid_value", "The request is not valid", detail)
    }

    /// A body that is no JSON.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", "The body is not JSON", detail)
    }

    /// The caller asks too often.
    #[must_use]
    pub fn too_many(seconds: u32) -> Self {
        let detail = "you ask more often than you may";
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "too_many_requests", "Too many", detail).again_in(seconds)
    }

    /// The same, of a request as the log names it.
    pub(crate) fn of(mut self, request: &str) -> Self {
        self.0.instance = Some(format!("{REQUESTS}{request}"));
        self
    }

    /// What is sent.
    pub(crate) fn body(&self) -> Body {
        Body::from(serde_json::to_vec(&*self.0).unwrap_or_default())
    }

    /// As a message of the wire.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0
    }
}

/// Why nothing was taken, or of a snapshot nobody was removed.
impl From<ConnectorError> for Problem {
    fn from(error: ConnectorError) -> Self {
        match error {
            ConnectorError::SnapshotCut { .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "snapshot_cut", "The snapshot is not whole", error.to_string())
            }
            ConnectorError::SnapshotRemoves { removed, known } => {
                let detail = format!(
                    "the snapshot would remove {removed} of {known} people, more than 1 %; what came is \
                     taken, and nobody was removed: send it again with ?yes=true if it is meant"
                );
                let status = StatusCode::CONFLICT;
                Self::new(status, "snapshot_removes", "The snapshot removes many", detail)
            }
            ConnectorError::Log(LogError::DiskFull { .. } | LogError::ReadOnly { .. }) => {
                tracing::warn!(%error, "a request is not taken");
                Refusal::NoRoom.into()
            }
            _ => {
                tracing::error!(%error, "a request failed inside");
                let detail = "the node's log says why";
                Self::unavailable(detail)
            }
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        ConnectorError::from(error).into()
    }
}

impl From<Message> for Problem {
    fn from(message: Message) -> Self {
        Self(Box::new(message))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, refused.reason.code(), "The request is not valid", refused.detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, title) = match &refusal {
            Refusal::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "The key was used before"),
            Refusal::KeyReversed => (StatusCode::CONFLICT, "The key was reversed"),
            Refusal::UnknownTerminal => (StatusCode::FORBIDDEN, "Unknown terminal"),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Refusal::State { .. } => (StatusCode::CONFLICT, "Not in this state"),
            Refusal::Refund(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Not a valid refund"),
            Refusal::NotReversible { .. } => (StatusCode::CONFLICT, "Cannot be undone"),
            Refusal::Clock { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "The clock is off"),
            Refusal::TooOld { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "Too old"),
            Refusal::Away | Refusal::NoRoom | Refusal::Busy | Refusal::Late | Refusal::Stopped => {
                (StatusCode::SERVICE_UNAVAILABLE, "Not available now")
            }
        };
        Self::new(status, refusal.code(), title, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let message = &*self.0;
        let status = u16::try_from(message.status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(self.body());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = message.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // So that `edge` can say of which request it is.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_now_says_when_to_ask_again() {
        let told =
            |problem: Problem| problem.into_response().headers().get(header::RETRY_AFTER).cloned();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let away = Problem::new(status, "no_desk", "The desk is elsewhere", "");
        assert_eq!(told(away.clone()), Some(HeaderValue::from(1_u32)));
        assert_eq!(told(away.again_in(60)), Some(HeaderValue::from(60_u32)));
        assert_eq!(told(Problem::forbidden("")), None);
    }
}
