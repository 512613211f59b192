//! How many people a group has.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use connectors::{
    access,
    problem::Problem,
    registry::{
        registrar::none,
        rights::{self, Reach},
    },
    terminal::openapi::Refusals,
};
use domain::registry::Kind;
use serde::Serialize;
use utoipa::ToSchema;
use warehouse::groups;

use super::{Pulling, inside};

/// How many people are in a group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    /// The group.
    group: String,
    /// The local day.
    day: String,
    /// How many; null where they are fewer than five.
    members: Option<i64>,
}

/// How many people are in a group today, as the register tells; for whose group it is.
#[utoipa::path(get, path = "/v1/groups/{id}/members:count", tag = "registry",
    operation_id = "count_members", security(("token" = [])),
    params(("id" = String, Path, description = "The group")),
    responses((status = 200, body = Members), Refusals))]
pub(super) async fn count(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Members>, Problem> {
    let identity = access::identity(&pulling.tokens, &headers)?;
    if rights::of(identity.role, Kind::Group).read == Reach::Nothing {
        return Err(Problem::forbidden(format!(
            "the role {} reads no groups",
            identity.role.code()
        )));
    }
    let day = pulling.registrar.today();
    {
        let now = pulling.registrar.now().await?;
        let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
        let group = find(Kind::Group, &id);
        group
            .filter(|group| rights::reads(&identity, Kind::Group, group, &find))
            .ok_or_else(|| none(Kind::Group, &id))?;
    }
    let session = pulling.node.session().map_err(inside)?;
    let members = groups::members(&session, &id, day).await.map_err(inside)?;
    Ok(Json(Members { group: id, day: day.to_string(), members }))
}
