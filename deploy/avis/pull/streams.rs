//! What the streams hold, while the node runs.

use std::sync::Arc;

use axum::{
    BoxError, Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use connectors::{problem::Problem, terminal::openapi::Refusals};
use futures::stream::try_unfold;
use ingest::{topic::Topic, wire::Flat};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Pulling, deed, inside};
use crate::{cli::From as Begin, stream};

/// Records read at once.
const AT_ONCE: u64 = 1_024;
/// The most records of a partition that one request is told, and as many as it is told unless it says.
const MOST: u64 = 10_000;
const SOME: u64 = 10;

/// Every partition of every stream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StreamsTold {
    /// In the order of the streams.
    pub partitions: Vec<PartitionTold>,
}

/// A partition of a stream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PartitionTold {
    /// The stream.
    pub stream: String,
    /// Its partition.
    pub partition: u32,
    /// The first offset that is left.
    pub first: u64,
    /// The offset that the next record gets.
    pub next: u64,
}

/// Every stream, its partitions and their ends; nothing of what stands in them.
#[utoipa::path(get, path = "/v1/streams", tag = "operation",
    operation_id = "list_streams", security(("token" = [])),
    responses((status = 200, body = StreamsTold), Refusals))]
pub(super) async fn list(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
) -> Result<Json<StreamsTold>, Problem> {
    pulling.watcher(&headers)?;
    let partitions = stream::partitions(&*pulling.node.log).map_err(inside)?;
    Ok(Json(StreamsTold { partitions }))
}

/// Where reading begins, and how much is read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Tail {
    /// Where each partition begins: an offset, an instant at or after which a record was recorded, or
    /// `earliest`; without it the last records.
    from: Option<String>,
    /// At most this many records of each partition: 10 without it, 10 000 at most.
    most: Option<String>,
}

/// Records of a stream as flat JSON, one a line, as `avis stream tail` shows them. They tell of people by
/// their internal ids, and that they were read stands in the audit trail.
#[utoipa::path(get, path = "/v1/streams/{stream}/records", tag = "operation",
    operation_id = "read_stream", security(("token" = [])),
    params(("stream" = String, Path, description = "The stream's name"), Tail),
    responses((status = 200, content_type = "application/x-ndjson", body = String), Refusals))]
pub(super) async fn records(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(tail): Query<Tail>,
) -> Result<Response, Problem> {
    let identity = pulling.administrator(&headers)?;
    let topic = Topic::parse(&name).ok_or_else(|| {
        let known = Topic::ALL.map(Topic::name).join(", ");
        Problem::not_found(format!("there is no such stream; known are {known}"))
    })?;
    let from = tail.from.as_deref().map(str::parse::<Begin>).transpose();
    let from = from.map_err(|why| Problem::invalid(format!("from is {why}")))?;
    let most = tail.most.as_deref().map_or(Ok(SOME), str::parse::<u64>);
    let most = most.ok().filter(|most| *most <= MOST);
    let most = most.ok_or_else(|| Problem::invalid(format!("most is a number up to {MOST}")))?;
    let mut begins = Vec::new();
    for partition in 0..pulling.node.log.partitions(topic) {
        begins.push((partition, pulling.begin(topic, partition, from, most).await?, most));
    }
    pulling.auditor.tell(deed(&identity, "stream.read", topic.name()));
    let log = Arc::clone(&pulling.node.log);
    let begun = (begins.into_iter(), None::<(u32, u64, u64)>);
    let lines = try_unfold(begun, move |(mut rest, mut now)| {
        let log = Arc::clone(&log);
        async move {
            loop {
                let left = now.take().filter(|(.., left)| *left > 0);
                let Some((partition, next, left)) = left.or_else(|| rest.next()) else {
                    return Ok::<_, BoxError>(None);
                };
                let some = usize::try_from(left.min(AT_ONCE)).unwrap_or(0);
                let batch = log.read(topic, partition, next, some).await?;
                let Some(last) = batch.last() else { continue };
                let mut bytes = Vec::new();
                for stored in &batch {
                    serde_json::to_writer(&mut bytes, &Flat::new(stored))?;
                    bytes.push(b'\n');
                }
                let left = left.saturating_sub(batch.len() as u64);
                now = Some((partition, last.position.offset + 1, left));
                return Ok(Some((Bytes::from(bytes), (rest, now))));
            }
        }
    });
    let kind =
        [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

impl Pulling {
    /// Where a partition begins for who asks.
    async fn begin(
        &self,
        topic: Topic,
        partition: u32,
        from: Option<Begin>,
        most: u64,
    ) -> Result<u64, Problem> {
        let log = &self.node.log;
        let start = log.start(topic, partition).map_err(inside)?;
        let end = log.end(topic, partition).map_err(inside)?;
        match from {
            None => Ok(end.saturating_sub(most).max(start)),
            Some(Begin::Earliest) => Ok(start),
            Some(Begin::Offset(offset)) if offset < start => {
                let detail = format!("from: partition {partition} has offsets from {start} on");
                Err(Problem::invalid(detail))
            }
            Some(Begin::Offset(offset)) => Ok(offset.min(end)),
            Some(Begin::Instant(instant)) => {
                log.at(topic, partition, instant).await.map_err(inside)
            }
        }
    }
}
