//! Who may ask: bearer tokens, their roles, and the organisation they act for.

pub mod oidc;
pub mod terminal_key;
pub mod token;

use axum::http::{HeaderMap, header::AUTHORIZATION};

pub use terminal_key::TerminalKeys;
pub use token::{Identity, Role, Tokens};

use crate::problem::Problem;

/// Whoever a request's bearer token names.
///
/// # Errors
/// 401 where there is no token, or it does not hold.
pub fn identity(tokens: &Tokens, headers: &HeaderMap) -> Result<Identity, Problem> {
    let token = bearer(headers).ok_or_else(Problem::unauthenticated)?;
    tokens.verify(token).ok_or_else(|| match tokens.awaits_issuer() {
        true => Problem::unavailable("the issuer's keys have not been fetched yet"),
        false => Problem::unauthenticated(),
    })
}

/// Whether a terminal has signed its request with a key of its own.
pub(crate) fn is_signed_by(tokens: &Tokens, terminal: &str, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| tokens.is_signed_by(terminal, token))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, token) =
        value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))?;
    Some(token.trim())
}
