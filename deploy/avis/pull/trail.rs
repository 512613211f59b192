//! The proof that nobody rewrote the audit trail, asked of a node that serves.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use connectors::{problem::Problem, terminal::openapi::Refusals};
use ingest::audit::Checkpoint;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Pulling, deed, inside, reading};
use crate::{
    audit::{self, TrailProved},
    background::aside,
    failure::Failure,
};

/// By what the trail is proved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailAsked {
    /// Checkpoints that were kept elsewhere; without them the node's own.
    #[schema(value_type = Option<Vec<Object>>)]
    checkpoints: Option<Vec<Checkpoint>>,
    /// The public key, in base64; without it the node's own.
    key: Option<String>,
}

/// Proves that the trail is what it was at every checkpoint. It reads the whole trail, for one caller at a
/// time.
#[utoipa::path(post, path = "/v1/audit:verify", tag = "operation",
    operation_id = "verify_audit", security(("token" = [])),
    request_body = TrailAsked,
    responses((status = 200, body = TrailProved), Refusals))]
pub(super) async fn verify(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<TrailProved>, Problem> {
    let identity = pulling.watcher(&headers)?;
    let TrailAsked { checkpoints, key } =
        serde_json::from_slice(&body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::invalid(error.to_string()),
            _ => Problem::malformed(error.to_string()),
        })?;
    let turn = reading()?;
    pulling.auditor.tell(deed(&identity, "audit.verify", ""));
    let node = Arc::clone(&pulling.node);
    let proved = aside("avis-trail", move || async move {
        let _turn = turn;
        audit::prove(&node, checkpoints, key.as_deref()).await
    });
    let proved = proved.await.map_err(|error| match error {
        Failure::Usage(text) => Problem::invalid(text),
        other => inside(other),
    })?;
    Ok(Json(proved))
}
