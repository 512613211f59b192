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
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = bearer.ok_or_else(Problem::unauthenticated)?;
    tokens.verify(token.trim()).ok_or_else(Problem::unauthenticated)
}
