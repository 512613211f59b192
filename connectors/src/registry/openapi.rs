//! What the OpenAPI description says of the registry: `openapi.yaml`, with one path of each kind.

use domain::registry::Kind;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::rights;

const TEMPLATE: &str = include_str!("openapi.yaml");
const SCHEMAS: &str = "#/components/schemas/";
/// Why any of the routes may refuse.
const REFUSALS: [(&str, &str); 11] = [
    ("400", "Not JSON"),
    ("401", "No valid token"),
    ("403", "Not allowed, or a second person has to approve"),
    ("404", "No such entry, or another's"),
    ("409", "What stands does not allow it"),
    ("412", "It has changed meanwhile"),
    ("413", "The body is too large"),
    ("422", "Faults, each with its JSON pointer"),
    ("428", "If-Match is missing"),
    ("429", "Too often; see Retry-After"),
    ("503", "Not available now; see Retry-After"),
];

const fn schema(kind: Kind) -> &'static str {
    match kind {
        Kind::Grantor => "Grantor",
        Kind::Merchant => "Merchant",
        Kind::Place => "Place",
        Kind::Terminal => "Terminal",
        Kind::CatalogueItem => "CatalogueItem",
        Kind::Contract => "Contract",
        Kind::Issuer => "Issuer",
        Kind::Group => "Group",
        Kind::Benefit => "Benefit",
        Kind::Instruction => "Instruction",
        Kind::EService => "EService",
        Kind::Centre => "Centre",
        Kind::Institution => "Institution",
        Kind::Official => "Official",
        Kind::Service => "Service",
        Kind::Subsidy => "Subsidy",
    }
}

/// The description of the registry's routes.
///
/// # Panics
/// Never: the description is compiled in, and a test reads it.
#[must_use]
pub fn description() -> OpenApi {
    serde_json::from_value(document()).expect("the description compiled in is one")
}

fn document() -> Value {
    let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap_or_default();
    // Other packages describe what they call by the same names.
    let text = template.to_string().replace(SCHEMAS, &format!("{SCHEMAS}Registry"));
    let template: Value = serde_json::from_str(&text).unwrap_or_default();
    let schemas = template["components"]["schemas"].as_object().into_iter().flatten();
    let schemas = schemas.map(|(name, schema)| (format!("Registry{name}"), schema.clone()));
    let schemas: Map<String, Value> = schemas.collect();
    let mut paths = Map::new();
    for (path, item) in template["paths"].as_object().into_iter().flatten() {
        if !path.contains("<kind>") {
            paths.insert(path.clone(), item.clone());
            continue;
        }
        for kind in Kind::ALL {
            // The list of officials is the availability board's.
            if kind == Kind::Official && path == "/v1/<kind>" {
                continue;
            }
            let name = rights::path_of(kind);
            let text = item.to_string().replace("<kind>", &name).replace("<Entry>", schema(kind));
            let item = serde_json::from_str(&text).unwrap_or_default();
            paths.insert(path.replace("<kind>", &name), item);
        }
    }
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        operation["security"] = json!([{"token": []}]);
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
            parameter.entry("required").or_insert(json!(false));
        }
        for (status, description) in REFUSALS {
            let problem = json!({"$ref": format!("{SCHEMAS}Problem")});
            let content = json!({"application/problem+json": {"schema": problem}});
            operation["responses"][status] =
                json!({"description": description, "content": content});
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "AVIS", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
        "tags": [
            {"name": "registry", "description": "What grantors, merchants and administrators have described"},
            {"name": "drafts", "description": "What may come to hold, once a second person approves it"},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described() {
        let description = description();
        for kind in Kind::ALL {
            let path = format!("/v1/{}/{{id}}", rights::path_of(kind));
            assert!(description.paths.paths.contains_key(&path), "{path}");
        }
        let schemas = description.components.expect("components").schemas;
        assert!(schemas.contains_key("RegistryInstruction"));
    }
}
