//! How far the pipelines are, while the node runs.

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use connectors::{problem::Problem, terminal::openapi::Refusals};
use ingest::topic::Topic;
use pipelines::{catalogue::SUMMARIES, own};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warehouse::{
    schema::{self, Table},
    session::Session,
};

use super::{Pulling, inside};
use crate::{node::own_folder, verify::positions};

/// Every pipeline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PipelinesTold {
    /// The shipped ones, then the operator's own that lie in the folder of who answers.
    pub pipelines: Vec<PipelineTold>,
}

/// A pipeline, and how far it is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PipelineTold {
    /// Its name.
    pub name: String,
    /// The table that it fills; none where it writes files for others.
    pub table: Option<String>,
    /// The stream that it reads, where it reads one; summaries ask the tables now and then.
    pub stream: Option<String>,
    /// The records of the stream of which queries do not see yet what they make.
    pub lag_records: Option<u64>,
    /// How long the oldest of them has waited; 0 where there are none.
    pub waiting_seconds: Option<u64>,
}

/// Every pipeline, and how far it is behind its stream.
#[utoipa::path(get, path = "/v1/pipelines", tag = "operation",
    operation_id = "list_pipelines", security(("token" = [])),
    responses((status = 200, body = PipelinesTold), Refusals))]
pub(super) async fn list(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
) -> Result<Json<PipelinesTold>, Problem> {
    pulling.watcher(&headers)?;
    let session = pulling.node.session().map_err(inside)?;
    let mut pipelines = Vec::new();
    for table in schema::TABLES {
        if let Some(topic) = table.stream().and_then(Topic::parse) {
            pipelines.push(pulling.of_table(&session, table, topic).await?);
        }
    }
    let summary = |name: &str| PipelineTold {
        name: name.to_owned(),
        table: Some(name.to_owned()),
        ..PipelineTold::default()
    };
    pipelines.extend(SUMMARIES.iter().map(|(name, _)| summary(name)));
    for own in own::all(&own_folder(&pulling.node.folder)).await {
        let table = schema::table(&own.name).filter(|_| own.folder().is_none());
        pipelines.push(match (table, &own.topics()[..]) {
            (Some(table), [topic]) => pulling.of_table(&session, table, *topic).await?,
            (table, _) => PipelineTold {
                name: own.name.clone(),
                table: table.map(|table| table.name.to_owned()),
                ..PipelineTold::default()
            },
        });
    }
    Ok(Json(PipelinesTold { pipelines }))
}

impl Pulling {
    /// How far a table is that is made of one stream by the pipeline of its name.
    async fn of_table(
        &self,
        session: &Session,
        table: &'static Table,
        topic: Topic,
    ) -> Result<PipelineTold, Problem> {
        let log = &self.node.log;
        let next = positions(session, table, log.partitions(topic)).await.map_err(inside)?;
        let (mut lag, mut since) = (0, None::<DateTime<Utc>>);
        for (partition, next) in (0_u32..).zip(next) {
            let next = next.max(log.start(topic, partition).map_err(inside)?);
            let end = log.end(topic, partition).map_err(inside)?;
            if next < end {
                lag += end - next;
                let oldest = log.read(topic, partition, next, 1).await.map_err(inside)?;
                let oldest = oldest.first().map(|stored| stored.record.recorded_at);
                since = since.into_iter().chain(oldest).min();
            }
        }
        let waited = since.map_or(0, |since| (self.node.clock.now() - since).num_seconds());
        Ok(PipelineTold {
            name: table.name.to_owned(),
            table: Some(table.name.to_owned()),
            stream: Some(topic.name().to_owned()),
            lag_records: Some(lag),
            waiting_seconds: Some(u64::try_from(waited).unwrap_or(0)),
        })
    }
}
