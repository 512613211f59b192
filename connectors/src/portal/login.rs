//! The portal's single sign-on asks whether a means of identity opens an e-service. E-services lie in two
//! baskets; what a basket or the e-service does not allow is refused, with the reason.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::HeaderMap,
    routing::get,
};
use domain::registry::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::{
    access::{self, Role, Tokens},
    problem::Problem,
    registry::{
        registrar::{Registrar, none},
        rights,
    },
    terminal::openapi::Refusals,
};

/// The longest name of a means, in bytes.
const LONGEST: usize = 128;

/// The means of identity that each basket allows, by its name; a basket that is not named, or names none,
/// allows all.
pub type Baskets = BTreeMap<String, Vec<String>>;

/// What the route works over.
#[derive(Clone, Debug)]
pub struct Door {
    /// Knows the e-services.
    pub registrar: Registrar,
    /// Whose tokens hold.
    pub tokens: Tokens,
    /// What the baskets allow.
    pub baskets: Baskets,
}

/// The description of the route.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(login),
    tags((name = "portal", description = "E-services on the state's portal"))
)]
pub struct Description;

/// The route.
pub fn routes(door: Door) -> Router {
    Router::new().route("/v1/e-services/{id}/login", get(login)).with_state(door)
}

/// With what somebody wants to sign in.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Presented {
    /// The means of identity, as the portal names it: `eid`, `smart_id`, ….
    #[param(min_length = 1, max_length = 128)]
    means: Option<String>,
}

/// A text in both languages.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Reason {
    /// In Latvian.
    lv: String,
    /// In English.
    en: String,
}

/// Whether the e-service opens.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Opens {
    /// Whether it does.
    allowed: bool,
    /// The basket that it lies in: `public` or `merchant`.
    basket: String,
    /// Why it does not.
    reason: Option<Reason>,
}

/// Whether a means of identity opens an e-service, and if not, why.
#[utoipa::path(get, path = "/v1/e-services/{id}/login", tag = "portal",
    operation_id = "check_login", security(("token" = [])),
    params(("id" = String, Path, description = "The e-service"), Presented),
    responses((status = 200, description = "Whether it opens", body = Opens), Refusals))]
async fn login(
    State(door): State<Door>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(presented): Query<Presented>,
) -> Result<Json<Opens>, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    if !matches!(identity.role, Role::Source | Role::Merchant | Role::Administrator) {
        return Err(Problem::forbidden("this is for the portal and for merchants"));
    }
    let means = presented.means.filter(|means| (1..=LONGEST).contains(&means.len()));
    let means = means.ok_or_else(|| Problem::invalid("means is missing, or too long"))?;
    let now = door.registrar.now().await?;
    let find = |kind: Kind, id: &str| now.standing().entry(kind, id);
    let entry = find(Kind::EService, &id)
        .filter(|entry| {
            identity.role != Role::Merchant
                || rights::is_own(&identity, Kind::EService, entry, &find)
        })
        .ok_or_else(|| none(Kind::EService, &id))?;
    Ok(Json(opens(entry, &means, &door.baskets)))
}

fn opens(entry: &Value, means: &str, baskets: &Baskets) -> Opens {
    let basket = entry["login_basket"].as_str().unwrap_or_default().to_owned();
    let of_basket = baskets.get(&basket).filter(|allowed| !allowed.is_empty());
    let own = entry["identity_means"].as_array().filter(|allowed| !allowed.is_empty());
    let reason = if of_basket.is_some_and(|allowed| !allowed.iter().any(|of| of == means)) {
        Some(Reason {
            lv: format!("{means} nav atļauts grozā {basket}"),
            en: format!("{means} is not allowed in the basket {basket}"),
        })
    } else if own.is_some_and(|allowed| !allowed.iter().any(|of| of == means)) {
        Some(Reason {
            lv: format!("šis e-pakalpojums neatļauj {means}"),
            en: format!("this e-service does not allow {means}"),
        })
    } else {
        None
    };
    Opens { allowed: reason.is_none(), basket, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_basket_or_the_e_service_does_not_allow_is_refused_with_the_reason() {
        let baskets = Baskets::from([("public".into(), vec!["eid".into(), "smart_id".into()])]);
        let reason = |basket: &str, own: &[&str], means: &str| {
            let entry = json!({"login_basket": basket, "identity_means": own});
            opens(&entry, means, &baskets).reason.map(|reason| reason.en)
        };
        assert_eq!(reason("public", &[], "eid"), None);
        assert_eq!(reason("merchant", &[], "bank"), None, "that basket allows all");
        let refused = "bank is not allowed in the basket public";
        assert_eq!(reason("public", &["bank"], "bank").as_deref(), Some(refused));
        let refused = "this e-service does not allow smart_id";
        assert_eq!(reason("public", &["eid"], "smart_id").as_deref(), Some(refused));
    }
}
