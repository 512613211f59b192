//! A recipient's own means, by their tokens; their values are kept nowhere.

use authoriser::refresh::read;
use axum::response::Response;
use ingest::register::means::status;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    http::{Asking, Door, Person, USUAL, own_page},
    names::{Named, Names},
};
use crate::{
    edge::page::{PageAsked, cut},
    problem::Problem,
    terminal::openapi::Refusals,
};

/// A means of the recipient's.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OwnMeans {
    /// The keyed hash by which it is known here.
    token: String,
    /// `card_uid`, `qr`, `barcode`, `document`, `app_token` or `bank_card`.
    kind: &'static str,
    /// Who issued it.
    issuer: Named,
    /// The first local day on which it holds.
    valid_from: String,
    /// The last one; none where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<String>,
    /// Whether its issuer, or its holder, has blocked it.
    blocked: bool,
    /// What it is worth today: `valid`, `expired` (or not yet valid) or `blocked`.
    status: &'static str,
}

/// A page of a recipient's means.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnMeansPage {
    /// By token.
    means: Vec<OwnMeans>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The recipient's own means: cards, documents, apps.
#[utoipa::path(get, path = "/v1/me/means", tag = "me",
    operation_id = "own_means", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = OwnMeansPage), Refusals))]
pub(super) async fn list(asking: Asking<PageAsked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let names = door.names().await?;
    let all = all(&door, &person, &names);
    let (means, next_cursor) = cut(all, &query, USUAL, |of| of.token.clone())?;
    let page = OwnMeansPage { means, next_cursor };
    own_page(&page, page.next_cursor.as_deref())
}

/// All means of a person.
pub(super) fn all(door: &Door, person: &Person, names: &Names) -> Vec<OwnMeans> {
    let people = read(door.authoriser.people());
    let told = people.means_of(person.id).map(|means| OwnMeans {
        token: means.token.to_string(),
        kind: means.kind.code(),
        issuer: names.issuer(means.issuer.as_str()),
        valid_from: means.valid.from.to_string(),
        valid_to: means.valid.to.map(|to| to.to_string()),
        blocked: means.blocked,
        status: status(Some(&means), person.day).code(),
    });
    told.collect()
}
