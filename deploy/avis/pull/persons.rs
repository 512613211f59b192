//! What is held of somebody, told and forgotten while the node runs; for administrators alone.
//!
//! **Invariant:** a personal code stands in a body and in no path, since paths are logged on their way.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use connectors::{
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
};
use domain::id::RecipientId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{Pulling, deed, inside, reading};
use crate::{background::aside, person};

/// Of whom everything is told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonAsked {
    /// The personal code.
    #[schema(example = "010180-12346")]
    person: String,
}

/// Who is to be forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonErasing {
    /// The personal code.
    #[schema(example = "010180-12346")]
    person: String,
    /// Whether it is meant: it cannot be undone.
    #[serde(default)]
    confirmed: bool,
}

/// That somebody is forgotten.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonErased {
    /// How many means were blocked now.
    pub means: usize,
}

/// What is asked; of what is not read nothing is told back, since it may be a person's.
fn read<T: DeserializeOwned>(body: &Bytes, form: &str) -> Result<T, Problem> {
    let expected = || format!("expected {form}");
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Problem::malformed(expected()))?;
    serde_json::from_value(value).map_err(|_| Problem::invalid(expected()))
}

impl Pulling {
    fn person(&self, code: &str) -> Result<RecipientId, Problem> {
        let code = person::code(code).map_err(|error| Problem::invalid(error.to_string()))?;
        let found = self.node.vault.find(&code);
        found.ok_or_else(|| Problem::not_found("the register has not told of this person"))
    }
}

/// Everything that is held of somebody. That it was asked for stands in the audit trail.
#[utoipa::path(post, path = "/v1/persons:export", tag = "persons",
    operation_id = "export_person", security(("token" = [])),
    request_body = PersonAsked,
    responses(
        (status = 200, description = "By kind: attributes, consents, memberships, means, transactions …",
         body = std::collections::BTreeMap<String, serde_json::Value>),
        Refusals))]
pub(super) async fn export(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let identity = pulling.administrator(&headers)?;
    let asked: PersonAsked = read(&body, "{\"person\": \"DDMMYY-NNNNN\"}")?;
    let id = pulling.person(&asked.person)?;
    let turn = reading()?;
    pulling.auditor.tell(deed(&identity, "person.export", &id.to_string()));
    let node = Arc::clone(&pulling.node);
    let told = aside("avis-export", move || async move {
        let _turn = turn;
        person::export(&node, id).await
    });
    let told = told.await.map_err(inside)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// Forgets somebody, for ever: their key is destroyed, their means are blocked; sums stay. Their code leads
/// to nobody afterwards: who asks again is told that they are not known.
#[utoipa::path(post, path = "/v1/persons:erase", tag = "persons",
    operation_id = "erase_person", security(("token" = [])),
    request_body = PersonErasing, params(KeyOfAnswer),
    responses((status = 200, body = PersonErased), Refusals))]
pub(super) async fn erase(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PersonErased>, Problem> {
    let identity = pulling.administrator(&headers)?;
    let form = "{\"person\": \"DDMMYY-NNNNN\", \"confirmed\": true}";
    let asked: PersonErasing = read(&body, form)?;
    let id = pulling.person(&asked.person)?;
    if !asked.confirmed {
        let detail = "/confirmed is not true: nobody can read the person's data afterwards";
        return Err(Problem::invalid(detail));
    }
    let turn = reading()?;
    pulling.auditor.tell(deed(&identity, "person.erase", &id.to_string()));
    // It goes on where whoever asked hangs up, so all that nobody else may do meanwhile goes with it.
    let erased = aside("avis-erase", move || async move {
        let _turn = turn;
        // Nobody changes the registry while whoever is erased is taken out of its lists.
        match pulling.registrar.now().await {
            Ok(_registry) => person::erase(&pulling.node, id).await.map(Ok),
            Err(problem) => Ok(Err(problem)),
        }
    });
    let means = erased.await.map_err(inside)??;
    Ok(Json(PersonErased { means }))
}
