//! All that the node answers over HTTP: the routes of each package, with one description of them.

use std::sync::Arc;

use authoriser::service::Handle;
use axum::{Router, middleware};
use connectors::{
    access::Tokens,
    edge, grantor, issuer,
    known::Known,
    portal::login,
    recipient,
    registry::{self, registrar::Registrar},
    source,
    terminal::{
        enrolment::http as enrolment,
        http::{self, Door},
    },
    vpvkac::{self, desk::Desk},
};
use pipelines::groups;
use utoipa::{OpenApi as _, openapi::OpenApi};

use crate::{
    audit::Auditor, config::Config, failure::Failure, node::Node, pull, simulate::Simulations,
};

/// The routes, with those of `health` beside them; and through what the registry changes.
///
/// # Errors
/// Where the streams of calls cannot be read, or a setting is none.
pub async fn all(
    node: &Arc<Node>,
    config: &Config,
    handle: &Handle,
    terminals: Door,
    auditor: &Auditor,
    health: Router,
) -> Result<(Router, Registrar), Failure> {
    let tokens = node.tokens();
    let registrar = registrar(node, config, auditor.clone());
    let registry = registry::http::Door {
        registrar: registrar.clone(),
        tokens: tokens.clone(),
        simulator: Arc::new(Simulations::of(node)),
    };
    let enrolment = enrolment::Door {
        registrar: registrar.clone(),
        tokens: tokens.clone(),
        vault: node.vault.clone(),
    };
    let sign_on = login::Door {
        registrar: registrar.clone(),
        tokens: tokens.clone(),
        baskets: config.portal.baskets.clone(),
    };
    let (log, vault, clock) = (node.log.clone(), node.vault.clone(), node.clock.clone());
    let desk = Desk::open(log, vault, clock, config.calls.desk()?).await?;
    let others = enrolment::routes(enrolment)
        .merge(registry::http::routes(registry))
        .merge(login::routes(sign_on))
        .merge(told(node, &tokens, auditor))
        .merge(recipient::http::routes(recipients(handle, &tokens, auditor.clone())))
        .merge(vpvkac::http::routes(desk, tokens.clone()))
        .merge(pull::routes(node, tokens, auditor.clone(), registrar.clone()))
        .layer(middleware::from_fn(edge::detached));
    // What terminals ask is finished by the authoriser, whoever hangs up.
    let routes = http::routes(terminals).merge(others).merge(health);
    let mut description = registry::openapi::description();
    join(&mut description, enrolment::Description::openapi());
    join(&mut description, login::Description::openapi());
    join(&mut description, source::http::Description::openapi());
    join(&mut description, grantor::http::Description::openapi());
    join(&mut description, issuer::http::Description::openapi());
    join(&mut description, recipient::http::Description::openapi());
    join(&mut description, vpvkac::http::Description::openapi());
    join(&mut description, pull::Description::openapi());
    Ok((edge::around(routes, description, node.loading.metrics.clone()), registrar))
}

/// Joins a description to the others. A name that two packages give to different things would describe one of
/// them wrongly.
fn join(description: &mut OpenApi, other: OpenApi) {
    let schemas = |of: &OpenApi| of.components.clone().unwrap_or_default().schemas;
    let known = schemas(description);
    for (name, schema) in schemas(&other) {
        let same = known.get(&name).is_none_or(|known| *known == schema);
        debug_assert!(same, "two different schemas are called {name}");
    }
    description.merge(other);
}

/// Through what the registry changes while the node serves.
fn registrar(node: &Node, config: &Config, auditor: Auditor) -> Registrar {
    let (log, clock) = (Arc::clone(&node.log), Arc::clone(&node.clock));
    let told = Arc::new(move |deed| auditor.tell(deed));
    let (approval, keys) = (config.registry.approval, Arc::clone(&node.terminal_keys));
    Registrar::new(log, clock, groups::check, told, approval, keys)
}

/// What recipients see of their own; the audit trail is told of exports.
fn recipients(handle: &Handle, tokens: &Tokens, auditor: Auditor) -> recipient::http::Door {
    let tell = Arc::new(move |deed| auditor.tell(deed));
    recipient::http::Door::new(handle.clone(), tokens.clone(), tell)
}

/// What other systems tell: events, members and means.
fn told(node: &Node, tokens: &Tokens, auditor: &Auditor) -> Router {
    let (loading, known) = (node.loading.clone(), Known::default());
    let settings = source::Settings::default();
    let sources = source::Door::new(loading.clone(), tokens.clone(), known.clone(), settings);
    let auditor = auditor.clone();
    let tell = Arc::new(move |deed| auditor.tell(deed));
    let lists = grantor::http::Door::new(loading.clone(), tokens.clone(), known, tell);
    let means = issuer::http::Door::new(loading, tokens.clone());
    let routes = source::http::routes(sources).merge(grantor::http::routes(lists));
    routes.merge(issuer::http::routes(means))
}
