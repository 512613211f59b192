//! Files of banks over HTTP: read once each, and what came of them.

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use chrono::DateTime;
use connectors::{
    edge::page::{self, PageAsked},
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
};
use ingest::wire::v1::BankFileRead;
use serde::Serialize;
use utoipa::ToSchema;
use warehouse::{file, settlement::bank};

use super::{Pulling, inside, settlements::failed};
use crate::settlement;

/// What a bank's file said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// The bank's id of the message.
    message_id: String,
    /// Whether it is new; a file that was read before changes nothing.
    is_new: bool,
    /// What it said of statements.
    told: Vec<TakenStatement>,
    /// How much of it fits no statement.
    unmatched: usize,
}

/// What a bank says of a statement's payment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TakenStatement {
    /// Its number.
    statement: String,
    /// `accepted`, `rejected`, `paid` or `returned`.
    outcome: &'static str,
}

/// Reads a bank's file, `pain.002` or `camt.053`: once, whole or not at all.
#[utoipa::path(post, path = "/v1/bank-files", tag = "settlements",
    operation_id = "read_bank_file", security(("token" = [])),
    request_body(content = String, content_type = "application/xml"), params(KeyOfAnswer),
    responses((status = 200, body = Taken), Refusals))]
pub(super) async fn read(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Taken>, Problem> {
    let hash = file::checksum(&body);
    pulling.finance(&headers, "settlement.import", &hash)?;
    let file = bank::read(&body).map_err(|error| Problem::invalid(error.to_string()))?;
    let now = pulling.node.clock.now();
    let taken = settlement::take(&pulling.node, &file, &hash, now).await.map_err(failed)?;
    let is_new = taken.is_some();
    let matched = taken.unwrap_or_default();
    let told = matched
        .told
        .into_iter()
        .map(|(statement, outcome, _)| TakenStatement { statement, outcome: outcome.code() });
    Ok(Json(Taken {
        message_id: file.message_id,
        is_new,
        told: told.collect(),
        unmatched: matched.unmatched.len(),
    }))
}

/// Files of a page, unless asked otherwise.
const PAGE: usize = 100;

/// A page of the files of banks that were read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Files {
    /// The oldest first.
    items: Vec<ReadFile>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A file of a bank that was read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadFile {
    /// `pain.002` or `camt.053`.
    kind: String,
    /// The bank's id of the message.
    message_id: String,
    /// When it was read.
    #[schema(format = DateTime)]
    read_at: String,
    /// How many statements it said something of.
    told: usize,
    /// What of it fits no statement.
    unmatched: Vec<UnmatchedEntry>,
}

/// An entry of a bank's file that fits no statement.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnmatchedEntry {
    /// The reference that the bank gives.
    reference: String,
    /// `accepted`, `rejected`, `paid` or `returned`.
    outcome: String,
    /// How much, where the bank says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_cents: Option<i64>,
    /// Why it fits none.
    why: String,
}

impl From<BankFileRead> for ReadFile {
    fn from(file: BankFileRead) -> Self {
        let read_at = DateTime::from_timestamp_micros(file.read_at).unwrap_or_default();
        let unmatched = file.unmatched.into_iter().map(|entry| UnmatchedEntry {
            reference: entry.reference,
            outcome: entry.outcome,
            amount_cents: entry.amount_cents,
            why: entry.why,
        });
        Self {
            kind: file.kind,
            message_id: file.message_id,
            read_at: read_at.to_rfc3339(),
            told: file.told.len(),
            unmatched: unmatched.collect(),
        }
    }
}

/// The files of banks that were read, each with what of it fits no statement.
#[utoipa::path(get, path = "/v1/bank-files", tag = "settlements",
    operation_id = "list_bank_files", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = Files), Refusals))]
pub(super) async fn all(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    pulling.finance(&headers, "settlement.bank_files", "")?;
    let files = settlement::bank_files(&pulling.node.log).await.map_err(inside)?;
    // By their places in the stream, to which files are only added.
    let numbered = files.into_iter().enumerate().collect();
    let place = |(number, _): &(usize, BankFileRead)| format!("{number:020}");
    let (files, next_cursor) = page::cut(numbered, &asked, PAGE, place)?;
    let items = files.into_iter().map(|(_, file)| ReadFile::from(file)).collect();
    let page = Files { items, next_cursor };
    page::answer(&page, page.next_cursor.as_deref())
}
