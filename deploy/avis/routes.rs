//! All that the node answers over HTTP: the routes of each package, with one description of them.

use std::sync::Arc;

use authoriser::{refresh::read, service::Handle};
use axum::{Router, middleware};
use connectors::{
    access::Tokens,
    edge, grantor, issuer,
    known::Known,
    portal::{
        login,
        panels::{self, PanelBook},
    },
    recipient,
    registry::{
        self, Current,
        registrar::{Registrar, Told},
    },
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
    audit::Auditor, backup::server, config::Config, failure::Failure, node::Node, pull,
    simulate::Simulations,
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
        vault: node.vault.clone(),
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
    let current = Current::default();
    let book = PanelBook::over(node.log.clone(), node.vault.clone(), node.clock.clone());
    let panels = panels(node, handle, &book, &registrar, auditor);
    let own = recipients(handle, &tokens, current.clone(), book, auditor.clone());
    let others = enrolment::routes(enrolment)
        .merge(registry::http::routes(registry))
        .merge(login::routes(sign_on))
        .merge(panels::http::routes(panels))
        .merge(told(node, handle, current, auditor.clone()))
        .merge(recipient::http::routes(own))
        .merge(calls(node, config).await?)
        .merge(pull::routes(node, tokens.clone(), auditor.clone(), registrar.clone()))
        .merge(server::routes(node, tokens.clone(), auditor.clone(), config.backup.folder()))
        .layer(middleware::from_fn(edge::detached));
    // What terminals ask is finished by the authoriser, whoever hangs up.
    let known_first = middleware::from_fn_with_state(tokens, edge::known_first);
    let routes = http::routes(terminals).merge(others).layer(known_first).merge(health);
    let mut description = registry::openapi::description();
    join(&mut description, enrolment::Description::openapi());
    join(&mut description, login::Description::openapi());
    join(&mut description, panels::http::Description::openapi());
    join(&mut description, source::http::Description::openapi());
    join(&mut description, grantor::http::Description::openapi());
    join(&mut description, issuer::http::Description::openapi());
    join(&mut description, recipient::http::Description::openapi());
    join(&mut description, vpvkac::http::Description::openapi());
    join(&mut description, pull::Description::openapi());
    join(&mut description, server::Description::openapi());
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
fn recipients(
    handle: &Handle,
    tokens: &Tokens,
    registry: Current,
    panels: PanelBook,
    auditor: Auditor,
) -> recipient::http::Door {
    let tell = Arc::new(move |deed| auditor.tell(deed));
    recipient::http::Door::new(handle.clone(), tokens.clone(), registry, panels, tell)
}

/// What merchants' applications put into their clients' workspaces.
fn panels(
    node: &Node,
    handle: &Handle,
    book: &PanelBook,
    registrar: &Registrar,
    auditor: &Auditor,
) -> panels::http::Door {
    let (people, auditor) = (Arc::clone(handle.people()), auditor.clone());
    let holder = Arc::new(move |token| read(&people).means.get(token)?.person);
    let tell = Arc::new(move |deed| auditor.tell(deed));
    let (registrar, vault) = (registrar.clone(), node.vault.clone());
    panels::http::Door::new(book.clone(), registrar, node.tokens(), vault, holder, tell)
}

/// Calls of service centres, where this node has the desk.
async fn calls(node: &Node, config: &Config) -> Result<Router, Failure> {
    if !config.calls.desk {
        return Ok(vpvkac::elsewhere::routes(node.tokens()));
    }
    let (log, vault, clock) = (node.log.clone(), node.vault.clone(), node.clock.clone());
    let metrics = node.loading.metrics.clone();
    let desk = Desk::open(log, vault, clock, config.calls.settings()?, metrics).await?;
    Ok(vpvkac::http::routes(desk, node.tokens()))
}

/// What other systems tell: events, members and means.
fn told(node: &Node, handle: &Handle, registry: Current, auditor: Auditor) -> Router {
    let (loading, known, tokens) = (node.loading.clone(), Known::default(), node.tokens());
    let settings = source::Settings::default();
    let sources = source::Door::new(
        loading.clone(),
        tokens.clone(),
        known.clone(),
        registry.clone(),
        settings,
    );
    let people = Arc::clone(handle.people());
    let holdings = Arc::new(move |person| read(&people).holders.tokens(person).collect::<Vec<_>>());
    let tell: Told = Arc::new(move |deed| auditor.tell(deed));
    let (log, current) = (loading.clone(), registry.clone());
    let lists = grantor::http::Door::new(log, tokens.clone(), known, current, Arc::clone(&tell));
    let means = issuer::http::Door::new(loading, tokens, registry, holdings, tell);
    let routes = source::http::routes(sources).merge(grantor::http::routes(lists));
    routes.merge(issuer::http::routes(means))
}
