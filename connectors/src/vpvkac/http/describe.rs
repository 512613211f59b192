//! What the OpenAPI description says of the requests. The answers describe themselves.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The header of a request that begins something.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header")]
pub(super) struct KeyOfADay {
    /// The centre's own name of this request: again with the same body it gives the same answer,
    /// with another body 422. Kept for a day.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 96,
        pattern = "^[A-Za-z0-9._:/-]+$"
    )]
    idempotency_key: String,
}

/// How an official can be reached.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AvailabilityRequest {
    /// `available`, `away` or `offline`.
    #[schema(pattern = "^(available|away|offline)$")]
    state: String,
}

/// A call that a centre asks for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallRequest {
    /// The institution.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    institution: String,
    /// The service, `PAK_01` to `PAK_10`.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    service: String,
    /// The language (ISO 639-1).
    #[schema(pattern = "^[a-z]{2}$")]
    language: String,
    /// The official asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    official: Option<String>,
    /// True: the specialist has identified the client, and lets them in.
    client_identified: bool,
    /// The number of the written mandate; `PAK_05` needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    mandate: Option<String>,
}

/// To whom a call is handed over.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOverRequest {
    /// The institution.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    institution: Option<String>,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    service: Option<String>,
    /// The language (ISO 639-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z]{2}$")]
    language: Option<String>,
    /// The official asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    official: Option<String>,
    /// The number of the written mandate, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    mandate: Option<String>,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    /// Whether the client was helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<bool>,
}

/// A client's rating.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RatingRequest {
    /// From 1 to 5, the best.
    #[schema(minimum = 1, maximum = 5)]
    rating: u32,
    /// Whether the client says that they were helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<bool>,
}

/// A service that begins.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartRequest {
    /// The service, `PAK_01` to `PAK_10`.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    service: String,
    /// By which way the client came.
    #[schema(pattern = "^(in_person|phone|e_mail|remote)$")]
    channel: String,
    /// The number of the written mandate; `PAK_05` needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    mandate: Option<String>,
}

/// A service that was given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteRequest {
    /// The id under which it began.
    #[schema(pattern = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
    visit: String,
    /// What became of it.
    #[schema(pattern = "^(resolved|forwarded|unresolved)$")]
    outcome: String,
    /// The call in which an official helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
    call: Option<String>,
}
