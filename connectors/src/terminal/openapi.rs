//! What the OpenAPI description says of terminals' requests. The answers describe themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, OpenApi, ToSchema,
    openapi::schema::{Object, OneOf, Schema, Type},
};

use super::wire;

/// A basket to be decided.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorisationRequest {
    /// The terminal; that of the token.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    pub terminal_id: String,
    /// When it happened, by the terminal's clock; within ten minutes of now.
    #[schema(format = DateTime)]
    pub occurred_at: String,
    /// The means presented; none for an anonymous basket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<Means>,
    /// `reserve` holds the benefit until it is captured, `sale` captures at once.
    pub mode: Mode,
    /// What is bought.
    #[schema(min_items = 1, max_items = 1000)]
    pub lines: Vec<BasketLine>,
    /// The receipt, where there is one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// How many points to spend: a number, or `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = spend_points)]
    pub spend_points: Option<serde_json::Value>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Hold the benefit until it is captured.
    Reserve,
    /// Reserve and capture at once.
    Sale,
}

/// What shows who the recipient is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Means {
    /// `card_uid`, `qr`, `barcode`, `document`, `app_token` or `bank_card`.
    #[schema(pattern = "^(card_uid|qr|barcode|document|app_token|bank_card)$")]
    pub kind: String,
    /// Its value; it is kept nowhere.
    #[schema(min_length = 1, max_length = 256)]
    pub value: String,
}

/// A line of a basket.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BasketLine {
    /// Its number; lines are taken in ascending order of it.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub line: u32,
    /// The item.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    pub item: String,
    /// Its category; the merchant's catalogue goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9_-]+(\\.[a-z0-9_-]+)*$", max_length = 96)]
    pub category: Option<String>,
    /// How much; at most three decimals.
    #[schema(value_type = f64, exclusive_minimum = 0, maximum = 1_000_000, multiple_of = 0.001)]
    pub quantity: serde_json::Number,
    /// The price of a unit in euro cents.
    #[schema(minimum = 0, maximum = 100_000_000)]
    pub unit_price_cents: i64,
    /// What else the terminal says of the item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = attributes)]
    pub attributes: BTreeMap<String, String>,
}

/// A receipt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Its number.
    #[schema(max_length = 64)]
    pub number: String,
    /// The cash register's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub register: Option<String>,
}

/// A capture.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// The receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What comes back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    /// How much of which lines.
    #[schema(min_items = 1, max_items = 1000)]
    pub lines: Vec<ReturnedLine>,
}

/// So much of a line comes back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnedLine {
    /// The line.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub line: u32,
    /// How much; at most three decimals.
    #[schema(value_type = f64, exclusive_minimum = 0, maximum = 1_000_000, multiple_of = 0.001)]
    pub quantity: serde_json::Number,
}

/// The key to undo.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReversalRequest {
    /// The terminal; that of the token.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    pub terminal_id: String,
    /// The key of the request whose outcome the terminal never learned.
    #[schema(min_length = 1, max_length = 96, pattern = "^[A-Za-z0-9._:/-]+$")]
    pub idempotency_key: String,
}

/// A number of points, or the word `max`.
fn spend_points() -> Schema {
    let number = Object::builder()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(1_000_000_000_000_i64));
    let word = Object::builder().schema_type(Type::String).enum_values(Some(["max"]));
    OneOf::builder().item(number).item(word).build().into()
}

fn attributes() -> Object {
    let value = Object::builder().schema_type(Type::String).max_length(Some(256));
    let name = Object::builder().schema_type(Type::String).max_length(Some(64)).build();
    Object::builder()
        .property_names(Some(name))
        .additional_properties(Some(value))
        .max_properties(Some(32))
        .build()
}

/// The header of every request that changes something.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header")]
pub struct IdempotencyKey {
    /// The terminal's own name of this request: again with the same body it gives the same answer,
    /// with another body 422. Kept for 40 days at least.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 96,
        pattern = "^[A-Za-z0-9._:/-]+$"
    )]
    idempotency_key: String,
}

/// The header of a request whose effect has no key of its own.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header")]
pub struct KeyOfAnswer {
    /// The caller's own name of this request. Again with the same body it gives the same answer, with
    /// another body, or to another path, 422; while the first is being decided, the second waits. What was
    /// refused may be asked again under its key. Kept for a day, of the last 50 000 such requests.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 96,
        pattern = "^[A-Za-z0-9._:/-]+$"
    )]
    idempotency_key: Option<String>,
}

/// The header of a request that may be sent again without it.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header")]
pub struct KeyNotNeeded {
    /// Taken, and not needed: each part of the body is known by what it says of itself, and the second
    /// time is there already.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// Why a request is refused.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "describes the answers")]
pub enum Refusals {
    /// Not JSON, or no usable key
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] wire::Problem),
    /// No valid token
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(#[to_schema] wire::Problem),
    /// Not allowed
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] wire::Problem),
    /// No such thing, or another's
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] wire::Problem),
    /// Not in a state that allows it
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] wire::Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] wire::Problem),
    /// Faults of the body, each with its JSON pointer; or the key was used for something else
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] wire::Problem),
    /// Too often; see Retry-After
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] wire::Problem),
    /// Not available now; see Retry-After
    #[response(status = 503, content_type = "application/problem+json")]
    Away(#[to_schema] wire::Problem),
}

/// The description of the terminals' API.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "AVIS",
        description = "The platform on which a country grants benefits: what applies to the person in front of a terminal.",
        version = "1",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        super::http::authorise,
        super::http::look_up,
        super::http::capture,
        super::http::void,
        super::http::refund,
        super::http::reverse,
        super::batch::upload,
        super::kit::offline_kit,
    ),
    tags((name = "authorisations", description = "The life of an authorisation"), (name = "offline", description = "What a terminal does without us")),
    modifiers(&Security)
)]
pub struct Description;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}
