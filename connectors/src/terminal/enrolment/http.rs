//! Enrolment over HTTP: a merchant asks for a code, the terminal brings it with its key.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{id::TerminalId, registry::Kind};
use ingest::vault::Vault;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{Code, Enrolled, Key, LIST, MOST_KEYS, is_proved};
use crate::{
    access::{self, Identity, Role, Tokens},
    json,
    problem::Problem,
    registry::{
        registrar::{Beside, Now, Registrar, none},
        rights,
    },
    terminal::openapi::Refusals,
};

/// How long a code is taken.
const CODE_HOURS: TimeDelta = TimeDelta::hours(24);
/// The letters of a code: those that nobody mistakes for another.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// The letters of a code: eighty bits.
const CODE_LETTERS: usize = 16;
/// Revoked keys of a terminal that are remembered.
const REMEMBERED: usize = 20;

/// What the routes work over.
#[derive(Clone, Debug)]
pub struct Door {
    /// Knows the terminals, and keeps their keys.
    pub registrar: Registrar,
    /// Whose tokens hold.
    pub tokens: Tokens,
    /// For the keyed hashes of codes.
    pub vault: Vault,
}

/// The description of the routes.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(give_code, enrol, list, revoke),
    tags((name = "terminals", description = "Terminals' own keys"))
)]
pub struct Description;

/// The routes.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/terminals/{id}/enrolment", put(give_code))
        .route("/v1/terminals/{id}/keys", get(list))
        .route("/v1/terminals/{id}/keys/{key}", put(enrol).delete(revoke))
        .with_state(door)
}

/// A code for one enrolment.
#[derive(Debug, Serialize, ToSchema)]
struct Given {
    /// To be entered at the terminal.
    code: String,
    /// Until when it is taken.
    #[schema(value_type = String, format = DateTime)]
    expires_at: DateTime<Utc>,
}

/// A new key, and the right to it.
#[derive(Debug, ToSchema)]
struct NewKey {
    /// The public key (Ed25519), base64url without padding.
    public_key: String,
    /// The new key's signature over `avis terminal key\n<terminal>\n<key>\n<public_key>\n`.
    proof: String,
    /// The code; without one the terminal's own token, signed with its present key.
    code: Option<String>,
}

/// The keys of a terminal.
#[derive(Debug, Serialize, ToSchema)]
struct Keys {
    /// The oldest first.
    items: Vec<Key>,
}

impl Door {
    /// Whoever may give a terminal keys and take them: its merchant, and administrators; where `itself` is
    /// said the terminal, too.
    fn keeper(
        &self,
        headers: &HeaderMap,
        now: &Now<'_>,
        id: &str,
        itself: bool,
    ) -> Result<Identity, Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
        let terminal = find(Kind::Terminal, id);
        let own = match identity.role {
            Role::Administrator => true,
            Role::Merchant => terminal
                .is_some_and(|terminal| rights::is_own(&identity, Kind::Terminal, terminal, &find)),
            Role::Terminal if itself => *identity.subject == *id,
            _ => return Err(Problem::forbidden("this is for merchants and administrators")),
        };
        if own && terminal.is_some() { Ok(identity) } else { Err(none(Kind::Terminal, id)) }
    }

    fn hash(&self, terminal: &str, code: &str) -> String {
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let text = format!("{terminal}\n{}", plain.to_ascii_uppercase());
        format!("{:032x}", self.vault.hash("terminal enrolment", &text))
    }
}

fn known(now: &Now<'_>, id: &str) -> Enrolled {
    let merchant = now.standing().merchant_of(id).unwrap_or_default().to_owned();
    let fresh = Enrolled { merchant, ..Enrolled::default() };
    now.standing().enrolled(id).cloned().unwrap_or(fresh)
}

async fn keep(
    now: &mut Now<'_>,
    by: &Identity,
    id: &str,
    enrolled: &Enrolled,
) -> Result<(), Problem> {
    let document = serde_json::to_string(enrolled).unwrap_or_default();
    now.commit(by, &[], Some(Beside { list: LIST, id, document })).await
}

/// A code with which the terminal brings its first key, or its next one; the code before it is void.
#[utoipa::path(put, path = "/v1/terminals/{id}/enrolment", tag = "terminals",
    operation_id = "give_enrolment_code", security(("token" = [])),
    params(("id" = String, Path, description = "The terminal")),
    responses((status = 201, description = "The code; it is told this once", body = Given), Refusals))]
async fn give_code(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mut now = door.registrar.now().await?;
    let identity = door.keeper(&headers, &now, &id, false)?;
    let mut bytes = [0_u8; CODE_LETTERS];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| Problem::unavailable("the operating system gives no randomness"))?;
    let letters: Vec<char> =
        bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let words: Vec<String> = letters.chunks(4).map(|four| four.iter().collect()).collect();
    let code = words.join("-");
    let expires_at = door.registrar.instant() + CODE_HOURS;
    let mut enrolled = known(&now, &id);
    enrolled.code = Some(Code { hash: door.hash(&id, &code), expires: expires_at });
    keep(&mut now, &identity, &id, &enrolled).await?;
    door.registrar.tell(&identity, "terminal.code", id);
    Ok((StatusCode::CREATED, Json(Given { code, expires_at })).into_response())
}

fn new_key(body: &[u8]) -> Result<NewKey, Problem> {
    json::read(body, |fields| {
        let text = |name| fields.required(name).and_then(|at| at.short_text(128));
        let (public_key, proof) = (text("public_key"), text("proof"));
        let code = fields.short_text("code", 64);
        Some(NewKey { public_key: public_key?.to_owned(), proof: proof?.to_owned(), code })
    })
}

/// Enrols a key: the first with a code, each next one with a code or under the one before it.
#[utoipa::path(put, path = "/v1/terminals/{id}/keys/{key}", tag = "terminals",
    operation_id = "enrol_terminal_key",
    request_body = NewKey, security((), ("token" = [])),
    params(("id" = String, Path, description = "The terminal"), ("key" = String, Path, description = "A name for the key")),
    responses((status = 200, description = "It holds already", body = Key),
              (status = 201, description = "It holds", body = Key), Refusals))]
async fn enrol(
    State(door): State<Door>,
    headers: HeaderMap,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let NewKey { public_key, proof, code } = new_key(&body)?;
    TerminalId::new(&name).map_err(|error| Problem::invalid(format!("the key's name {error}")))?;
    if !is_proved(&id, &name, &public_key, &proof) {
        let detail = "/proof is not the new key's signature over the text that it signs";
        return Err(Problem::invalid(detail));
    }
    let mut now = door.registrar.now().await?;
    let mut enrolled = known(&now, &id);
    // Whoever has the key may ask whether it holds: the answer may have been lost, and the code with it.
    if let Some(same) =
        enrolled.holding().find(|key| key.id == name && key.public_key == public_key)
    {
        return Ok(Json(same.clone()).into_response());
    }
    let at = door.registrar.instant();
    let by_code = code.as_deref().is_some_and(|code| {
        let hash = door.hash(&id, code);
        enrolled.code.as_ref().is_some_and(|known| known.hash == hash && known.expires > at)
    });
    let identity = match by_code {
        true => {
            Identity { role: Role::Terminal, organisation: "".into(), subject: id.as_str().into() }
        }
        false if code.is_some() => {
            let (status, title) = (StatusCode::UNAUTHORIZED, "No valid code");
            let detail = "the code is not the terminal's newest, or its day is over";
            return Err(Problem::new(status, "unauthenticated", title, detail));
        }
        false => {
            let identity = access::identity(&door.tokens, &headers)?;
            // A token that somebody issued is no key: whoever has it would outlast a revocation.
            if !access::is_signed_by(&door.tokens, &id, &headers) {
                let detail = "a key is enrolled with a code, or under the terminal's present key";
                return Err(Problem::forbidden(detail));
            }
            identity
        }
    };
    if now.standing().entry(Kind::Terminal, &id).is_none() {
        return Err(none(Kind::Terminal, &id));
    }
    if enrolled.keys.iter().any(|key| key.id == name) {
        let detail = "there was a key of this name";
        return Err(Problem::new(StatusCode::CONFLICT, "key_taken", "Not this name", detail));
    }
    let key = Key { id: name, public_key, since: at, revoked_at: None };
    // The one in use and the next; what was before them goes.
    let excess = (enrolled.holding().count() + 1).saturating_sub(MOST_KEYS);
    let holding = enrolled.keys.iter_mut().filter(|key| key.revoked_at.is_none());
    holding.take(excess).for_each(|key| key.revoked_at = Some(at));
    enrolled.keys.push(key.clone());
    let forgotten = enrolled.keys.len().saturating_sub(REMEMBERED);
    enrolled.keys.drain(..forgotten);
    if by_code {
        enrolled.code = None;
    }
    keep(&mut now, &identity, &id, &enrolled).await?;
    door.registrar.tell(&identity, "terminal.key", id);
    Ok((StatusCode::CREATED, Json(key)).into_response())
}

/// The keys of a terminal.
#[utoipa::path(get, path = "/v1/terminals/{id}/keys", tag = "terminals",
    operation_id = "list_terminal_keys", security(("token" = [])),
    params(("id" = String, Path, description = "The terminal")),
    responses((status = 200, description = "Its keys", body = Keys), Refusals))]
async fn list(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Keys>, Problem> {
    let now = door.registrar.now().await?;
    door.keeper(&headers, &now, &id, true)?;
    Ok(Json(Keys { items: known(&now, &id).keys }))
}

/// Revokes a key: from the next request on it vouches for nothing.
#[utoipa::path(delete, path = "/v1/terminals/{id}/keys/{key}", tag = "terminals",
    operation_id = "revoke_terminal_key", security(("token" = [])),
    params(("id" = String, Path, description = "The terminal"), ("key" = String, Path, description = "The key's name")),
    responses((status = 204, description = "It holds no more"), Refusals))]
async fn revoke(
    State(door): State<Door>,
    headers: HeaderMap,
    Path((id, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let mut now = door.registrar.now().await?;
    let identity = door.keeper(&headers, &now, &id, true)?;
    let mut enrolled = known(&now, &id);
    let at = door.registrar.instant();
    let key = enrolled.keys.iter_mut().find(|key| key.id == name);
    let key = key.ok_or_else(|| Problem::not_found("this terminal has no such key"))?;
    if key.revoked_at.is_none() {
        key.revoked_at = Some(at);
        keep(&mut now, &identity, &id, &enrolled).await?;
        door.registrar.tell(&identity, "terminal.revoke", id);
    }
    Ok(StatusCode::NO_CONTENT)
}
