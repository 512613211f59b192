//! What was refused, while the node runs: listed, translated again, dropped. What came is told to nobody.

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use chrono::SecondsFormat;
use connectors::{
    edge::page::{self, PageAsked},
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
};
use domain::id::RecordId;
use ingest::dead_letter::{Open, listed};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::{Pulling, deed, inside};
use crate::dead_letters::{self, Replayed};

/// Letters of a page, unless asked otherwise, and that are dealt with at once.
const PAGE: usize = 200;
const AT_ONCE: usize = 1_000;
/// The longest note, in bytes.
const LONGEST_NOTE: usize = 512;
/// Whoever looks reads the whole stream of what was refused.
static TURN: Semaphore = Semaphore::const_new(1);

/// Which of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Of this connector: `terminal`, `issuer`, `dagr`, `vpvkac`, `portal` or `source`.
    connector: Option<String>,
    /// Refused for this reason.
    reason: Option<String>,
}

/// Something that was refused and not dealt with. What came is kept sealed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterTold {
    /// Its id.
    pub id: String,
    /// Whose it was.
    pub connector: String,
    /// Why it was refused, as a word.
    pub reason: String,
    /// What was wrong and where, never the value.
    pub detail: String,
    /// By which way it came: a route, or a file's name.
    pub origin: String,
    /// Its line, or its place in a batch.
    pub line: u64,
    /// When it was refused.
    pub refused_at: String,
    /// How long it was.
    pub payload_bytes: u64,
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetterPage {
    /// The oldest first.
    letters: Vec<DeadLetterTold>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Which of them are meant: by their ids, or all of a connector, of a reason, or of both.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    /// Their ids.
    #[serde(default)]
    ids: Vec<String>,
    /// All of this connector.
    connector: Option<String>,
    /// All of this reason.
    reason: Option<String>,
    /// Why they are dropped; kept with them.
    #[schema(max_length = 512)]
    note: Option<String>,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DealtWith {
    /// How many are dealt with.
    pub done: usize,
    /// Those that stay, and why.
    pub left: Vec<StaysRefused>,
    /// Whether there are more of them: a thousand are dealt with at once.
    pub more: bool,
}

/// One that stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StaysRefused {
    /// Its id.
    pub id: String,
    /// What is wrong with it.
    pub why: String,
}

impl DeadLetterTold {
    fn of(open: &Open) -> Self {
        let letter = &open.letter;
        Self {
            id: open.id.to_string(),
            connector: letter.connector.clone(),
            reason: letter.reason.clone(),
            detail: letter.detail.clone(),
            origin: letter.origin.clone(),
            line: letter.line,
            refused_at: open.recorded_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            payload_bytes: letter.payload_bytes,
        }
    }
}

/// What was refused and nobody has dealt with, the oldest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "operation",
    operation_id = "list_dead_letters", security(("token" = [])),
    params(Listing, PageAsked), responses((status = 200, body = DeadLetterPage), Refusals))]
pub(super) async fn list(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Query(listing): Query<Listing>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    pulling.watcher(&headers)?;
    let size = asked.size(PAGE)?;
    let after = match asked.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let place = cursor.split_once('.').and_then(|(partition, offset)| {
                Some((partition.parse::<u32>().ok()?, offset.parse::<u64>().ok()?))
            });
            Some(place.ok_or_else(|| Problem::invalid("cursor is none that a page said"))?)
        }
    };
    let place = |open: &Open| (open.position.partition, open.position.offset);
    let mut letters = pulling.letters(&listing.connector, &listing.reason).await?;
    letters.retain(|open| after.is_none_or(|after| place(open) > after));
    let last = letters.get(size - 1).filter(|_| letters.len() > size).map(place);
    let next_cursor = last.map(|(partition, offset)| format!("{partition}.{offset}"));
    let letters = letters.iter().take(size).map(DeadLetterTold::of).collect();
    let page = DeadLetterPage { letters, next_cursor };
    page::answer(&page, page.next_cursor.as_deref())
}

/// Translates letters again: what is taken now is on its stream, what is still wrong stays.
#[utoipa::path(post, path = "/v1/dead-letters:replay", tag = "operation",
    operation_id = "replay_dead_letters", security(("token" = [])),
    request_body = Chosen, params(KeyOfAnswer),
    responses((status = 200, body = DealtWith), Refusals))]
pub(super) async fn replay(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<DealtWith>, Problem> {
    let identity = pulling.watcher(&headers)?;
    let (letters, more) = pulling.chosen(&chosen(&body)?).await?;
    let log = &pulling.node.log;
    let mut whole = Vec::with_capacity(letters.len());
    for open in letters {
        whole.push(open.again(log).await.map_err(inside)?);
    }
    let Replayed { taken, left } =
        dead_letters::replay(&pulling.node, whole).await.map_err(inside)?;
    pulling.auditor.tell(deed(&identity, "dead-letters.replay", &format!("{taken} letters")));
    let left = left.into_iter().map(|of| StaysRefused { id: of.id.to_string(), why: of.why });
    Ok(Json(DealtWith { done: taken, left: left.collect(), more }))
}

/// Drops letters that are not wanted.
#[utoipa::path(post, path = "/v1/dead-letters:drop", tag = "operation",
    operation_id = "drop_dead_letters", security(("token" = [])),
    request_body = Chosen, params(KeyOfAnswer),
    responses((status = 200, body = DealtWith), Refusals))]
pub(super) async fn drop(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<DealtWith>, Problem> {
    let identity = pulling.watcher(&headers)?;
    let which = chosen(&body)?;
    let (letters, more) = pulling.chosen(&which).await?;
    let note = which.note.as_deref().unwrap_or_default();
    dead_letters::drop(&pulling.node, &letters, note).await.map_err(inside)?;
    let done = letters.len();
    pulling.auditor.tell(deed(&identity, "dead-letters.drop", &format!("{done} letters")));
    Ok(Json(DealtWith { done, left: Vec::new(), more }))
}

fn chosen(body: &[u8]) -> Result<Chosen, Problem> {
    let which: Chosen = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::invalid(error.to_string()),
        _ => Problem::malformed(error.to_string()),
    })?;
    if which.ids.is_empty() && which.connector.is_none() && which.reason.is_none() {
        return Err(Problem::invalid("say which: ids, or a connector, or a reason"));
    }
    if which.note.as_ref().is_some_and(|note| note.len() > LONGEST_NOTE) {
        return Err(Problem::invalid(format!("/note has at most {LONGEST_NOTE} bytes")));
    }
    Ok(which)
}

impl Pulling {
    async fn letters(
        &self,
        connector: &Option<String>,
        reason: &Option<String>,
    ) -> Result<Vec<Open>, Problem> {
        let _turn = TURN.acquire().await;
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        let mut letters = listed(&self.node.log).await.map_err(inside)?;
        letters.retain(|open| {
            is(connector, &open.letter.connector) && is(reason, &open.letter.reason)
        });
        Ok(letters)
    }

    /// Those that are meant, and whether there are more of them.
    async fn chosen(&self, which: &Chosen) -> Result<(Vec<Open>, bool), Problem> {
        let mut letters = self.letters(&which.connector, &which.reason).await?;
        if !which.ids.is_empty() {
            let wanted: Vec<RecordId> =
                which.ids.iter().filter_map(|id| RecordId::parse(id)).collect();
            letters.retain(|open| wanted.contains(&open.id));
            if letters.len() < which.ids.len() {
                return Err(Problem::not_found("not all of these are there to be dealt with"));
            }
        }
        let more = letters.len() > AT_ONCE;
        letters.truncate(AT_ONCE);
        Ok((letters, more))
    }
}
