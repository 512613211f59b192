//! Everything that a recipient can see here, as one document to take along.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    benefits::{self, OwnBenefit},
    consents::{self, OwnConsent},
    http::{Door, inside, own},
    means::{self, OwnMeans},
    notifications::{self, Notice},
    panels::{self, OwnPanel},
    transactions::{self, OwnTransaction, PAGE},
};
use crate::{problem::Problem, terminal::openapi::Refusals};

/// The most pages of transactions in one document; the list itself goes on from there.
const MOST_PAGES: usize = 40;

/// Everything of one recipient's.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnExport {
    /// The recipient's internal id.
    recipient: String,
    made_at: String,
    /// Valid today.
    benefits: Vec<OwnBenefit>,
    means: Vec<OwnMeans>,
    /// The newest first, two thousand at most.
    transactions: Vec<OwnTransaction>,
    /// Where `/v1/me/transactions` goes on, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions_next_cursor: Option<String>,
    notifications: Vec<Notice>,
    consents: Vec<OwnConsent>,
    /// What merchants' applications show.
    panels: Vec<OwnPanel>,
}

/// Benefits, means, transactions, notices, consents and panels as one document; the audit trail tells of it.
#[utoipa::path(get, path = "/v1/me/export", tag = "me",
    operation_id = "own_export", security(("token" = [])),
    responses((status = 200, body = OwnExport), Refusals))]
pub(super) async fn whole(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let person = door.person(&headers)?;
    door.tell(&person, "me.export", "begun");
    let _one_of_few = door.exports.acquire().await.map_err(inside)?;
    let names = door.names().await?;
    let (mut transactions, mut next) =
        transactions::page(&door, &person, &names, None, PAGE).await?;
    for _ in 1..MOST_PAGES {
        let Some(before) = next else { break };
        let (page, after) = transactions::page(&door, &person, &names, Some(before), PAGE).await?;
        transactions.extend(page);
        next = after;
    }
    own(&OwnExport {
        recipient: person.id.to_string(),
        made_at: person.now.to_rfc3339_opts(SecondsFormat::Micros, true),
        benefits: benefits::all(&door, &person, &names).await?,
        means: means::all(&door, &person, &names),
        transactions,
        transactions_next_cursor: next.map(transactions::written),
        notifications: notifications::all(&door, &person, &names).await?,
        consents: consents::all(&door, &person).await?,
        panels: panels::all(&door, &person, &names).await?,
    })
}
