//! What a node proves of itself while it serves: that the books balance, and that what it keeps agrees.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use connectors::{problem::Problem, terminal::openapi::Refusals};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Pulling, deed, reading, settlements::failed};
use crate::{
    background::aside,
    progress::Progress,
    settlement::{self, Proof},
    verify::{self, Findings},
};

/// Differences that are named; those beyond are counted.
const NAMED: usize = 1_000;

/// Whether statements are what the stream adds up to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BooksProved {
    /// Whether they are, to the cent.
    pub balance: bool,
    /// Statements compared, drafts among them.
    pub statements: usize,
    /// What the grantors owe in all.
    pub owed_cents: i64,
    /// The cents by which the books differ, each way added.
    pub difference_cents: i64,
    /// Each statement that differs, and how.
    pub differences: Vec<String>,
    /// How many more there are.
    pub not_named: usize,
}

impl From<Proof> for BooksProved {
    fn from(proof: Proof) -> Self {
        let mut differences = proof.lines();
        let not_named = differences.len().saturating_sub(NAMED);
        differences.truncate(NAMED);
        Self {
            balance: differences.is_empty(),
            statements: proof.statements,
            owed_cents: proof.owed_cents,
            difference_cents: proof.difference_cents(),
            differences,
            not_named,
        }
    }
}

/// Proves by an independent path that statements equal the stream, up to where it ends now, and names any
/// cent that does not. It reads the whole stream, for one caller at a time.
#[utoipa::path(get, path = "/v1/settlements:check", tag = "settlements",
    operation_id = "check_books", security(("token" = [])),
    responses((status = 200, body = BooksProved), Refusals))]
pub(super) async fn books(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
) -> Result<Json<BooksProved>, Problem> {
    pulling.finance(&headers, "settlement.check", "")?;
    let turn = reading()?;
    let node = Arc::clone(&pulling.node);
    let proof = aside("avis-prove", move || async move {
        let _turn = turn;
        settlement::prove_now(&node).await
    });
    Ok(Json(proof.await.map_err(failed)?.into()))
}

/// Compares streams, tables, statements, payment orders, trail and keys, each table up to where it has
/// read its stream, and names what drifts. The index and counters in Redis, which move meanwhile, are left
/// out. It reads all streams and tables, for one caller at a time.
#[utoipa::path(get, path = "/v1/verification", tag = "operation",
    operation_id = "verify_node", security(("token" = [])),
    responses((status = 200, body = Findings), Refusals))]
pub(super) async fn stores(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
) -> Result<Json<Findings>, Problem> {
    let identity = pulling.watcher(&headers)?;
    let turn = reading()?;
    pulling.auditor.tell(deed(&identity, "verify", ""));
    let node = Arc::clone(&pulling.node);
    let findings = aside("avis-verify", move || async move {
        let (_turn, quiet) = (turn, Progress::new(true));
        Box::pin(verify::all(&node, verify::Of::Running, &quiet)).await
    });
    Ok(Json(findings.await.map_err(super::inside)?))
}
