//! What a running node hands out for a backup: the cut, the records before it, and a copy of its keys that
//! stays on its machine.
//!
//! The process has the folder to itself, so nobody else can read it; and only the one who writes the log
//! knows the instants between two writes.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use connectors::{
    access::{self, Role, Tokens},
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
};
use futures::stream;
use ingest::{audit::Deed, error::LogError, log::READ_BATCH, topic::Topic, wire};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use super::{Cut, keys};
use crate::{audit::Auditor, failure::Failure, node::Node};

/// Stands where a record's offset would, after the last one: what ends without it is cut off.
pub const LAST: u64 = u64::MAX;

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(cut_now, records, copy_keys),
    tags((name = "backup", description = "What `avis backup --server` asks"))
)]
pub struct Description;

/// What the routes work over.
#[derive(Clone)]
struct Door {
    node: Arc<Node>,
    tokens: Tokens,
    auditor: Auditor,
    /// Where copies of the keys go; nowhere unless the settings say.
    keys: Option<PathBuf>,
}

/// The routes.
pub fn routes(node: &Arc<Node>, tokens: Tokens, auditor: Auditor, keys: Option<PathBuf>) -> Router {
    let door = Door { node: Arc::clone(node), tokens, auditor, keys };
    Router::new()
        .route("/v1/backup", get(cut_now))
        .route("/v1/backup/keys", post(copy_keys))
        .route("/v1/backup/streams/{stream}/{partition}", get(records))
        .with_state(door)
}

impl Door {
    /// Refuses whoever does not run the node.
    fn operator(&self, headers: &HeaderMap, action: Option<&'static str>) -> Result<(), Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        if !matches!(identity.role, Role::Operator | Role::Administrator) {
            return Err(Problem::forbidden("this is for operators"));
        }
        if let Some(action) = action {
            self.auditor.tell(Deed {
                actor: identity.subject.to_string(),
                role: identity.role.code().into(),
                action,
                object: String::new(),
                outcome: "begun".into(),
            });
        }
        Ok(())
    }
}

/// The ends of all streams at one instant, between two writes, and what lies beside them.
#[utoipa::path(get, path = "/v1/backup", tag = "backup", security(("token" = [])),
    responses((status = 200, body = Cut), Refusals))]
async fn cut_now(State(door): State<Door>, headers: HeaderMap) -> Result<Json<Cut>, Problem> {
    door.operator(&headers, Some("backup"))?;
    super::cut(&door.node).map(Json).map_err(inside)
}

/// Lets the node copy its keys into the folder that its settings name. They are not told.
#[utoipa::path(post, path = "/v1/backup/keys", tag = "backup", security(("token" = [])),
    params(KeyOfAnswer),
    responses((status = 200, body = keys::Copied), Refusals))]
async fn copy_keys(
    State(door): State<Door>,
    headers: HeaderMap,
) -> Result<Json<keys::Copied>, Problem> {
    door.operator(&headers, Some("backup.keys"))?;
    let Some(folder) = door.keys.clone() else {
        let detail = "the node's settings name no folder for copies of its keys: [backup] keys";
        return Err(Problem::new(StatusCode::CONFLICT, "state", "Not in this state", detail));
    };
    let node = Arc::clone(&door.node);
    let copied = tokio::task::spawn_blocking(move || keys::copy(&node, &folder)).await;
    copied.map_err(|error| inside(error.into()))?.map(Json).map_err(inside)
}

/// Which records of a partition.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// From this offset.
    from: u64,
    /// To before this one.
    end: u64,
}

/// Records of a partition: each behind its offset (eight bytes) and its length (four), little-endian; after
/// the last one an offset of ones and a length of zero.
#[utoipa::path(get, path = "/v1/backup/streams/{stream}/{partition}", tag = "backup",
    security(("token" = [])),
    params(("stream" = String, Path, description = "The stream's name"),
           ("partition" = u32, Path, description = "The partition"), Which),
    responses((status = 200, content_type = "application/octet-stream", body = String), Refusals))]
async fn records(
    State(door): State<Door>,
    headers: HeaderMap,
    Path((stream, partition)): Path<(String, String)>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    door.operator(&headers, None)?;
    let unknown = || Problem::not_found("there is no such stream or partition");
    let topic = Topic::parse(&stream).ok_or_else(unknown)?;
    let partition: u32 = partition.parse().map_err(|_| unknown())?;
    let log = Arc::clone(&door.node.log);
    if partition >= log.partitions(topic) {
        return Err(unknown());
    }
    let Ok(Query(Which { from, end })) = which else {
        let detail = "from and end are the offsets of the first record and after the last";
        return Err(Problem::invalid(detail));
    };
    let start = log.start(topic, partition).map_err(|error| inside(error.into()))?;
    let last = log.end(topic, partition).map_err(|error| inside(error.into()))?;
    if from < start || end > last || from > end {
        let detail = format!("the partition has the offsets from {start} to before {last}");
        return Err(Problem::invalid(detail));
    }
    let batches = stream::try_unfold(Some(from), move |next| {
        let log = Arc::clone(&log);
        async move {
            let Some(next) = next else { return Ok(None) };
            let mut bytes = Vec::new();
            let batch = match next < end {
                true => log.read(topic, partition, next, READ_BATCH).await?,
                false => Vec::new(),
            };
            for stored in batch.iter().filter(|stored| stored.position.offset < end) {
                put(&mut bytes, stored.position.offset, &wire::encode(&stored.record));
            }
            let next = batch.last().map(|last| last.position.offset + 1).filter(|next| *next < end);
            if next.is_none() {
                put(&mut bytes, LAST, &[]);
            }
            Ok::<_, LogError>(Some((Bytes::from(bytes), next)))
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((headers, Body::from_stream(batches)).into_response())
}

fn put(bytes: &mut Vec<u8>, offset: u64, record: &[u8]) {
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(record);
}

fn inside(error: Failure) -> Problem {
    tracing::error!(%error, "a backup failed inside");
    Problem::unavailable("the node's log says why")
}
